package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/link"
	"fleetbridge/topics"
)

// grant is a subscription that SUBACK granted and that gets the state of its topics.
type grant struct {
	filter string
	ids    []uint32 // the subscription identifier, if it has one
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

// tellRetained answers a SUBSCRIBE with the state of its topics, after SUBACK. The gate bounds how many read the store.
func (b *Broker) tellRetained(c *conn, grants []grant) packets.Code {
	if len(grants) == 0 || b.o.Retained == nil {
		return packets.CodeSuccess
	}
	ctx, cancel := b.timeout(b.o.RetainedDeadline)
	defer cancel()
	err := b.asks.enter(ctx)
	if err == nil {
		err = b.answerRetained(ctx, c, grants)
		b.asks.leave()
	}
	switch {
	case err == nil:
		return packets.CodeSuccess
	case errors.Is(err, link.ErrClosed):
		return packets.CodeDisconnect
	}
	// A client that misses a state without knowing would wait for ever: it must subscribe again.
	b.refusal("retained answer failed", "principal", c.principal.String(), "err", err)
	return packets.ErrServerBusy
}

func (b *Broker) answerRetained(ctx context.Context, c *conn, grants []grant) error {
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
		failed = b.sendState(ctx, c, link.Message{Topic: topic, Payload: payload, Retain: true}, g.ids)
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

// sendState writes a state, behind the gate as long as the socket takes it at once. Who has to wait for its client lets
// another in meanwhile.
func (b *Broker) sendState(ctx context.Context, c *conn, m link.Message, ids []uint32) error {
	if sent, err := c.trySend(m, ids); sent || err != nil {
		return err
	}
	b.asks.leave()
	err := c.send(ctx, ids, m)
	if again := b.asks.enter(ctx); again != nil {
		b.asks <- struct{}{} // the caller leaves
		return errors.Join(err, again)
	}
	return err
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
		sent, err := b.sendRetained(ctx, c, grant{filter: topic, ids: g.ids})
		if err != nil {
			return err
		}
		if sent > 0 {
			return nil
		}
		return b.sendState(ctx, c, link.Message{Topic: topic}, g.ids)
	}
	return nil
}
