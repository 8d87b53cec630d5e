package broker

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Sizes of read buffers: of a socket that can be read without waiting, which holds none while it waits, and of any other
// connection, which does.
const (
	readSize     = 4 << 10
	readSizeHeld = 1 << 10
)

// maxSubscribe bounds a SUBSCRIBE or UNSUBSCRIBE packet in bytes; 128 filters of full length fit.
const maxSubscribe = 64 << 10

// reader holds what of a connection's stream is read and not yet dealt with. Its buffer is pooled; it grows as bytes come,
// not as they are announced, and is given back when it is empty.
type reader struct {
	buf      *buffer
	from, to int  // the bytes that are not dealt with
	used     int  // bytes of the packet that was handed out last
	whole    bool // a packet was handed out since the last read
	lazy     bool // a read may be resumed after its deadline passed
	deadline time.Time
	heard    time.Time // of the last packet
	raw      rawReader
}

// errHeader says that more bytes are needed.
var errHeader = errors.New("incomplete")

// header reads a fixed header: the packet's first byte, where its body begins, and its length.
func header(b []byte) (first byte, at, size int, err error) {
	if len(b) == 0 {
		return 0, 0, 0, errHeader
	}
	for at = 1; at < len(b); at++ {
		if at > 4 {
			return 0, 0, 0, packets.ErrMalformedPacket // [MQTT-1.5.5-1]
		}
		size |= int(b[at]&0x7f) << (7 * (at - 1))
		if b[at]&0x80 == 0 {
			return b[0], at + 1, size, nil
		}
	}
	if at > 4 {
		return 0, 0, 0, packets.ErrMalformedPacket
	}
	return b[0], 0, 0, errHeader
}

// cut returns the first packet of b, or errHeader if it is not complete. A packet that is too large is refused by its header.
func cut(b []byte, most uint32) (first byte, body []byte, used int, err error) {
	first, at, size, err := header(b)
	switch {
	case err != nil:
		return first, nil, 0, err
	case uint64(size)+1 > uint64(most):
		return first, nil, 0, packets.ErrPacketTooLarge // [MQTT-3.2.2-15]
	case size > maxSubscribe && (first>>4 == packets.Subscribe || first>>4 == packets.Unsubscribe):
		return first, nil, 0, packets.ErrPacketTooLarge
	case len(b) < at+size:
		return first, nil, 0, errHeader
	}
	return first, b[at : at+size], at + size, nil
}

// nextPacket returns the next packet; its body is valid until the next call. An error that is a packets.Code can be told to
// the client.
func (c *conn) nextPacket(most uint32) (head byte, body []byte, err error) {
	r := &c.in
	r.from, r.used = r.from+r.used, 0
	for {
		if r.buf != nil {
			head, body, used, err := cut(r.buf.b[r.from:r.to], most)
			if err == nil {
				r.used, r.whole = used, true
				c.b.stats.packetsIn.Add(1)
				return head, body, nil
			}
			if err != errHeader {
				return 0, nil, err
			}
		}
		if err := c.fill(); err != nil {
			return 0, nil, err
		}
	}
}

// fill reads at least one byte. Before it waits it writes the acknowledgements that are due.
func (c *conn) fill() error {
	c.flushOwn()
	r := &c.in
	if r.whole {
		r.whole, r.heard = false, time.Now()
	}
	r.room()
	for {
		if !r.lazy && c.keepAlive > 0 {
			if err := c.armRead(r.heard.Add(c.patience())); err != nil {
				return err
			}
		}
		n, err := c.read()
		if n > 0 {
			r.to += n
			c.b.stats.bytesIn.Add(uint64(n))
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || !r.lazy {
			return err
		}
		// The deadline is set once, not for each packet: only now it shows whether the client has been silent.
		if err := c.resume(err); err != nil {
			return err
		}
	}
}

// resume sets the deadline again if the client was heard of meanwhile; else it returns err.
func (c *conn) resume(err error) error {
	at := c.in.heard.Add(c.patience())
	if c.keepAlive == 0 || !at.After(c.in.deadline) || c.gone() {
		return err
	}
	return c.armRead(at)
}

// patience is how long a client may be silent [MQTT-3.1.2-22].
func (c *conn) patience() time.Duration { return time.Duration(c.keepAlive) * time.Second * 3 / 2 }

func (c *conn) armRead(at time.Time) error {
	c.in.deadline = at
	return c.nc.SetReadDeadline(at)
}

// setLazy says whether a read of nc may be resumed after its deadline: not one of a WebSocket.
func (r *reader) setLazy(nc net.Conn) {
	switch nc.(type) {
	case *net.TCPConn, *tls.Conn:
		r.lazy = true
	}
}

// room makes room for what is read next.
func (r *reader) room() {
	switch {
	case r.buf == nil:
	case r.from == r.to: // empty
		r.buf.put()
		r.buf, r.from, r.to = nil, 0, 0
	case r.from > 0 && r.to == cap(r.buf.b):
		full := r.buf.b[:cap(r.buf.b)]
		r.to = copy(full, full[r.from:r.to])
		r.from = 0
	case r.to == cap(r.buf.b):
		larger := getBuffer(2 * cap(r.buf.b))
		copy(larger.b[:cap(larger.b)], r.buf.b[:r.to])
		r.buf.put()
		r.buf = larger
		r.buf.b = r.buf.b[:cap(r.buf.b)]
	}
}

// hold gets a buffer of some size if there is none.
func (r *reader) hold(size int) []byte {
	if r.buf == nil {
		r.buf = getBuffer(size)
		r.buf.b = r.buf.b[:cap(r.buf.b)]
	}
	return r.buf.b[r.to:]
}

// read reads once. A socket holds no buffer while there is nothing to read.
func (c *conn) read() (int, error) {
	if c.raw != nil {
		return c.in.readRaw(c.raw)
	}
	n, err := c.nc.Read(c.in.hold(readSizeHeld))
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return n, err
}

// more says whether something is there behind the packet that was handed out last.
func (r *reader) more() bool { return r.from+r.used < r.to }

// release gives the buffer back at the end of the connection.
func (r *reader) release() {
	r.buf.put()
	r.buf, r.from, r.to, r.used = nil, 0, 0, 0
}
