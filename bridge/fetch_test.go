package bridge_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// gate is a connection that takes one Send at a time, when the test says so.
type gate struct {
	ended <-chan struct{}     // the test's end, which is the connection's
	asked chan struct{}       // a Send waits
	let   chan struct{}       // it may go on
	sent  chan []link.Message // what went through
}

func newGate(t *testing.T) *gate {
	return &gate{ended: t.Context().Done(), asked: make(chan struct{}), let: make(chan struct{}), sent: make(chan []link.Message, 1024)}
}

func (g *gate) Send(_ context.Context, messages ...link.Message) error {
	select {
	case g.asked <- struct{}{}:
	case <-g.ended:
		return link.ErrClosed
	}
	select {
	case <-g.let:
	case <-g.ended:
		return link.ErrClosed
	}
	g.sent <- messages
	return nil
}

func (g *gate) SendRun(ctx context.Context, run link.Run) error {
	return g.Send(ctx, run.Messages()...)
}
func (*gate) TrySendRun(link.Run) (int, error) { return 0, nil }

// pass lets one Send through and says on which topics.
func (g *gate) pass(t *testing.T) (topics []string) {
	t.Helper()
	select {
	case <-g.asked:
	case <-time.After(patience):
		t.Fatal("nothing is sent")
	}
	g.let <- struct{}{}
	for _, m := range <-g.sent {
		topics = append(topics, m.Topic)
	}
	return topics
}

// through publishes a fetch whose answers go through g.
func (f *fixture) through(g *gate, client, token string, q topics.Fetch) {
	f.t.Helper()
	q.Token = must(ident.ParseToken(token))
	dev := deviceOf(acme, "dev-000")
	in := link.Inbound{Topic: topics.FetchTopic(acme, device("dev-000")), Payload: must(topics.Encode(q, topics.CBOR)), Reply: g, Client: client}
	if out := f.link.publish(f.t, dev, in); !out.done {
		f.t.Fatalf("the fetch was not done: %v", out.err)
	}
}

func allOf(t *testing.T, list []string, token string) {
	t.Helper()
	for _, topic := range list {
		if !strings.Contains(topic, "/chunk/"+token+"/") {
			t.Errorf("sent on %s, want token %s", topic, token)
		}
	}
}

// A device that reads nothing while it fetches is heard all the same: its reports do not wait behind its window.
func TestReportsPassASlowWindow(t *testing.T) {
	f, m, _ := served(t, 300_000)
	g := newGate(t)
	f.through(g, "c", "t1", topics.Fetch{Digest: m.Payload, Size: 1000, Count: 300})
	<-g.asked
	if out := f.report("dev-000", topics.Report{Seq: 9, Manifest: m.Digest, State: topics.WordDownloading}); !out.done {
		t.Errorf("report: %+v", out)
	}
	f.through(g, "c", "t2", topics.Fetch{Digest: m.Payload, Size: 1000, Count: 1}) // done too
	g.let <- struct{}{}
	allOf(t, names(<-g.sent), "t1")
	allOf(t, g.pass(t), "t2")
	f.bridge.AwaitFetches()
}

func names(messages []link.Message) (out []string) {
	for _, m := range messages {
		out = append(out, m.Topic)
	}
	return out
}

// A new token ends the old one's chunks; of a thousand fetches in a row the last is served, and no more are kept than two.
func TestNewFetchEndsTheOld(t *testing.T) {
	f, m, _ := served(t, 300_000)
	g := newGate(t)
	all := topics.Fetch{Digest: m.Payload, Size: 1000, Count: 300}
	f.through(g, "c", "first", all)
	<-g.asked
	for i := range 1000 {
		f.through(g, "c", fmt.Sprintf("t%d", i), topics.Fetch{Digest: m.Payload, Size: 1000, Count: 1 + uint32(i)%5})
	}
	f.through(g, "c", "last", topics.Fetch{Digest: m.Payload, Size: 1000, First: 200, Count: 2})
	g.let <- struct{}{}
	first := names(<-g.sent)
	allOf(t, first, "first")
	if len(first) >= 300 {
		t.Errorf("the old fetch was served whole: %d chunks", len(first))
	}
	last := g.pass(t)
	allOf(t, last, "last")
	if len(last) != 2 {
		t.Errorf("the last fetch: %v", last)
	}
	f.bridge.AwaitFetches()
	if n := len(g.sent); n != 0 {
		t.Errorf("%d more answers", n)
	}
	if s := f.bridge.Stats(); s.Fetches != 1002 || int(s.Chunks) != len(first)+2 {
		t.Errorf("%d fetches, %d chunks are counted", s.Fetches, s.Chunks)
	}
}

// The same token again, with another window, ends the first as any other would: what comes after is of the second alone.
func TestTokenUsedAgain(t *testing.T) {
	f, m, _ := served(t, 300_000)
	g := newGate(t)
	f.through(g, "c", "t", topics.Fetch{Digest: m.Payload, Size: 1000, Count: 200})
	<-g.asked
	f.through(g, "c", "t", topics.Fetch{Digest: m.Payload, Size: 1000, First: 290, Count: 3})
	g.let <- struct{}{}
	<-g.sent
	if got := g.pass(t); len(got) != 3 || !strings.HasSuffix(got[0], "/chunk/t/290") {
		t.Errorf("sent %v", got)
	}
	f.bridge.AwaitFetches()
}

