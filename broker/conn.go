package broker

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/topics"
)

// abortDeadline is how long a client that is being closed may take to read why.
const abortDeadline = time.Second

// conn is a client's connection. Its own goroutine reads, and hands each packet to who deals with it before it reads on; it
// is small while it waits: no buffer, no deep frame on its stack (see apart). Everybody may write, whole packets under wmu.
type conn struct {
	b  *Broker
	nc net.Conn
	// plain says that it is TCP without anything on top: a write may be resumed after its deadline passed, and raw is its
	// socket where the system has reads and writes that don't wait.
	plain bool
	raw   syscall.RawConn
	in    reader

	wmu sync.Mutex // of writing; let go of by unlockWrite
	// abortAt caps all write deadlines once the connection is to end, in Unix nanoseconds; 0 means it isn't.
	abortAt atomic.Int64
	closed  atomic.Bool
	refused atomic.Bool // a message was refused: no packet is read any more, and nothing is acknowledged
	ackDue  atomic.Bool // there may be acknowledgements to write, and somebody is going to
	slow    atomic.Bool // it missed a message that it must not miss, and is being disconnected

	mu      sync.Mutex
	acks    *ack // QoS 1 messages in order of arrival, the first without PUBACK at the head
	lastAck *ack
	muted   bool          // a refused message was reached: no PUBACK any more
	busy    bool          // the handler is being called
	inHand  int           // messages that are not answered
	changed chan struct{} // closed when inHand or busy goes down; nil while nobody waits
	outbox  []delivery    // of Publish, not yet written
	sending int           // deliveries that are being written

	// Set in the connection's own goroutine before up.
	principal  topics.Principal
	clientID   string // as the client chose it, or was assigned
	limit      uint32 // largest packet that it takes; 0 for any
	keepAlive  uint16 // seconds
	v5         bool
	hasSession bool
	up         bool // CONNACK has gone out; guarded by Broker.mu

	// Guarded by Broker.mu.
	prev, next *conn         // in the list of all
	peer       *conn         // next of the same principal
	turned     chan struct{} // closed when up is set or the connection has ended; nil while nobody waits

	// Used in the connection's own goroutine only.
	memo    any // link.Inbound.Memo
	allowed allowed
	subs    []*subscription
	ownAcks bool // messages were answered while they were handed over
}

func (b *Broker) newConn(nc net.Conn) *conn {
	c := &conn{b: b, nc: nc, raw: rawConn(nc)}
	_, c.plain = nc.(*net.TCPConn)
	return c
}

// ServeConn serves one connection, whatever carries it, until it ends. A panic ends that connection only.
func (b *Broker) ServeConn(nc net.Conn) {
	c := b.newConn(nc)
	defer c.close()
	if !b.register(c) {
		b.stats.limited.Add(1)
		return
	}
	defer b.unregister(c)
	defer b.recovered(c)
	b.stats.accepted.Add(1)
	err := c.connect()
	if err == nil {
		err = c.serve()
	}
	b.debug("connection ended", c, err)
}

// serve reads packets until the connection ends.
func (c *conn) serve() error {
	for {
		head, body, err := c.nextPacket(c.b.o.MaxPacket)
		if err != nil {
			if code, ok := err.(packets.Code); ok {
				c.b.disconnect(c, code)
			}
			return err
		}
		if code := c.packet(head, body); code != packets.CodeSuccess {
			if code != packets.CodeDisconnect {
				c.b.disconnect(c, code)
			}
			return code
		}
		switch {
		case c.refused.Load():
			c.b.disconnect(c, packets.ErrServerBusy)
			return errRefused
		case c.gone(): // what was read before is not dealt with: its client may have lost its rights
			return net.ErrClosed
		}
	}
}

// packet deals with one packet; any code but success ends the connection, and CodeDisconnect without a word.
func (c *conn) packet(head byte, body []byte) packets.Code {
	if !flagsValid(head) {
		return packets.ErrMalformedFlags // [MQTT-2.1.3-1]
	}
	switch head >> 4 {
	case packets.Publish:
		return c.publish(head, body)
	case packets.Pingreq:
		if len(body) != 0 {
			return packets.ErrMalformedPacket
		}
		return c.answer([]byte{packets.Pingresp << 4, 0}) // [MQTT-3.12.4-1]
	case packets.Disconnect:
		return packets.CodeDisconnect // [MQTT-3.14.4-2]; there is neither a will nor a session that its contents could change
	case packets.Puback:
		return packets.CodeSuccess // nothing goes out at QoS 1; one too many does no harm
	case packets.Subscribe:
		return c.deep(func() packets.Code { return c.subscribe(body) })
	case packets.Unsubscribe:
		return c.deep(func() packets.Code { return c.unsubscribe(body) })
	case packets.Connect:
		return packets.ErrProtocolViolationSecondConnect // [MQTT-3.1.0-2]
	default:
		return packets.ErrProtocolViolation // no such exchange was begun
	}
}

// flagsValid says whether the lower half of a packet's first byte is as section 2.1.3 of MQTT 5 has it.
func flagsValid(head byte) bool {
	switch head >> 4 {
	case packets.Publish:
		return head&6 != 6 && (head&8 == 0 || head&6 != 0) // [MQTT-3.3.1-4], [MQTT-3.3.1-2]
	case packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		return head&15 == 2
	default:
		return head&15 == 0
	}
}

// answer writes a packet in the connection's own goroutine.
func (c *conn) answer(p []byte) packets.Code {
	if err := c.writePacket(p); err != nil {
		return packets.CodeDisconnect
	}
	return packets.CodeSuccess
}

// close closes the socket, once.
func (c *conn) close() {
	if c.closed.CompareAndSwap(false, true) {
		_ = c.nc.Close() // there is nothing to be done about it
	}
}

// gone says whether the connection has ended or is about to.
func (c *conn) gone() bool { return c.closed.Load() }

// addr is where the client is, for the log.
func (c *conn) addr() string {
	if a := c.nc.RemoteAddr(); a != nil {
		return a.String()
	}
	return "unknown"
}

// disconnect tells a client why, if MQTT lets us and it reads within a second, and closes its connection.
func (b *Broker) disconnect(c *conn, code packets.Code) {
	c.abort()
	defer c.close()
	if !b.isUp(c) || !c.v5 {
		return // only clients send DISCONNECT in MQTT 3.1.1
	}
	c.wmu.Lock()
	defer c.unlockWrite()
	if c.gone() {
		return
	}
	v := getVec()
	defer v.put()
	acks := getBuffer(ackBatch)
	defer acks.put()
	acks.b, _ = c.collectAcks(acks.b)
	bye := disconnectPacket(code, c.limit)
	v.add(acks.b, bye)
	if c.writeVec(v) == nil {
		b.stats.sent(1, len(acks.b)+len(bye))
	}
	c.close() // nothing comes after a DISCONNECT [MQTT-3.14.4-1]
}
