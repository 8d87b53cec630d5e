package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// sluice is a store that keeps what is submitted, once it is shut, until it is opened.
type sluice struct {
	campaign.Store
	mu   sync.Mutex
	shut bool
	kept []func()
}

func (g *sluice) Submit(ctx context.Context, fn func(campaign.Tx) error, done func(error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		g.kept = append(g.kept, func() { g.Store.Submit(ctx, fn, done) })
		return
	}
	g.Store.Submit(ctx, fn, done)
}

func (g *sluice) close(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	for _, submit := range g.kept {
		submit()
	}
	g.kept = nil
}

// ends are the acks of messages that are handed over without waiting for any, in the order in which they ended.
type ends struct {
	list chan string
}

type namedAck struct {
	name string
	ends
}

func (a namedAck) Done(c link.Code) {
	if c != link.Success {
		a.list <- a.name + " with a code"
		return
	}
	a.list <- a.name
}
func (a namedAck) Refuse(err error) { a.list <- a.name + ": " + err.Error() }

func handed(id, name, topic string, body any, e ends, r link.Replier) link.Inbound {
	return link.Inbound{Topic: topic, Payload: must(topics.Encode(body, topics.CBOR)), QoS: 1, Principal: deviceOf(acme, id), Client: id,
		Ack: namedAck{name, e}, Reply: r}
}

// TestHandleWaitsForNoCommit: a connection's reports and hellos are taken while the store is busy, none is acknowledged
// before it is there, and they are applied in the order in which they came.
func TestHandleWaitsForNoCommit(t *testing.T) {
	g := &sluice{}
	f := start(t, func(s campaign.Store) campaign.Store { g.Store = s; return g })
	m := f.published([]byte("new firmware"))
	f.fleet(1)
	f.launch("c1", m.Digest, topics.Policy{})
	f.offered("dev-000", 0)
	g.close(true)
	e := ends{make(chan string, 9)}
	report, hello := topics.ReportTopic(acme, device("dev-000")), topics.HelloTopic(acme, device("dev-000"))
	installed := []topics.Installed{{Component: m.Component, Digest: m.Payload}}
	for _, in := range []link.Inbound{
		handed("dev-000", "received", report, topics.Report{Seq: 2, Manifest: m.Digest, State: topics.WordReceived}, e, nil),
		handed("dev-000", "downloading", report, topics.Report{Seq: 3, Manifest: m.Digest, State: topics.WordDownloading}, e, nil),
		handed("dev-000", "hello", hello, topics.Hello{Seq: 4, Vendor: vendor, Class: class, Installed: installed, Boot: 9}, e, nil),
	} {
		f.bridge.Handle(t.Context(), in) // returns, though the store does nothing
	}
	if len(e.list) != 0 {
		t.Fatalf("%q was acknowledged before its commit", <-e.list)
	}
	g.close(false)
	for _, want := range []string{"received", "downloading", "hello"} {
		if got := <-e.list; got != want {
			t.Errorf("ended %q, want %q", got, want)
		}
	}
	f.bridge.AwaitSaid()
	var path []campaign.State
	err := f.store.View(t.Context(), func(r campaign.Reader) error {
		a, err := r.Assignment(acme, campaignID("c1"), device("dev-000"))
		for _, s := range a.Path {
			path = append(path, s.State)
		}
		return err
	})
	if err != nil || fmt.Sprint(path) != "[pending offered received downloading confirmed]" {
		t.Errorf("path %v, %v", path, err)
	}
}

// stuck is the reply of a device that does not read.
type stuck struct {
	entered chan struct{}
	release chan struct{}
}

func (s stuck) Send(context.Context, ...link.Message) error {
	s.entered <- struct{}{}
	<-s.release
	return errors.New("closed")
}
func (s stuck) SendRun(context.Context, link.Run) error { return link.ErrClosed }
func (stuck) TrySendRun(link.Run) (int, error)          { return 0, nil }

// TestReceiptOfSlowReader: a device that does not read its receipts gets its acknowledgements, and so does everybody else.
func TestReceiptOfSlowReader(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(2)
	f.launch("c1", m.Digest, topics.Policy{})
	f.offered("dev-000", 0)
	slow := stuck{make(chan struct{}, 99), make(chan struct{})}
	e := ends{make(chan string, 99)}
	topic := topics.ReportTopic(acme, device("dev-000"))
	const n = 60 // more than the receipts that are kept for it
	for seq := range uint64(n) {
		rep := topics.Report{Seq: seq + 2, Manifest: m.Digest, State: topics.WordReceived, Receipt: true}
		f.bridge.Handle(t.Context(), handed("dev-000", "slow", topic, rep, e, slow))
	}
	for range n {
		if got := <-e.list; got != "slow" {
			t.Fatal(got)
		}
	}
	<-slow.entered
	rep := topics.Report{Seq: 2, Manifest: m.Digest, State: topics.WordReceived, Receipt: true}
	out := &outcome{}
	sent := told{replier{out: out}, make(chan struct{}, 1)}
	f.bridge.Handle(t.Context(), handed("dev-001", "other", topics.ReportTopic(acme, device("dev-001")), rep, e, sent))
	if got := <-e.list; got != "other" {
		t.Error(got)
	}
	<-sent.sent
	close(slow.release)
	f.bridge.AwaitSaid()
	if n := len(slow.entered); n > 33 {
		t.Errorf("%d receipts were kept for a device that does not read", n)
	}
}

// told says when something was sent.
type told struct {
	replier
	sent chan struct{}
}

func (r told) Send(ctx context.Context, messages ...link.Message) error {
	defer func() { r.sent <- struct{}{} }()
	return r.replier.Send(ctx, messages...)
}
