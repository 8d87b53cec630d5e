package broker

import (
	"context"
	"fmt"
	"net"

	"fleetbridge/link"
)

// replier answers one connection.
type replier struct{ c *conn }

// Send implements link.Replier. A client that takes no byte for the write deadline, or still doesn't read one second
// after ctx ended, is closed.
func (r replier) Send(ctx context.Context, messages ...link.Message) error {
	return r.c.send(ctx, 0, messages...)
}

// send writes messages under the lock that mochi's writers take, one packet at a time.
func (c *conn) send(ctx context.Context, subscription int, messages ...link.Message) error {
	heads := make([][]byte, len(messages))
	limit := int64(c.client.Properties.Props.MaximumPacketSize)
	for i, m := range messages {
		heads[i] = publishHead(make([]byte, 0, 16+len(m.Topic)), c.v5, m, subscription)
		if size := int64(len(heads[i]) + len(m.Payload)); limit > 0 && size > limit { // [MQTT-3.1.2-24]
			return fmt.Errorf("send %d bytes on %s: %w", size, m.Topic, link.ErrTooLarge)
		}
	}
	stop := context.AfterFunc(ctx, c.abort)
	defer stop()
	for i, m := range messages {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if err := c.sendOne(heads[i], m.Payload); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) sendOne(head, payload []byte) error {
	c.client.Lock()
	defer c.client.Unlock()
	if c.client.Closed() {
		return fmt.Errorf("send: %w", link.ErrClosed)
	}
	bufs := net.Buffers{head, payload}
	if !c.writeAll && len(head)+len(payload) <= writeSlice {
		bufs = net.Buffers{append(head, payload...)} // one TLS record, one WebSocket message
	}
	n, err := c.writeBuffers(&bufs)
	if err != nil {
		return fmt.Errorf("send: %w: %w", link.ErrClosed, err)
	}
	c.b.stats.replies.Add(1)
	c.b.stats.replyBytes.Add(uint64(n))
	return nil
}
