package broker

import (
	"context"
	"fmt"
	"net"
	"slices"

	"fleetbridge/link"
)

// replier answers one connection.
type replier struct{ c *conn }

// Send implements link.Replier. A client that takes no byte for the write deadline, or still doesn't read one second
// after ctx ended, is closed.
func (r replier) Send(ctx context.Context, messages ...link.Message) error {
	return r.c.send(ctx, 0, messages...)
}

// SendRun implements link.Replier.
func (r replier) SendRun(ctx context.Context, run link.Run) error {
	return r.c.send(ctx, 0, run.Messages()...)
}

// TrySendRun implements link.Replier.
func (replier) TrySendRun(link.Run) (int, error) { return 0, nil }

// sendGroup is how many bytes of messages are written under one taking of the lock, and with one system call where the
// connection is plain TCP.
const sendGroup = 256 << 10

// send writes messages under the lock that mochi's writers take. subscription is an identifier, 0 for none.
func (c *conn) send(ctx context.Context, subscription int, messages ...link.Message) error {
	heads := make([][]byte, len(messages))
	limit := int64(c.client.Properties.Props.MaximumPacketSize)
	for i, m := range messages {
		heads[i] = publishHead(make([]byte, 0, 16+len(m.Topic)), c.v5, m, subscription)
		if size := int64(len(heads[i]) + len(m.Payload)); limit > 0 && size > limit { // [MQTT-3.1.2-24]
			return fmt.Errorf("send %d bytes on %s: %w", size, m.Topic, link.ErrTooLarge)
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	stop := context.AfterFunc(ctx, c.abort)
	defer stop()
	for len(messages) > 0 {
		n, size := 0, 0
		var bufs net.Buffers
		for n < len(messages) && (n == 0 || size+len(heads[n])+len(messages[n].Payload) <= sendGroup) {
			bufs = append(bufs, heads[n], messages[n].Payload)
			size += len(heads[n]) + len(messages[n].Payload)
			n++
		}
		if err := c.sendBuffers(bufs, size, n); err != nil {
			return err
		}
		heads, messages = heads[n:], messages[n:]
	}
	return nil
}

// sendBuffers writes n packets of size bytes in all.
func (c *conn) sendBuffers(bufs net.Buffers, size, n int) error {
	if !c.writeAll {
		// Each write is a TLS record or a WebSocket message: one copy is cheaper than two of them.
		bufs = net.Buffers{slices.Concat(bufs...)}
	}
	c.client.Lock()
	defer c.client.Unlock()
	if c.client.Closed() {
		return fmt.Errorf("send: %w", link.ErrClosed)
	}
	if _, err := c.writeBuffers(&bufs); err != nil {
		return fmt.Errorf("send: %w: %w", link.ErrClosed, err)
	}
	c.b.stats.replies.Add(uint64(n))
	c.b.stats.replyBytes.Add(uint64(size))
	return nil
}
