package lean

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// packet returns the next complete packet among the bytes that have been read.
func (c *Client) packet() (header, []byte, bool, error) {
	if c.underWay() {
		if c.filled < c.head.remain {
			return header{}, nil, false, nil
		}
		h := c.head
		c.head = header{}
		return h, (*c.large)[:h.remain], true, nil
	}
	h, ok, err := parseHeader(c.buf[c.r:c.w])
	if err != nil || !ok {
		return header{}, nil, false, err
	}
	if h.size+h.remain > c.maxPacket {
		return header{}, nil, false, fmt.Errorf("%d bytes: %w", h.size+h.remain, ErrTooLarge)
	}
	have := c.w - c.r - h.size
	if h.remain <= have {
		body := c.buf[c.r+h.size : c.r+h.size+h.remain]
		c.r += h.size + h.remain
		return h, body, true, nil
	}
	if h.size+h.remain > len(c.buf) {
		c.large, c.head = pooled(h.remain+readBuffer), h
		c.filled = copy(*c.large, c.buf[c.r+h.size:c.w])
		c.r, c.w = 0, 0
	}
	return header{}, nil, false, nil
}

// underWay reports whether the large packet is not complete, or has not been handed out.
func (c *Client) underWay() bool { return c.large != nil && c.head.size != 0 }

// fill reads once, into the large body if one is under way. Behind the body there is room for as much of what follows as
// the client's own buffer takes: of chunks that come one after the other each then costs one read instead of two, which
// is a tenth of the CPU of both ends (BenchmarkChunks).
func (c *Client) fill() error {
	if c.underWay() {
		n, err := c.conn.Read((*c.large)[c.filled:])
		c.filled += n
		if size := c.head.remain; c.filled > size {
			c.w = copy(c.buf[:], (*c.large)[size:c.filled])
			c.filled = size
		}
		return ignoreErrorOf(n, err)
	}
	if c.r > 0 {
		c.w = copy(c.buf[:], c.buf[c.r:c.w])
		c.r = 0
	}
	n, err := c.conn.Read(c.buf[c.w:])
	c.w += n
	return ignoreErrorOf(n, err)
}

// ignoreErrorOf drops the error of a read that brought bytes: the next read returns it again.
func ignoreErrorOf(n int, err error) error {
	if n > 0 {
		return nil
	}
	return err
}

// wait reads once, and pings when the connection has been idle for half its keep-alive (3.1.2.10).
func (c *Client) wait(deadline time.Time) error {
	for {
		until, ping := c.pingAt(), true
		if until.IsZero() || (!deadline.IsZero() && !deadline.After(until)) {
			until, ping = deadline, false
		}
		if err := c.conn.SetReadDeadline(until); err != nil {
			return err
		}
		err := c.fill()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if !ping {
			return ErrTimeout
		}
		if !c.pinged.IsZero() {
			return fmt.Errorf("no PINGRESP: %w", err)
		}
		if err := c.write([]byte{typePingreq << 4, 0}); err != nil {
			return err
		}
		c.pinged = c.lastWrite
	}
}

// pingAt is when the keep-alive demands something: a PINGREQ, or the end of the wait for its PINGRESP.
func (c *Client) pingAt() time.Time {
	switch {
	case c.keepAlive <= 0:
		return time.Time{}
	case !c.pinged.IsZero():
		return c.pinged.Add(c.keepAlive)
	}
	return c.lastWrite.Add(c.keepAlive / 2)
}
