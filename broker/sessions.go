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

// register enters a socket into the table of connections; false means that it must go away.
func (b *Broker) register(c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing || len(b.conns) >= b.o.MaxClients+spareConns {
		return false
	}
	b.conns[c] = struct{}{}
	return true
}

// unregister ends a connection's every trace. mochi leaves its client in the map after a panic, or a failed CONNACK.
func (b *Broker) unregister(c *conn) {
	if cl := c.client; cl != nil {
		if cur, ok := b.server.Clients.Get(cl.ID); ok && cur == cl {
			b.server.UnsubscribeClient(cl)
			b.server.Clients.Delete(cl.ID)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
	if c.session != "" {
		delete(b.sessions, c.session)
		rest := slices.DeleteFunc(b.byPrincipal[c.principal], func(o *conn) bool { return o == c })
		if b.byPrincipal[c.principal] = rest; len(rest) == 0 {
			delete(b.byPrincipal, c.principal)
		}
	}
	close(c.done)
	if b.closing && len(b.conns) == 0 {
		close(b.drained)
	}
}

// takeSession makes c the one connection of a scoped client identifier. A connection that has it is told to go
// [MQTT-3.1.4-3] and has ended, its last message handled and its subscriptions gone, when takeSession returns: that is
// what keeps mochi's own take-over, which races, out of the game.
func (b *Broker) takeSession(ctx context.Context, c *conn, session string) error {
	for {
		old, err := b.tryTake(c, session)
		if old == nil {
			return err
		}
		select {
		case <-old.up:
			b.disconnect(old, packets.ErrSessionTakenOver)
		case <-old.done:
		case <-ctx.Done():
			return fmt.Errorf("take over session: %w", ctx.Err())
		}
		select {
		case <-old.done:
		case <-ctx.Done():
			return fmt.Errorf("take over session: %w", ctx.Err())
		}
	}
}

var errTooMany = errors.New("the principal has too many connections")

// tryTake takes a free session, or returns the connection that has it.
func (b *Broker) tryTake(c *conn, session string) (*conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.sessions[session]; old != nil {
		return old, nil
	}
	if len(b.byPrincipal[c.principal]) >= b.o.MaxPerPrincipal {
		return nil, errTooMany
	}
	b.sessions[session], c.session = c, session
	b.byPrincipal[c.principal] = append(b.byPrincipal[c.principal], c)
	return nil, nil
}

// disconnect tells a client why, if MQTT lets us and it reads within a second, and closes its connection.
func (b *Broker) disconnect(c *conn, code packets.Code) {
	c.abort()
	if !c.established() {
		// Its goroutine is still at work on CONNECT and sees that the socket is closed.
		c.Close()
		return
	}
	if c.v5 {
		// The error is code itself, or that the client is gone already.
		_ = b.server.DisconnectClient(c.client, code)
	}
	c.client.Stop(code)
}

// Connected reports whether a connection of p is live.
func (b *Broker) Connected(p topics.Principal) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.byPrincipal[p]) > 0
}

// Disconnect ends the live connections of a principal, whose credential was revoked before the call. A connection that
// is being authenticated at the time is authenticated again. It doesn't wait for messages in hand.
func (b *Broker) Disconnect(p topics.Principal) {
	b.revocations.Add(1)
	b.mu.Lock()
	conns := slices.Clone(b.byPrincipal[p])
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

// Close stops accepting, tells every client that the server shuts down, and waits until the last connection has ended
// or ctx ends, when it closes what is left and returns ctx's error. Serve should have returned before: a message still
// with the handler keeps its connection from ending. After Close the broker is of no more use; again is not an error.
func (b *Broker) Close(ctx context.Context) error {
	b.mu.Lock()
	first := !b.closing
	b.closing = true
	b.end()
	listeners := slices.Collect(maps.Keys(b.listeners))
	var all []*conn
	for c := range b.conns {
		all = append(all, c)
	}
	if first && len(all) == 0 {
		close(b.drained)
	}
	b.mu.Unlock()
	for _, ln := range listeners {
		_ = ln.Close() // the accept loop reports what matters
	}
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
			c.Close()
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

func (b *Broker) panicked(c *conn, v any, stack []byte) {
	b.stats.panics.Add(1)
	b.log.Error("connection panicked", "remote", c.addr, "principal", c.principal.String(), "err", v, "stack", string(stack))
}

// timeout is a context of the broker's life.
func (b *Broker) timeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(b.life, d, errors.New("broker deadline"))
}
