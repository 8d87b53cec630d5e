package broker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"fleetbridge/link"
)

// intake is the handler that Serve brought. How many messages it has in hand is counted by each connection, so that they
// share no counter.
type intake struct {
	serving atomic.Pointer[serving] // nil: nobody serves

	mu      sync.Mutex
	running bool // a Serve runs, or waits for its last messages
	once    sync.Once
	served  chan struct{} // closed by the first open
}

// serving is what one Serve brought.
type serving struct {
	ctx context.Context
	h   link.Handler
}

var errServing = errors.New("another Serve runs")

func (i *intake) open(ctx context.Context, h link.Handler) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.running {
		return errServing
	}
	i.running = true
	i.serving.Store(&serving{ctx, h})
	i.once.Do(func() { close(i.served) })
	return nil
}

// drain lets no more messages in and returns after the last one in hand is answered.
func (b *Broker) drain() {
	b.intake.serving.Store(nil)
	for _, c := range b.allConns() { // one that comes later finds nobody who serves
		c.waitIdle()
	}
	b.intake.mu.Lock()
	defer b.intake.mu.Unlock()
	b.intake.running = false
}

// maxInHand is how many messages of one connection are not answered at most; it is the Receive Maximum that CONNACK names.
// Beyond it nothing is read from the client.
const maxInHand = 32

// enter takes a message in hand and returns who handles it; nil if nobody serves. It waits while too many are in hand.
func (c *conn) enter(a *ack) *serving {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.inHand >= maxInHand {
		c.waitLocked(true)
	}
	s := c.b.intake.serving.Load() // under mu: drain looks at inHand after it has cleared it
	if s == nil {
		return nil
	}
	c.busy = true
	c.push(a)
	return s
}

// push takes a message in hand; one of QoS 1 takes its place in the order of PUBACKs.
func (c *conn) push(a *ack) {
	c.inHand++
	switch {
	case a.qos == 0:
	case c.lastAck == nil:
		c.acks, c.lastAck = a, a
	default:
		c.lastAck.next, c.lastAck = a, a
	}
}

// leave says that the handler has returned.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
	c.wake()
}

// wake tells those who wait for inHand or busy; the caller holds mu.
func (c *conn) wake() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// waitLocked lets go of mu until inHand or busy goes down. own says that it is the connection's goroutine, which writes what
// it owes first: nobody else might.
func (c *conn) waitLocked(own bool) {
	if own && c.ownAcks {
		c.mu.Unlock()
		c.flushOwn()
		c.mu.Lock()
		return
	}
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	changed := c.changed
	c.mu.Unlock()
	<-changed
	c.mu.Lock()
}

// waitIdle returns once every message of the connection is answered and its handler has returned.
func (c *conn) waitIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.inHand > 0 || c.busy {
		c.waitLocked(false)
	}
}
