package mqtt

import (
	"errors"
	"fmt"
	"syscall"
)

// Conn is one connection. Its methods are called on the goroutine of its loop: in Handle, or in a function given to Do. After
// its end they do nothing.
type Conn struct {
	loop    *Loop
	owner   Handler
	fd      int    // -1: closed
	rest    []byte // of a packet that is not complete
	out     []byte // not written yet
	nextID  uint16
	dialing bool
	blocked bool // the socket's buffer is full
	dirty   bool // in loop.dirty
}

// Publish sends a message at QoS 0 or 1 and returns its packet identifier, 0 at QoS 0.
func (c *Conn) Publish(topic string, payload []byte, qos byte) uint16 {
	id := uint16(0)
	if qos > 0 {
		id = c.newID()
	}
	c.queue(AppendPublish(c.pending(), topic, payload, id))
	return id
}

// Retain publishes a message at QoS 1 that the server shall keep, and returns its packet identifier.
func (c *Conn) Retain(topic string, payload []byte) uint16 {
	id, b := c.newID(), c.pending()
	first := len(b)
	b = AppendPublish(b, topic, payload, id)
	b[first] |= 1
	c.queue(b)
	return id
}

// Subscribe asks for filters at QoS 0 and returns the packet identifier.
func (c *Conn) Subscribe(filters ...string) uint16 {
	id := c.newID()
	c.queue(AppendSubscribe(c.pending(), id, 0, filters...))
	return id
}

func (c *Conn) ping() { c.queue(append(c.pending(), 12<<4, 0)) }

// Disconnect says goodbye and closes the connection.
func (c *Conn) Disconnect() {
	c.queue(append(c.pending(), 14<<4, 0))
	c.flush()
	c.Close()
}

// Close closes the connection without a word, as a loss of power would.
func (c *Conn) Close() {
	if c.fd < 0 {
		return
	}
	c.loop.conns[c.fd] = nil
	c.loop.live.Add(-1)
	// The descriptor is gone whatever close says.
	_ = syscall.Close(c.fd)
	c.fd = -1
	c.loop.giveBack(&c.rest)
	c.loop.giveBack(&c.out)
}

// newID gives out identifiers in a circle: an owner has few messages without PUBACK at a time.
func (c *Conn) newID() uint16 {
	if c.nextID++; c.nextID == 0 { // [MQTT-2.3.1-1]
		c.nextID = 1
	}
	return c.nextID
}

// pending is what waits to be written, for a packet to be appended.
func (c *Conn) pending() []byte {
	if c.out == nil && c.fd >= 0 {
		c.out = c.loop.borrow()
	}
	return c.out
}

// queue takes pending with a packet more; the loop writes it once it is done with the event at hand.
func (c *Conn) queue(b []byte) {
	if c.fd < 0 {
		return
	}
	c.out = b
	if !c.dirty && !c.dialing && !c.blocked {
		c.dirty = true
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// flush writes what the socket takes; the rest waits until there is room.
func (c *Conn) flush() {
	c.dirty = false
	if c.fd < 0 || len(c.out) == 0 {
		return
	}
	n, err := syscall.Write(c.fd, c.out)
	switch {
	case err == nil && n == len(c.out):
		c.loop.giveBack(&c.out)
		c.watch(false)
	case err == nil:
		c.out = c.out[:copy(c.out, c.out[n:])]
		c.watch(true)
	case errors.Is(err, syscall.EAGAIN):
		c.watch(true)
	default:
		c.end(fmt.Errorf("write: %w", err))
	}
}

// watch asks epoll for room in the socket's buffer, or no longer.
func (c *Conn) watch(room bool) {
	if room == c.blocked {
		return
	}
	c.blocked = room
	if err := c.loop.watch(syscall.EPOLL_CTL_MOD, c.fd, room); err != nil {
		c.end(err)
	}
}

// ready is what epoll says of the connection.
func (c *Conn) ready(events uint32) {
	if c.dialing && c.dialed() != nil {
		return
	}
	if events&syscall.EPOLLOUT != 0 {
		c.flush()
	}
	if events&(syscall.EPOLLIN|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 && c.fd >= 0 {
		c.read()
	}
}

// dialed learns what became of connect.
func (c *Conn) dialed() error {
	c.dialing = false
	code, err := syscall.GetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err == nil && code != 0 {
		err = syscall.Errno(code)
	}
	if err != nil {
		err = fmt.Errorf("connect: %w", err)
		c.end(err)
	}
	return err
}

// errEnded is the end of a connection that the server closed in order.
var errEnded = errors.New("closed by the server")

// read takes what has arrived, once: what is left shows at the next wait.
func (c *Conn) read() {
	in := c.loop.in
	n := copy(in, c.rest)
	m, err := syscall.Read(c.fd, in[n:])
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		return
	}
	if err == nil && m == 0 {
		err = errEnded
	}
	if err != nil {
		c.end(fmt.Errorf("read: %w", err))
		return
	}
	left, err := c.packets(in[:n+m])
	if err != nil {
		c.end(err)
		return
	}
	c.keep(left)
}

// packets gives the owner what is complete of b, and returns the rest.
func (c *Conn) packets(b []byte) ([]byte, error) {
	for {
		e, size, err := next(b)
		if err != nil || size == 0 {
			return b, err
		}
		if e.Kind != 0 {
			c.owner.Handle(c, e)
		}
		if c.fd < 0 {
			return nil, nil
		}
		b = b[size:]
	}
}

// keep holds the start of a packet until the rest of it comes.
func (c *Conn) keep(left []byte) {
	if len(left) == 0 || c.fd < 0 {
		c.loop.giveBack(&c.rest)
		return
	}
	if c.rest == nil {
		c.rest = c.loop.borrow()
	}
	c.rest = append(c.rest[:0], left...)
}

// end closes the connection and tells its owner.
func (c *Conn) end(err error) {
	if c.fd < 0 {
		return
	}
	c.Close()
	c.owner.Handle(c, Event{Kind: Closed, Err: err})
}
