package broker

import (
	"context"
	"fmt"

	"fleetbridge/link"
)

// replier answers one connection.
type replier struct{ c *conn }

// Send implements link.Replier. A client that takes no byte for the write deadline, or still doesn't read one second
// after ctx ended, is closed.
func (r replier) Send(ctx context.Context, messages ...link.Message) error {
	return r.c.send(ctx, nil, messages...)
}

// SendRun implements link.Replier, as Send does.
func (r replier) SendRun(ctx context.Context, run link.Run) error { return r.c.sendRun(ctx, run) }

// TrySendRun implements link.Replier: it takes none unless the connection is plain TCP.
func (r replier) TrySendRun(run link.Run) (int, error) { return r.c.trySendRun(run) }

// sendGroup is how many bytes of messages are written under one taking of the lock, and with one system call where the
// connection is plain TCP.
const sendGroup = 256 << 10

// send writes messages, whole groups under the write lock. ids are subscription identifiers.
func (c *conn) send(ctx context.Context, ids []uint32, messages ...link.Message) error {
	heads := make([][]byte, len(messages))
	limit := int64(c.limit)
	for i, m := range messages {
		heads[i] = publishHead(make([]byte, 0, 16+len(m.Topic)), c.v5, m, ids)
		if size := int64(len(heads[i]) + len(m.Payload)); limit > 0 && size > limit { // [MQTT-3.1.2-24]
			return fmt.Errorf("send %d bytes on %s: %w", size, m.Topic, link.ErrTooLarge)
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	stop := context.AfterFunc(ctx, c.abort)
	defer stop()
	v := getVec()
	defer v.put()
	for len(messages) > 0 {
		n, size := 0, 0
		v.reset()
		for n < len(messages) && (n == 0 || size+len(heads[n])+len(messages[n].Payload) <= sendGroup) {
			v.add(heads[n], messages[n].Payload)
			size += len(heads[n]) + len(messages[n].Payload)
			n++
		}
		if err := c.sendVec(v, size, n); err != nil {
			return err
		}
		heads, messages = heads[n:], messages[n:]
	}
	return nil
}

// sendVec writes n packets of size bytes in all.
func (c *conn) sendVec(v *vec, size, n int) error {
	c.wmu.Lock()
	defer c.unlockWrite()
	if c.gone() {
		return fmt.Errorf("send: %w", link.ErrClosed)
	}
	if err := c.writeVec(v); err != nil {
		return fmt.Errorf("send: %w: %w", link.ErrClosed, err)
	}
	c.b.stats.sent(n, size)
	return nil
}

// checkRun refuses a run of which a part is too large, or whose topics are.
func (c *conn) checkRun(run link.Run) error {
	if len(run.Prefix) > maxTopic {
		return fmt.Errorf("send run: %w", errTopic)
	}
	limit := int64(c.limit)
	if limit == 0 {
		return nil
	}
	for _, p := range run.Parts {
		if size := runHeadSize(c.v5, run.Prefix, p) + int64(len(p.Payload)); size > limit { // [MQTT-3.1.2-24]
			return fmt.Errorf("send %d bytes on %s%d: %w", size, run.Prefix, p.Index, link.ErrTooLarge)
		}
	}
	return nil
}

// sendRun writes a run as send does messages.
func (c *conn) sendRun(ctx context.Context, run link.Run) error {
	if err := c.checkRun(run); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("send run: %w", err)
	}
	stop := context.AfterFunc(ctx, c.abort)
	defer stop()
	v := getVec()
	defer v.put()
	for parts := run.Parts; len(parts) > 0; {
		n := groupOf(parts)
		size := v.setRun(c.v5, run.Prefix, parts[:n])
		if err := c.sendVec(v, size, n); err != nil {
			return err
		}
		parts = parts[n:]
	}
	return nil
}

// groupOf is how many of parts, one at least, make a group.
func groupOf(parts []link.Part) int {
	n, size := 1, len(parts[0].Payload)
	for n < len(parts) && size+len(parts[n].Payload) <= sendGroup && n < maxParts {
		size += len(parts[n].Payload)
		n++
	}
	return n
}

// trySendRun gives the socket what it takes at once. A packet that is cut counts as taken: its rest is copied, and written by a
// goroutine of its own, which has the write lock until then.
func (c *conn) trySendRun(run link.Run) (int, error) {
	if err := c.checkRun(run); err != nil {
		return 0, err
	}
	if c.raw == nil || !c.wmu.TryLock() {
		return 0, nil
	}
	handed := false
	defer func() {
		if !handed {
			c.unlockWrite()
		}
	}()
	if c.gone() {
		return 0, fmt.Errorf("send run: %w", link.ErrClosed)
	}
	taken, rest, err := c.tryParts(run)
	if err != nil {
		c.close() // a part of a packet may have gone out
		return taken, fmt.Errorf("send run: %w: %w", link.ErrClosed, err)
	}
	if rest != nil {
		handed = true
		go c.finish(rest)
	}
	return taken, nil
}

// tryParts writes groups of parts until one is not taken whole; rest is what is missing of the last packet that counts as taken.
func (c *conn) tryParts(run link.Run) (taken int, rest *buffer, err error) {
	v := getVec()
	defer v.put()
	for parts := run.Parts; len(parts) > 0; {
		n := groupOf(parts)
		size := v.setRun(c.v5, run.Prefix, parts[:n])
		written, err := v.try(c.raw)
		if err != nil {
			return taken, nil, err
		}
		if written == size {
			c.b.stats.sent(n, size)
			taken, parts = taken+n, parts[n:]
			continue
		}
		whole, rest, err := v.cut(written)
		if err != nil {
			return taken, nil, err
		}
		if rest != nil {
			whole, written = whole+1, written+len(rest.b)
		}
		c.b.stats.sent(whole, written)
		return taken + whole, rest, nil
	}
	return taken, nil, nil
}

// trySend is send for one message that the socket takes at once, or of which it takes a part; false if it takes nothing.
func (c *conn) trySend(m link.Message, ids []uint32) (bool, error) {
	head := publishHead(make([]byte, 0, 16+len(m.Topic)), c.v5, m, ids)
	size := len(head) + len(m.Payload)
	if c.limit > 0 && size > int(c.limit) { // [MQTT-3.1.2-24]
		return false, fmt.Errorf("send %d bytes on %s: %w", size, m.Topic, link.ErrTooLarge)
	}
	if c.raw == nil || !c.wmu.TryLock() {
		return false, nil
	}
	handed := false
	defer func() {
		if !handed {
			c.unlockWrite()
		}
	}()
	if c.gone() {
		return false, fmt.Errorf("send: %w", link.ErrClosed)
	}
	v := getVec()
	defer v.put()
	v.add(head, m.Payload)
	var whole int
	var rest *buffer
	n, err := v.try(c.raw)
	if err == nil {
		whole, rest, err = v.cut(n)
	}
	switch {
	case err != nil:
		c.close() // a part of a packet may have gone out
		return false, fmt.Errorf("send: %w: %w", link.ErrClosed, err)
	case rest != nil:
		handed = true
		c.b.stats.sent(1, size)
		go c.finish(rest)
		return true, nil
	}
	c.b.stats.sent(whole, n)
	return whole == 1, nil
}
