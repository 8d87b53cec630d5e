package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/link"
	"fleetbridge/topics"
)

// grant is a subscription that SUBACK granted and that gets the state of its topics.
type grant struct {
	filter string
	id     int // subscription identifier; 0 for none
}

// answers knows which connections are being told the state of topics right now, and which topics changed meanwhile.
//
// Why: the answer is read from the store and written by the connection's own goroutine, while Publish puts newer states
// into the client's queue. Without care a state read before the change could be written after it and be the last one
// that the client sees. So Publish first marks the topic at every answer under way that covers it, and an answer ends
// only when, under the same lock, no mark is left; each marked topic is read and written again. A change that is marked
// was committed before, so the second reading sees it or a later one; a change after the end is queued after all that
// the answer wrote.
type answers struct {
	mu    sync.Mutex
	going map[*answer]struct{}
}

// maxMarks bounds the topics that one answer remembers as changed; beyond it the whole answer is given again.
const maxMarks = 256

// maxRounds bounds how often an answer is mended before the client is closed instead.
const maxRounds = 16

type answer struct {
	c        *conn
	grants   []grant
	marks    map[string]struct{}
	overflow bool
}

func (a *answers) begin(c *conn, grants []grant) *answer {
	n := &answer{c: c, grants: grants}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.going == nil {
		a.going = map[*answer]struct{}{}
	}
	a.going[n] = struct{}{}
	return n
}

// mark tells the answers under way that the state of topic has changed.
func (a *answers) mark(topic string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n := range a.going {
		for _, g := range n.grants {
			if !topics.Match(g.filter, topic) {
				continue
			}
			if len(n.marks) >= maxMarks {
				n.overflow = true
				break
			}
			if n.marks == nil {
				n.marks = map[string]struct{}{}
			}
			n.marks[topic] = struct{}{}
			break
		}
	}
}

// covers says whether c is being told the state of topic: what its queue has no room for comes with the answer.
func (a *answers) covers(c *conn, topic string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n := range a.going {
		if n.c == c && slices.ContainsFunc(n.grants, func(g grant) bool { return topics.Match(g.filter, topic) }) {
			return true
		}
	}
	return false
}

// next ends n if nothing changed since the last call, else it returns what did.
func (a *answers) next(n *answer) (marks map[string]struct{}, overflow, ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(n.marks) == 0 && !n.overflow {
		delete(a.going, n)
		return nil, false, true
	}
	marks, overflow = n.marks, n.overflow
	n.marks, n.overflow = nil, false
	return marks, overflow, false
}

func (a *answers) drop(n *answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.going, n)
}

// OnSubscribe grants QoS 0, and notes which filters get the state of their topics [MQTT-3.3.1-9 to 3.3.1-11].
func (h *hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return pk
	}
	c.asked, c.granted = make([]grant, len(pk.Filters)), nil
	for i := range pk.Filters {
		f := &pk.Filters[i]
		f.Filter, f.Qos = strings.Clone(f.Filter), 0
		if checkFilter(f.Filter) != nil {
			continue // OnACLCheck denies it
		}
		if h.b.o.Access.MaySubscribe(c.principal, f.Filter) != nil {
			if h.allowed(c, f.Filter, false) {
				// OnACLCheck takes an exact filter for a delivery, and would let it pass.
				f.Filter = ""
			}
			continue
		}
		_, existed := cl.State.Subscriptions.Get(f.Filter)
		if mqtt.IsSharedFilter(f.Filter) || f.RetainHandling == 2 || f.RetainHandling == 1 && existed {
			continue
		}
		c.asked[i] = grant{filter: f.Filter, id: f.Identifier}
	}
	return pk
}

// OnSubscribed keeps those of the filters that were granted.
func (h *hook) OnSubscribed(cl *mqtt.Client, _ packets.Packet, codes []byte) {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return
	}
	for i, g := range c.asked {
		if g.filter != "" && i < len(codes) && codes[i] < packets.ErrUnspecifiedError.Code {
			c.granted = append(c.granted, g)
		}
	}
	c.asked = nil
}

// OnPacketProcessed answers a SUBSCRIBE with the state of its topics, after SUBACK.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	if pk.FixedHeader.Type != packets.Subscribe || err != nil || h.b.o.Retained == nil {
		return
	}
	c, ok := cl.Net.Conn.(*conn)
	if !ok || len(c.granted) == 0 {
		return
	}
	grants := c.granted
	c.granted = nil
	if err := h.b.answerRetained(c, grants); err != nil && !errors.Is(err, link.ErrClosed) {
		// A client that misses a state without knowing would wait for ever: it must subscribe again.
		h.b.refusal("retained answer failed", "principal", c.principal.String(), "err", err)
		h.b.disconnect(c, packets.ErrServerBusy)
	}
}

func (b *Broker) answerRetained(c *conn, grants []grant) error {
	ctx, cancel := b.timeout(b.o.RetainedDeadline)
	defer cancel()
	n := b.answers.begin(c, grants)
	defer b.answers.drop(n)
	all := true
	for range maxRounds {
		if all {
			for _, g := range grants {
				if _, err := b.sendRetained(ctx, c, g); err != nil {
					return err
				}
			}
		}
		marks, overflow, ended := b.answers.next(n)
		if ended {
			return nil
		}
		all = overflow
		for topic := range marks {
			if err := b.mendRetained(ctx, c, grants, topic); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("answer retained: topics still change after %d rounds", maxRounds)
}

// sendRetained writes the state of the topics that g matches, and returns how many there were.
func (b *Broker) sendRetained(ctx context.Context, c *conn, g grant) (int, error) {
	var sent int
	var failed error
	err := b.o.Retained.Retained(ctx, c.principal, g.filter, func(topic string, payload []byte) bool {
		if !topics.Match(g.filter, topic) || !b.o.Access.MayReceive(c.principal, topic) {
			return true
		}
		sent++
		failed = c.send(ctx, g.id, link.Message{Topic: topic, Payload: payload, Retain: true})
		if errors.Is(failed, link.ErrTooLarge) {
			failed = nil // it must not be sent [MQTT-3.1.2-24], and never can be
		}
		return failed == nil
	})
	if err = errors.Join(failed, err); err != nil {
		return sent, fmt.Errorf("answer retained %s: %w", g.filter, err)
	}
	return sent, nil
}

// mendRetained writes the state of one topic again, or that it has none any more.
func (b *Broker) mendRetained(ctx context.Context, c *conn, grants []grant, topic string) error {
	if !b.o.Access.MayReceive(c.principal, topic) {
		return nil
	}
	for _, g := range grants {
		if !topics.Match(g.filter, topic) {
			continue
		}
		sent, err := b.sendRetained(ctx, c, grant{filter: topic, id: g.id})
		if err != nil {
			return err
		}
		if sent > 0 {
			return nil
		}
		return c.send(ctx, g.id, link.Message{Topic: topic})
	}
	return nil
}
