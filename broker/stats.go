package broker

import (
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/topics"
)

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
	published, replies, replyBytes                                                          atomic.Uint64
}

// sent counts n packets of size bytes in all that did not go out through mochi.
func (c *counters) sent(n, size int) {
	c.replies.Add(uint64(n))
	c.replyBytes.Add(uint64(size))
}

// Stats returns the counters as they are now; they are read one by one.
func (b *Broker) Stats() Stats {
	info := b.server.Info
	count := func(p *int64) uint64 { return uint64(atomic.LoadInt64(p)) }
	b.mu.Lock()
	sockets, connected := len(b.conns), len(b.sessions)
	b.mu.Unlock()
	return Stats{
		Sockets:      sockets,
		Connected:    connected,
		Accepted:     b.stats.accepted.Load(),
		Limited:      b.stats.limited.Load(),
		BadConnects:  b.stats.badConnects.Load(),
		AuthFailures: b.stats.authFailures.Load(),
		PacketsIn:    count(&info.PacketsReceived) - b.stats.published.Load(), // mochi counts ours as received
		PacketsOut:   count(&info.PacketsSent) + b.stats.replies.Load(),
		BytesIn:      count(&info.BytesReceived),
		BytesOut:     count(&info.BytesSent) + b.stats.replyBytes.Load(),
		Handled:      b.stats.handled.Load(),
		Refused:      b.stats.refused.Load(),
		Denied:       b.stats.denied.Load(),
		Dropped:      b.stats.dropped.Load(),
		Panics:       b.stats.panics.Load(),
	}
}

// OnPublishDropped counts a message that a client's queue had no room for. One that misses an event may go on. One that
// misses the state of a topic, or a reply, would wait for what never comes: it is disconnected, and asks again.
func (h *hook) OnPublishDropped(cl *mqtt.Client, pk packets.Packet) {
	h.b.stats.dropped.Add(1)
	c, ok := cl.Net.Conn.(*conn)
	if !ok || !h.b.owed(pk) || h.b.answers.covers(c, pk.TopicName) {
		return
	}
	if c.dropped.CompareAndSwap(false, true) {
		h.b.refusal("client too slow for the state it subscribed to", "principal", c.principal.String(), "topic", pk.TopicName)
		go h.b.disconnect(c, packets.ErrQuotaExceeded) // it may wait for the client; whoever publishes does not
	}
}

// owed says whether a client must not miss pk without knowing.
func (b *Broker) owed(pk packets.Packet) bool {
	a, err := topics.Parse(pk.TopicName)
	return err == nil && (pk.FixedHeader.Retain || a.Channel == topics.ChannelReply)
}
