package broker

import "sync/atomic"

// Stats are counters since New, and two gauges.
type Stats struct {
	// Sockets are open now, Connected of them with a session.
	Sockets, Connected int
	// Accepted sockets; Limited were closed at once, over a rate or the number of clients.
	Accepted, Limited uint64
	// BadConnects sent no acceptable CONNECT; AuthFailures had wrong credentials or a will that they may not leave.
	BadConnects, AuthFailures uint64
	// Packets and bytes in and out.
	PacketsIn, PacketsOut, BytesIn, BytesOut uint64
	// Handled messages were given to the handler and done; Refused ones ended their connection.
	Handled, Refused uint64
	// Denied publishes, subscriptions and deliveries.
	Denied uint64
	// Dropped messages found a client's queue full.
	Dropped uint64
	// Panics were recovered; each is a bug.
	Panics uint64
}

type counters struct {
	accepted, limited, badConnects, authFailures, handled, refused, denied, dropped, panics atomic.Uint64
	packetsIn, packetsOut, bytesIn, bytesOut                                                atomic.Uint64
}

// sent counts n packets of size bytes in all.
func (c *counters) sent(n, size int) {
	c.packetsOut.Add(uint64(n))
	c.bytesOut.Add(uint64(size))
}

// Stats returns the counters as they are now; they are read one by one.
func (b *Broker) Stats() Stats {
	b.mu.Lock()
	sockets, connected := b.sockets, b.sessions
	b.mu.Unlock()
	return Stats{
		Sockets:      sockets,
		Connected:    connected,
		Accepted:     b.stats.accepted.Load(),
		Limited:      b.stats.limited.Load(),
		BadConnects:  b.stats.badConnects.Load(),
		AuthFailures: b.stats.authFailures.Load(),
		PacketsIn:    b.stats.packetsIn.Load(),
		PacketsOut:   b.stats.packetsOut.Load(),
		BytesIn:      b.stats.bytesIn.Load(),
		BytesOut:     b.stats.bytesOut.Load(),
		Handled:      b.stats.handled.Load(),
		Refused:      b.stats.refused.Load(),
		Denied:       b.stats.denied.Load(),
		Dropped:      b.stats.dropped.Load(),
		Panics:       b.stats.panics.Load(),
	}
}
