package broker

import (
	"context"
	"runtime"

	"github.com/mochi-mqtt/server/v2/packets"
)

// gate lets a bounded number through at once, first come first served. What is behind it is costly: without a bound a fleet
// that reconnects at once would have it done by all, for memory, and none would be answered in time.
type gate chan struct{}

// newGate has room for several for each core, since those inside may wait for the store.
func newGate() gate { return make(gate, max(16, 4*runtime.GOMAXPROCS(0))) }

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g gate) leave() { <-g }

// apart calls f on a goroutine of its own and waits for it: f's frames are deep (a packet of mochi's has 800 bytes and is
// passed by value), and a stack that has grown for them would stay with the connection's goroutine until collections have
// halved it several times. A panic ends the connection.
func (c *conn) apart(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer c.b.recovered(c)
		f()
	}()
	<-done
}

// deep is apart for what a packet asks for.
func (c *conn) deep(f func() packets.Code) packets.Code {
	code := packets.CodeDisconnect // of a panic
	c.apart(func() { code = f() })
	return code
}

func (c *conn) apartDisconnect(code packets.Code) {
	defer c.b.recovered(c)
	c.b.disconnect(c, code)
}
