package broker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"fleetbridge/broker"
	"fleetbridge/link"
)

func TestCloseSaysGoodbye(t *testing.T) {
	s := start(t)
	a, b, idle := s.client(v5, "acme/d1"), s.client(v4, "acme/d2"), s.dial(v5)
	a.ping()
	b.ping()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for range 2 { // again is not an error
		if err := s.b.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if got := a.wantEnd(); len(got) != 1 || got[0].kind() != tDisconnect || got[0].body[0] != 0x8b {
		t.Errorf("got %v, want DISCONNECT 0x8B", got)
	}
	if got := b.wantEnd(); len(got) != 0 {
		t.Errorf("3.1.1 client got %v", got)
	}
	idle.wantEnd()
	<-s.ended // Serve ends with the broker
	if err := s.b.Publish(ctx, link.Message{Topic: "a"}); !errors.Is(err, link.ErrClosed) {
		t.Errorf("publish after close: %v", err)
	}
	client, server := net.Pipe()
	s.b.ServeConn(server)
	if _, err := client.Write([]byte{0x10}); err == nil {
		t.Error("a closed broker serves a connection")
	}
}

// Close with clients that don't read takes about a second, not the write deadline.
func TestCloseWithStalledReaders(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.Access, o.WriteDeadline = open{}, time.Hour })
	for i := range 3 {
		c := s.client(v5, fmt.Sprintf("acme/d%d", i))
		c.subscribe("big", 0)
	}
	eventually(t, "their queues are full", func() bool {
		if err := s.b.Publish(context.Background(), link.Message{Topic: "big", Payload: make([]byte, 256<<10)}); err != nil {
			t.Fatal(err)
		}
		return s.b.Stats().Dropped > 10
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.b.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// A message that the handler never answers can't be waited for for ever.
func TestCloseGivesUp(t *testing.T) {
	s := start(t)
	hold := make(chan link.Inbound, 1)
	s.h.answerWith(func(in link.Inbound) { hold <- in })
	c := s.client(v5, "acme/d1")
	c.write(c.publishBytes(2, report, 1, nil))
	in := <-hold
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.b.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v", err)
	}
	c.wantEnd()
	in.Ack.Done(link.Success)
}

// A reply that nobody reads ends soon after its context does, and with it the connection.
func TestReplyEndsWithItsContext(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.WriteDeadline = time.Hour })
	failed := make(chan error, 1)
	s.h.answerWith(func(in link.Inbound) {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		var err error
		for err == nil {
			err = in.Reply.Send(ctx, link.Message{Topic: "fleet/v1/acme/device/d1/chunk/t/0", Payload: make([]byte, 1<<20)})
		}
		failed <- err
		in.Ack.Done(link.Success)
	})
	c := s.client(v4, "acme/d1")
	c.write(c.publishBytes(0, "fleet/v1/acme/device/d1/fetch", 0, nil))
	if err := <-failed; err == nil {
		t.Error("no error")
	}
	eventually(t, "the connection is closed", func() bool { return s.b.Stats().Sockets == 0 })
}

// A reader that is slow, but reads, is not closed: the deadline is of a write without any progress.
func TestSlowReaderIsNotStalled(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.WriteDeadline = 100 * time.Millisecond })
	const size = 8 << 20 // more than the sockets hold
	s.h.answerWith(func(in link.Inbound) {
		if err := in.Reply.Send(context.Background(), link.Message{Topic: "fleet/v1/acme/device/d1/chunk/t/0", Payload: make([]byte, size)}); err != nil {
			in.Ack.Refuse(err)
			return
		}
		in.Ack.Done(link.Success)
	})
	c := s.client(v4, "acme/d1")
	c.write(c.publishBytes(2, "fleet/v1/acme/device/d1/fetch", 1, nil))
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	buf := make([]byte, 512<<10)
	for got := 0; got < size; {
		<-pace.C
		n, err := c.r.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes: %v", got, err)
		}
		got += n
	}
}

func TestRetainedReadThatMissesAChange(t *testing.T) {
	topic := "fleet/v1/acme/device/d1/manifest"
	for name, last := range map[string]string{"replaced": "new", "cleared": ""} {
		s := start(t)
		s.shelf.set(topic, "old")
		arrived := make(chan struct{})
		s.shelf.onRead = func() { // the state changes between the read and the write, and the change arrives before
			s.shelf.set(topic, last)
			if err := s.b.Publish(context.Background(), link.Message{Topic: topic, Payload: []byte(last), Retain: true}); err != nil {
				t.Error(err)
			}
			<-arrived
		}
		c := s.client(v5, "acme/d1")
		c.subscribe(topic, 0)
		c.write(c.subscribeBytes("fleet/v1/acme/device/d1/permit", 0)) // answered after the first one's state
		var seen []string
		for {
			p, err := c.read()
			if err != nil {
				t.Fatal(err)
			}
			if p.kind() == tSuback {
				break
			}
			if seen = append(seen, c.parse(p).payload); len(seen) == 1 {
				close(arrived)
			}
		}
		if len(seen) == 0 || seen[len(seen)-1] != last {
			t.Errorf("%s: client saw %q, want %q in the end", name, seen, last)
		}
	}
}

