package broker_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fleetbridge/broker"
	"fleetbridge/topics"
)

// A fleet that reconnects at once is admitted in turn: so many CONNECTs at once are authenticated and no more, and all are
// answered.
func TestStormIsAdmittedInTurn(t *testing.T) {
	const n = 400
	most := int64(max(16, 4*runtime.GOMAXPROCS(0)))
	var now, peak atomic.Int64
	arrived := make(chan struct{})
	var full sync.Once
	s := start(t, func(o *broker.Options) {
		o.Authenticate = func(ctx context.Context, user string, password []byte, id string) (topics.Principal, error) {
			k := now.Add(1)
			defer now.Add(-1)
			for p := peak.Load(); k > p && !peak.CompareAndSwap(p, k); p = peak.Load() {
			}
			if k == most {
				full.Do(func() { close(arrived) }) // the gate is full
			}
			select {
			case <-arrived:
			case <-ctx.Done():
			}
			return authenticate(ctx, user, password, id)
		}
	})
	var wg sync.WaitGroup
	for i := range n {
		c := s.dial(v5)
		wg.Go(func() {
			if c.tryWrite(c.connectBytes(login{user: fmt.Sprintf("acme/d%d", i), password: "secret", id: "x"})) != nil {
				t.Error("write failed")
				return
			}
			if p, err := c.read(); err != nil || p.kind() != tConnack || p.body[1] != 0 {
				t.Errorf("client %d: got %v, %v", i, p, err)
			}
		})
	}
	wg.Wait()
	if p := peak.Load(); p != most {
		t.Errorf("%d CONNECTs at once, want %d", p, most)
	}
}

// Clients that don't read the state they asked for keep nobody else from being told.
func TestStalledAnswersKeepNobodyOut(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.Access, o.WriteDeadline = open{}, time.Hour })
	for i := range 60 {
		s.shelf.set(fmt.Sprint("big/", i), string(make([]byte, 250<<10)))
	}
	s.shelf.set("small", "m")
	for i := range 3 * max(16, 4*runtime.GOMAXPROCS(0)) {
		c := s.client(v5, fmt.Sprintf("acme/d%d", i))
		c.write(c.subscribeBytes("big/#", 0))
	}
	c := s.client(v5, "acme/reader")
	for range 20 {
		if code := c.subscribe("small", 0); code != 0 {
			t.Fatalf("SUBACK %#x", code)
		}
		if m := c.next(); m.payload != "m" {
			t.Errorf("got %+v", m)
		}
	}
}
