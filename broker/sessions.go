package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/topics"
)

// spareConns is how many sockets beyond MaxClients may be open, so that clients over the limit can be told so.
const spareConns = 256

// register enters a socket into the list of connections; false means that it must go away.
func (b *Broker) register(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing || b.sockets >= b.o.MaxClients+spareConns {
		return false
	}
	if c.next = b.first; c.next != nil {
		c.next.prev = c
	}
	b.first = c
	b.sockets++
	b.memory.changed()
	return true
}

// unregister ends a connection's every trace, once its last message is handled.
func (b *Broker) unregister(c *conn) {
	c.close()
	c.flushOwn()
	c.waitIdle()
	c.unsubscribeAll()
	c.in.release()
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.next != nil {
		c.next.prev = c.prev
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		b.first = c.next
	}
	b.sockets--
	b.leaveSession(c)
	c.turn()
	b.memory.changed()
	if b.closing && b.sockets == 0 {
		close(b.drained)
	}
}

// leaveSession takes c out of its principal's list; the caller holds mu.
func (b *Broker) leaveSession(c *conn) {
	if !c.hasSession {
		return
	}
	b.sessions--
	first := b.byPrincipal[c.principal]
	if first != c {
		for first.peer != c {
			first = first.peer
		}
		first.peer = c.peer
		return
	}
	if b.byPrincipal[c.principal] = c.peer; c.peer == nil {
		delete(b.byPrincipal, c.principal)
	}
}

// turn tells those who wait for the connection to be up, or to end; the caller holds Broker.mu.
func (c *conn) turn() {
	if c.turned != nil {
		close(c.turned)
		c.turned = nil
	}
}

// turnUp says that CONNACK has gone out.
func (b *Broker) turnUp(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.up = true
	c.turn()
}

func (b *Broker) isUp(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return c.up
}

// full says whether there is no room for another client.
func (b *Broker) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sessions >= b.o.MaxClients
}

// takeSession makes c the one connection of its principal and client identifier. A connection that is so already is told to
// go [MQTT-3.1.4-3], and has ended, its last message handled and its subscriptions gone, when takeSession returns. While it
// waits for that it lets another through the gate.
func (b *Broker) takeSession(ctx context.Context, c *conn) error {
	old, turned, err := b.tryTake(c)
	if old == nil {
		return err
	}
	b.connects.leave()
	defer func() { b.connects <- struct{}{} }()
	for old != nil {
		if b.isUp(old) {
			b.disconnect(old, packets.ErrSessionTakenOver)
		}
		select {
		case <-turned:
		case <-ctx.Done():
			return fmt.Errorf("take over session: %w", context.Cause(ctx))
		}
		old, turned, err = b.tryTake(c)
	}
	return err
}

var (
	errTooMany = errors.New("the principal has too many connections")
	errFull    = errors.New("too many clients")
)

// tryTake takes a free session, or returns the connection that has it and what is closed when that is up or has ended.
func (b *Broker) tryTake(c *conn) (old *conn, turned chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for o := b.byPrincipal[c.principal]; o != nil; o = o.peer {
		if n++; o.clientID == c.clientID {
			if o.turned == nil {
				o.turned = make(chan struct{})
			}
			return o, o.turned, nil
		}
	}
	switch {
	case n >= b.o.MaxPerPrincipal:
		return nil, nil, errTooMany
	case b.sessions >= b.o.MaxClients:
		return nil, nil, errFull
	}
	c.peer, c.hasSession = b.byPrincipal[c.principal], true
	b.byPrincipal[c.principal] = c
	b.sessions++
	return nil, nil, nil
}

// Connected reports whether a connection of p is live.
func (b *Broker) Connected(p topics.Principal) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.byPrincipal[p] != nil
}

// Disconnect ends the live connections of a principal, whose credential was revoked before the call. A connection that
// is being authenticated at the time is authenticated again. It doesn't wait for messages in hand.
func (b *Broker) Disconnect(p topics.Principal) {
	b.revocations.Add(1)
	b.mu.Lock()
	var conns []*conn
	for c := b.byPrincipal[p]; c != nil; c = c.peer {
		conns = append(conns, c)
	}
	b.mu.Unlock()
	b.disconnectAll(conns, packets.ErrNotAuthorized)
}

// disconnectAll ends connections, several at a time because each may take a second to be told.
func (b *Broker) disconnectAll(conns []*conn, code packets.Code) {
	const workers = 64
	next := make(chan *conn)
	var wg sync.WaitGroup
	for range min(workers, len(conns)) {
		wg.Go(func() {
			for c := range next {
				b.disconnect(c, code)
			}
		})
	}
	for _, c := range conns {
		next <- c
	}
	close(next)
	wg.Wait()
}

// allConns returns every connection there is now.
func (b *Broker) allConns() []*conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*conn, 0, b.sockets)
	for c := b.first; c != nil; c = c.next {
		all = append(all, c)
	}
	return all
}

// Close stops accepting, tells every client that the server shuts down, and waits until the last connection has ended
// or ctx ends, when it closes what is left and returns ctx's error. Serve should have returned before: a message still
// with the handler keeps its connection from ending. After Close the broker is of no more use; again is not an error.
func (b *Broker) Close(ctx context.Context) error {
	b.mu.Lock()
	first := !b.closing
	b.closing = true
	b.end()
	b.memory.stop()
	listeners := slices.Collect(maps.Keys(b.listeners))
	if first && b.sockets == 0 {
		close(b.drained)
	}
	b.mu.Unlock()
	for _, ln := range listeners {
		_ = ln.Close() // the accept loop reports what matters
	}
	all := b.allConns()
	told := make(chan struct{})
	go func() {
		defer close(told)
		b.disconnectAll(all, packets.ErrServerShuttingDown)
	}()
	var err error
	select {
	case <-b.drained:
	case <-ctx.Done():
		err = fmt.Errorf("close broker: %w", ctx.Err())
		for _, c := range all {
			c.close()
		}
	}
	<-told
	return err
}

// recovered keeps a panic in one connection's goroutine from ending the process.
func (b *Broker) recovered(c *conn) {
	if v := recover(); v != nil {
		b.panicked(c, v, debug.Stack())
	}
}

// panicked ends the connection for which something panicked.
func (b *Broker) panicked(c *conn, v any, stack []byte) {
	b.stats.panics.Add(1)
	b.log.Error("connection panicked", "remote", c.addr(), "principal", c.principal.String(), "err", v, "stack", string(stack))
	c.close()
}

// timeout is a context of the broker's life.
func (b *Broker) timeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(b.life, d, errors.New("broker deadline"))
}