// Two connections of one device have a fetch each.
func TestFetchesOfTwoConnectionsAreApart(t *testing.T) {
	f, m, _ := served(t, 100_000)
	g, h := newGate(t), newGate(t)
	f.through(g, "one", "a", topics.Fetch{Digest: m.Payload, Size: 1000, Count: 2})
	<-g.asked
	f.through(h, "two", "b", topics.Fetch{Digest: m.Payload, Size: 1000, Count: 3})
	if got := h.pass(t); len(got) != 3 {
		t.Errorf("the second connection got %v", got)
	}
	g.let <- struct{}{}
	if got := names(<-g.sent); len(got) != 2 {
		t.Errorf("the first connection got %v", got)
	}
	f.bridge.AwaitFetches()
}

// A bridge that ends gives a fetch up after what is being sent.
func TestEndOfTheBridgeEndsFetches(t *testing.T) {
	f, m, _ := served(t, 300_000)
	g := newGate(t)
	f.through(g, "c", "t", topics.Fetch{Digest: m.Payload, Size: 1000, Count: 300})
	<-g.asked
	stopped := make(chan struct{})
	go func() { f.stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Error("the bridge ended while chunks were being sent")
	case g.let <- struct{}{}:
	}
	for {
		select {
		case <-g.asked: // until it has been told
			g.let <- struct{}{}
			continue
		case <-stopped:
		case <-time.After(patience):
			t.Error("the bridge did not end")
		}
		return
	}
}

// What a device said in its hello bounds its chunks: MQTT 3.1.1 has no maximum packet size.
func TestChunksFitWhatTheHelloSaid(t *testing.T) {
	eachWay(t, func(t *testing.T, how takes) {
		f, m, _ := served(t, 10_000)
		f.link.takes = how
		dev := deviceOf(acme, "dev-000")
		f.hello("dev-000", topics.Hello{Seq: 2, MaxChunk: 512})
		for size, want := range map[uint32]string{513: topics.ProblemChunkTooLarge, 512: ""} {
			out := f.fetch(dev, topics.Fetch{Digest: m.Payload, Size: size, Count: 1}, 0, nil)
			got := ""
			if p := topics.DecodeProblem(out.sent[0].Payload); p != nil {
				got = p.Type
			}
			if got != want {
				t.Errorf("chunks of %d bytes: problem %q, want %q", size, got, want)
			}
		}
	})
}

// Windows that do not add up are refused by name, and take nothing.
func TestFetchOfImpossibleWindows(t *testing.T) {
	eachWay(t, func(t *testing.T, how takes) {
		f, m, _ := served(t, 100_000)
		f.link.takes = how
		for what, q := range map[string]topics.Fetch{
			"first and count overflow":     {Size: 1000, First: 1<<32 - 1, Count: 2},
			"bitmap longer than the count": {Size: 1000, Count: 8, Bitmap: []byte{1, 1}},
			"bitmap of a kibibyte":         {Size: 1000, Count: 1, Bitmap: make([]byte, 900)},
			"bitmap shorter":               {Size: 1000, Count: 9, Bitmap: []byte{1}},
			"bits behind the count":        {Size: 1000, Count: 3, Bitmap: []byte{0b11111000}},
		} {
			q.Digest = m.Payload
			out := f.fetch(deviceOf(acme, "dev-000"), q, 0, nil)
			if len(out.sent) != 1 {
				t.Errorf("%s: %d answers", what, len(out.sent))
				continue
			}
			if p := topics.DecodeProblem(out.sent[0].Payload); p == nil || p.Type != topics.ProblemFetchInvalid || len(p.Errors) == 0 {
				t.Errorf("%s: %v", what, p)
			}
		}
	})
}

// A fetch with the retain flag is a fetch, and leaves nothing behind.
func TestRetainedFetch(t *testing.T) {
	eachWay(t, func(t *testing.T, how takes) {
		f, m, _ := served(t, 1000)
		f.link.takes = how
		q := topics.Fetch{Token: must(ident.ParseToken("t")), Digest: m.Payload, Size: 1000, Count: 1}
		topic := topics.FetchTopic(acme, device("dev-000"))
		out := f.link.publish(t, deviceOf(acme, "dev-000"), link.Inbound{Topic: topic, Payload: must(topics.Encode(q, topics.CBOR)), QoS: 1, Retain: true})
		if !out.done || len(out.sent) != 1 {
			t.Errorf("%+v", out)
		}
		if got := f.retained(operator, topic); len(got) != 0 {
			t.Errorf("retained: %v", got)
		}
	})
}

// A payload whose file goes away in the middle of a fetch is sent to its end, and not found by the next fetch.
func TestPayloadRemovedWhileFetched(t *testing.T) {
	f, m, data := served(t, 300_000)
	g := newGate(t)
	f.through(g, "c", "t", topics.Fetch{Digest: m.Payload, Size: 1000, Count: 300})
	<-g.asked
	if err := f.catalogue.Remove(acme, m.Payload); err != nil {
		t.Fatal(err)
	}
	g.let <- struct{}{}
	n := len(<-g.sent)
	for n < 300 {
		n += len(g.pass(t))
	}
	f.bridge.AwaitFetches()
	if n*1000 != len(data) {
		t.Errorf("%d chunks", n)
	}
	out := f.fetch(deviceOf(acme, "dev-000"), topics.Fetch{Digest: m.Payload, Size: 1000, Count: 1}, 0, nil)
	if p := topics.DecodeProblem(out.sent[0].Payload); p == nil || p.Type != topics.ProblemPayloadNotFound {
		t.Errorf("a fetch of a payload without a file: %v", p)
	}
}
