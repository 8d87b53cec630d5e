package broker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/topics"
)

// maxConnect bounds a CONNECT packet in bytes: user name, token, client identifier and some properties fit easily.
const maxConnect = 8 << 10

// abortDeadline is how long a client that is being closed may take to read why.
const abortDeadline = time.Second

// conn is a client's connection as mochi sees it: a net.Conn that has already read CONNECT, checks the framing of what
// it reads, and closes itself on the first write that makes no progress.
type conn struct {
	net.Conn
	b     *Broker
	addr  string
	head  []byte // the bytes of CONNECT, not yet given to mochi
	frame framer
	// plain says that it is TCP without anything on top: a write may be resumed after its deadline passed, and raw is its
	// socket where the system has vectored writes that don't wait.
	plain bool
	raw   syscall.RawConn
	wmu   sync.Mutex // of writing: held for whole packets
	// abortAt caps all write deadlines once the connection is to end, in Unix nanoseconds; 0 means it isn't.
	abortAt atomic.Int64
	closed  sync.Once
	dropped atomic.Bool   // a message that it must not miss was dropped, and it is being disconnected
	done    chan struct{} // closed when no goroutine of ours uses the connection any more
	up      chan struct{} // closed after CONNACK

	// Set in the connection's own goroutine before up is closed.
	client    *mqtt.Client
	principal topics.Principal
	clientID  string // as the client chose it, or was assigned
	session   string // key in Broker.sessions; "" before it is taken
	v5        bool
	memo      any // link.Inbound.Memo

	// Of the SUBSCRIBE in hand; used in the connection's own goroutine only.
	asked, granted []grant
}

func (b *Broker) newConn(nc net.Conn) *conn {
	addr := "unknown"
	if a := nc.RemoteAddr(); a != nil {
		addr = a.String()
	}
	c := &conn{Conn: nc, b: b, addr: addr, done: make(chan struct{}), up: make(chan struct{})}
	_, c.plain = nc.(*net.TCPConn)
	c.raw = rawConn(nc)
	return c
}

// readConnect reads the whole first packet, which must be a CONNECT of bounded size [MQTT-3.1.0-1]. mochi is not given
// the connection before: an idle or hostile socket costs us its descriptor and a small goroutine.
func (c *conn) readConnect() error {
	head := make([]byte, 2, 256)
	if _, err := io.ReadFull(c.Conn, head); err != nil {
		return fmt.Errorf("read connect: %w", err)
	}
	if head[0] != packets.Connect<<4 {
		return fmt.Errorf("read connect: first packet has type %d", head[0]>>4)
	}
	size, shift := int(head[1]&0x7f), 7
	for last := head[1]; last&0x80 != 0; shift += 7 {
		if shift > 21 { // [MQTT-1.5.5-1]
			return errors.New("read connect: remaining length has more than 4 bytes")
		}
		head = append(head, 0)
		if _, err := io.ReadFull(c.Conn, head[len(head)-1:]); err != nil {
			return fmt.Errorf("read connect: %w", err)
		}
		last = head[len(head)-1]
		size |= int(last&0x7f) << shift
	}
	if size > maxConnect {
		return fmt.Errorf("read connect: %d bytes, at most %d", size, maxConnect)
	}
	packet := make([]byte, len(head)+size)
	copy(packet, head)
	if _, err := io.ReadFull(c.Conn, packet[len(head):]); err != nil {
		return fmt.Errorf("read connect: %w", err)
	}
	c.head = packet
	return nil
}

// Read gives mochi the CONNECT and then what comes in, as long as its framing is right.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(p, c.head)
		if c.head = c.head[n:]; len(c.head) == 0 {
			c.head = nil // an empty slice would keep the token's bytes for as long as the connection lives
		}
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		if ferr := c.frame.feed(p[:n]); ferr != nil {
			c.b.disconnect(c, packets.ErrMalformedPacket)
			return 0, ferr
		}
	}
	return n, err
}

// SetDeadline is mochi's keepalive: it bounds reads alone, since a write has its own deadline and must not fail because
// a commit took long.
func (c *conn) SetDeadline(t time.Time) error { return c.Conn.SetReadDeadline(t) }

// Close closes the socket, once.
func (c *conn) Close() (err error) {
	c.closed.Do(func() { err = c.Conn.Close() })
	return err
}

// established says whether CONNACK has gone out.
func (c *conn) established() bool {
	select {
	case <-c.up:
		return true
	default:
		return false
	}
}

// gone says whether the connection has ended or is about to.
func (c *conn) gone() bool { return c.client.Closed() }

// maxPacket is the largest packet that the client takes, 0 for any.
func (c *conn) maxPacket() int64 { return int64(c.client.Properties.Props.MaximumPacketSize) }
