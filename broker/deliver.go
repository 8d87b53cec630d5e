package broker

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/link"
	"fleetbridge/topics"
)

// delivery is a message on its way to one subscriber. Its message is shared by all and doesn't change.
type delivery struct {
	m      *link.Message
	at     time.Time // when it was published
	retain bool
	ids    []uint32 // subscription identifiers [MQTT-3.3.4-3]
}

// maxOutbox is how many messages wait for a client that doesn't read; the next is dropped.
const maxOutbox = 64

// fanOut puts m into the outbox of each subscriber who may receive it, once each.
func (b *Broker) fanOut(m link.Message) {
	var few [4]*subscription
	subs := b.index.match(m.Topic, few[:0])
	if len(subs) == 0 {
		return
	}
	subs = b.pickShared(subs, m.Topic)
	shared := new(link.Message) // m would be on the heap even if nobody subscribes
	*shared = m
	at := time.Now()
	if len(subs) == 1 {
		b.deliver(subs[0].c, delivery{m: shared, at: at, retain: m.Retain && subs[0].published, ids: subs[0].ids()})
		return
	}
	all := map[*conn]delivery{}
	for _, s := range subs {
		d, ok := all[s.c]
		if !ok {
			d = delivery{m: shared, at: at}
		}
		d.retain = d.retain || m.Retain && s.published
		d.ids = append(d.ids, s.ids()...)
		all[s.c] = d
	}
	for c, d := range all {
		slices.Sort(d.ids)
		b.deliver(c, d)
	}
}

// pickShared leaves one member of each shared subscription among those who may receive the message, so that none is lost to
// a member who may not.
func (b *Broker) pickShared(subs []*subscription, topic string) []*subscription {
	if !slices.ContainsFunc(subs, func(s *subscription) bool { return s.shared }) {
		return subs
	}
	var out []*subscription
	groups := map[string][]*subscription{}
	for _, s := range subs {
		switch {
		case !s.shared:
			out = append(out, s)
		case !s.c.gone() && b.mayReceive(s.c, topic):
			groups[s.filter] = append(groups[s.filter], s)
		}
	}
	for _, members := range groups {
		out = append(out, members[rand.IntN(len(members))])
	}
	return out
}

// mayReceive asks Access for the concrete topic: a wildcard may be wider than the table.
func (b *Broker) mayReceive(c *conn, topic string) bool {
	ok := b.o.Access.MayReceive(c.principal, topic)
	if !ok {
		b.stats.denied.Add(1)
	}
	return ok
}

// deliver puts d into c's outbox, and starts to empty it. It never waits for the client.
func (b *Broker) deliver(c *conn, d delivery) {
	if c.gone() || !b.mayReceive(c, d.m.Topic) {
		return
	}
	c.mu.Lock()
	full := len(c.outbox)+c.sending >= maxOutbox
	idle := len(c.outbox)+c.sending == 0
	if !full {
		c.outbox = append(c.outbox, d)
	}
	c.mu.Unlock()
	switch {
	case full:
		b.dropped(c, d.m)
	case idle:
		go c.drainOutbox()
	}
}

// dropped counts a message that a client's outbox had no room for. One that misses an event may go on. One that misses the
// state of a topic, or a reply, would wait for what never comes: it is disconnected, and asks again.
func (b *Broker) dropped(c *conn, m *link.Message) {
	b.stats.dropped.Add(1)
	if !owed(m) || b.answers.covers(c, m.Topic) {
		return
	}
	if c.slow.CompareAndSwap(false, true) {
		b.refusal("client too slow for the state it subscribed to", "principal", c.principal.String(), "topic", m.Topic)
		go c.apartDisconnect(packets.ErrQuotaExceeded) // it may wait for the client; whoever publishes does not
	}
}

// owed says whether a client must not miss m without knowing.
func owed(m *link.Message) bool {
	a, err := topics.Parse(m.Topic)
	return err == nil && (m.Retain || a.Channel == topics.ChannelReply)
}

// outboxBatch is how many deliveries are written at once.
const outboxBatch = 16

// drainOutbox writes what is in the outbox, and ends when it is empty. One runs for a connection at a time.
func (c *conn) drainOutbox() {
	defer c.b.recovered(c)
	for batch := c.takeOutbox(); len(batch) > 0; batch = c.takeOutbox() {
		if c.writeDeliveries(batch) != nil {
			c.close()
		}
	}
}

// takeOutbox returns the next deliveries, once the ones before are written.
func (c *conn) takeOutbox() []delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch := c.outbox
	if c.outbox = nil; len(batch) > outboxBatch {
		batch, c.outbox = batch[:outboxBatch:outboxBatch], batch[outboxBatch:]
	}
	c.sending = len(batch)
	return batch
}

// writeDeliveries skips what is too large for the client [MQTT-3.1.2-24] or has expired [MQTT-3.3.2-5].
func (c *conn) writeDeliveries(batch []delivery) error {
	v := getVec()
	defer v.put()
	n, size := 0, 0
	for _, d := range batch {
		m := *d.m
		m.Retain = d.retain
		if m.Props.Expiry > 0 {
			waited := uint32(time.Since(d.at) / time.Second)
			if waited >= m.Props.Expiry {
				continue
			}
			m.Props.Expiry -= waited // [MQTT-3.3.2-6]
		}
		head := publishHead(make([]byte, 0, 16+len(m.Topic)), c.v5, m, d.ids)
		if c.limit > 0 && len(head)+len(m.Payload) > int(c.limit) {
			continue
		}
		v.add(head, m.Payload)
		n, size = n+1, size+len(head)+len(m.Payload)
	}
	if n == 0 {
		return nil
	}
	return c.sendVec(v, size, n)
}