func TestRetainedAnswerOptions(t *testing.T) {
	topic := "fleet/v1/acme/device/d1/manifest"
	s := start(t)
	s.shelf.set(topic, "m")
	c := s.client(v5, "acme/d1")
	const asPublished, ifNew, never = 0x08, 0x10, 0x20
	tests := []struct {
		name    string
		options byte
		got     int
	}{
		{"never", never, 0}, {"if new, again", ifNew, 0}, {"always", 0, 1}, {"always, again", asPublished, 1},
	}
	for _, test := range tests {
		c.subscribe(topic, test.options, []byte{0x0b, 7})
		for range test.got {
			if m := c.next(); m.payload != "m" || !m.retain || m.props.subscription != 7 {
				t.Errorf("%s: got %+v", test.name, m)
			}
		}
		if got := c.ping(); len(got) != 0 {
			t.Errorf("%s: got %+v too", test.name, got)
		}
	}
	fresh := s.client(v5, "acme/d1")
	fresh.subscribe(topic, ifNew|asPublished)
	fresh.next()
	if err := s.b.Publish(context.Background(), link.Message{Topic: topic, Payload: []byte("n"), Retain: true}); err != nil {
		t.Fatal(err)
	}
	if m := fresh.next(); !m.retain { // [MQTT-3.3.1-13]
		t.Errorf("retain as published: got %+v", m)
	}
}

// A client that can't be told the state of a topic is closed, so that it asks again.
func TestRetainedErrorEndsTheConnection(t *testing.T) {
	s := start(t)
	s.shelf.err = errStore
	c := s.client(v5, "acme/d1")
	c.subscribe("fleet/v1/acme/device/d1/manifest", 0)
	if got := c.wantEnd(); len(got) != 1 || got[0].body[0] != 0x89 {
		t.Errorf("got %v, want DISCONNECT 0x89", got)
	}
}

// More topics change during an answer than it remembers.
func TestRetainedAnswerStartsOver(t *testing.T) {
	s := start(t)
	const n = 400
	topic := func(i int) string { return fmt.Sprintf("fleet/v1/acme/device/d%d/manifest", i) }
	for i := range n {
		s.shelf.set(topic(i), "old")
	}
	s.shelf.onRead = func() {
		for i := range n {
			s.shelf.set(topic(i), "new")
			if err := s.b.Publish(context.Background(), link.Message{Topic: topic(i), Payload: []byte("new"), Retain: true}); err != nil {
				t.Error(err)
			}
		}
	}
	c := s.client(v4, "acme/operator")
	c.write(c.subscribeBytes("fleet/v1/acme/device/+/manifest", 0))
	c.write(c.subscribeBytes("fleet/v1/acme/reply/operator", 0))
	last := map[string]string{}
	for subacks := 0; subacks < 2; {
		p, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		if p.kind() == tSuback {
			subacks++
			continue
		}
		m := c.parse(p)
		last[m.topic] = m.payload
	}
	for i := range n {
		if last[topic(i)] != "new" {
			t.Errorf("%s: %q in the end", topic(i), last[topic(i)])
		}
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("traffic", func(t *testing.T) {
		s := start(t)
		for i := range 50 {
			version := byte(v4 + i%2)
			c := s.client(version, fmt.Sprintf("acme/d%d", i))
			c.subscribe(fmt.Sprintf("fleet/v1/acme/device/d%d/manifest", i), 0)
			c.publish1(fmt.Sprintf("fleet/v1/acme/device/d%d/report", i), "r")
			switch i % 4 {
			case 0:
				c.write([]byte{0x82, 0x06, 0x00, 0x01, 0x00, 0x00, 0x01, 0x61})
			case 1:
				c.write([]byte{tDisconnect << 4, 0})
			case 2:
				if err := c.conn.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
	eventually(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

func TestStatsCount(t *testing.T) {
	s := start(t)
	c := s.client(v5, "acme/d1")
	c.publish1(report, "r")
	c.publish1("fleet/v1/evil/device/d1/report", "r")
	before := s.b.Stats()
	c.subscribe("fleet/v1/acme/device/d1/permit", 0)
	if err := s.b.Publish(context.Background(), link.Message{Topic: "fleet/v1/acme/device/d1/permit"}); err != nil {
		t.Fatal(err)
	}
	c.next()
	after := s.b.Stats()
	if before.Handled != 1 || before.Denied != 1 || before.Connected != 1 || before.Sockets != 1 || before.Accepted != 1 {
		t.Errorf("got %+v", before)
	}
	if in := after.PacketsIn - before.PacketsIn; in != 1 {
		t.Errorf("%d packets in for one SUBSCRIBE", in)
	}
	if after.BytesOut <= before.BytesOut || after.PacketsOut <= before.PacketsOut {
		t.Errorf("nothing went out: %+v, %+v", before, after)
	}
}

func TestRefusalsAreLoggedOnceASecond(t *testing.T) {
	log := &lockedBuffer{}
	s := start(t, func(o *broker.Options) { o.Logger = debugLogger(log) })
	for range 20 {
		s.dial(v5).connect(login{user: "acme/d1", password: "wrong"})
	}
	if n := strings.Count(log.String(), "level=WARN"); n < 1 || n > 10 {
		t.Errorf("%d warnings for 20 refusals", n)
	}
}
