package broker

import (
	"net"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Serving says whether Serve has begun, which no caller outside of tests needs to know.
func Serving(b *Broker) bool { return b.intake.serving.Load() != nil }

// Subscriptions is how many keys the index of subscriptions has.
func Subscriptions(b *Broker) int { return b.index.len() }

// Cut cuts a stream into packets, of which part bytes come at a time, and returns what they are and how it ended.
func Cut(b []byte, part int, v5 bool) (found [][]byte, err error) {
	client, server := net.Pipe()
	go func() {
		defer client.Close()
		for part = max(1, part); len(b) > 0; {
			n := min(part, len(b))
			if _, err := client.Write(b[:n]); err != nil {
				return
			}
			b = b[n:]
		}
	}()
	defer server.Close()
	c := &conn{b: &Broker{}, nc: server}
	defer c.in.release()
	for {
		head, body, err := c.nextPacket(maxPacketOfTests)
		if err != nil {
			return found, err
		}
		if head>>4 == packets.Subscribe {
			if err := checkSubscribe(body, v5); err != nil {
				return found, err
			}
		}
		found = append(found, append([]byte{head}, body...))
	}
}

const maxPacketOfTests = 260 << 10

// Decode gives a SUBSCRIBE that passed to mochi's decoder.
func Decode(p []byte, v5 bool) {
	if p[0]>>4 == packets.Subscribe {
		pk := (&conn{v5: v5}).decode(packets.Subscribe, len(p)-1)
		_ = pk.SubscribeDecode(p[1:]) // an error is as good as success: what counts is that it returns
	}
}

// Index is an index with subscriptions known by number.
type Index struct {
	x    index
	subs map[int]*subscription
}

// NewIndex returns an empty index.
func NewIndex() *Index { return &Index{subs: map[int]*subscription{}} }

// Add subscribes number i to filter.
func (x *Index) Add(i int, filter string) {
	s := &subscription{filter: filter, shared: isShared(filter), id: uint32(i)}
	x.subs[i] = s
	x.x.add(s)
}

// Remove ends a subscription.
func (x *Index) Remove(i int) { x.x.remove(x.subs[i]) }

// Match says how often each number is found.
func (x *Index) Match(topic string) map[int]int {
	found := map[int]int{}
	for _, s := range x.x.match(topic, nil) {
		found[int(s.id)]++
	}
	return found
}

// Subscribed says whether any matches.
func (x *Index) Subscribed(topic string) bool {
	var few [4]*subscription
	return len(x.x.match(topic, few[:0])) > 0
}

// Len is how many keys there are.
func (x *Index) Len() int { return x.x.len() }
