package lean

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"
)

// Options describe a connection.
type Options struct {
	ClientID string
	User     string // "" connects without credentials
	Password string
	// KeepAlive is the interval that CONNECT names, in whole seconds; 0 turns keep-alive off.
	KeepAlive time.Duration
	// MaxPacket bounds inbound packets, in bytes; 0 means 1 MiB.
	MaxPacket int
	// WriteTimeout bounds each write; 0 means 10 s.
	WriteTimeout time.Duration
}

// RefusedError says that the server answered CONNECT with a return code other than 0 (3.2.2.3).
type RefusedError struct{ Code byte }

// Error names the code in the standard's words.
func (e *RefusedError) Error() string {
	words := [...]string{1: "unacceptable protocol version", 2: "identifier rejected", 3: "server unavailable",
		4: "bad user name or password", 5: "not authorized"}
	if int(e.Code) < len(words) && words[e.Code] != "" {
		return "connection refused: " + words[e.Code]
	}
	return fmt.Sprintf("connection refused: code %d", e.Code)
}

// Kind is what an Event is.
type Kind byte

// The kinds of events.
const (
	// Message is an application message: Topic, Payload and Retain are set.
	Message Kind = iota + 1
	// Ack is the PUBACK of the message ID.
	Ack
	// Subscribed is the SUBACK of the request ID; Payload has a return code per filter, 0x80 where one was refused.
	Subscribed
)

// Event is what Next returns. Its slices are valid until the next call of a method of the Client.
type Event struct {
	Kind    Kind
	ID      uint16
	Topic   []byte
	Payload []byte
	Retain  bool
}

// ErrTimeout is returned by Next when the deadline passed; the connection is as good as before.
var ErrTimeout = errors.New("no event before the deadline")

const readBuffer = 512

// Client is one connection.
type Client struct {
	conn         net.Conn
	keepAlive    time.Duration
	writeTimeout time.Duration
	maxPacket    int
	lastWrite    time.Time
	pinged       time.Time // when the unanswered PINGREQ went out; zero if none is

	r, w   int     // the unread bytes are buf[r:w]
	large  *[]byte // the body of a packet that does not fit in buf, and room for what follows
	filled int     // of the body
	head   header
	owed   uint16 // PUBACK that is due for the message handed out last
	nextID uint16
	buf    [readBuffer]byte
}

// pool holds the bodies of packets that don't fit in a client's own buffer, and packets that are being built.
var pool = sync.Pool{New: func() any { return new([]byte) }}

func pooled(n int) *[]byte {
	b := pool.Get().(*[]byte)
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	return b
}

// Connect speaks CONNECT on conn and waits for CONNACK until ctx ends. It owns conn and closes it when it fails. A
// refusal is a *RefusedError.
func Connect(ctx context.Context, conn net.Conn, o Options) (*Client, error) {
	if o.MaxPacket == 0 {
		o.MaxPacket = 1 << 20
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 10 * time.Second
	}
	c := &Client{conn: conn, keepAlive: o.KeepAlive.Truncate(time.Second), writeTimeout: o.WriteTimeout, maxPacket: o.MaxPacket}
	stop := context.AfterFunc(ctx, c.Abort)
	err := c.handshake(ctx, o)
	if !stop() && err == nil {
		err = ctx.Err() // Abort has run or is about to
	}
	if err != nil {
		c.Abort()
		return nil, fmt.Errorf("connect: %w", err)
	}
	return c, nil
}

func (c *Client) handshake(ctx context.Context, o Options) error {
	if len(o.ClientID) > math.MaxUint16 || len(o.User) > math.MaxUint16 || len(o.Password) > math.MaxUint16 {
		return fmt.Errorf("client identifier, user name or password: %w", ErrTooLarge)
	}
	if err := c.write(appendConnect(nil, o)); err != nil {
		return err
	}
	deadline, _ := ctx.Deadline() // without one Abort ends the wait
	if err := c.conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	for {
		h, body, ok, err := c.packet()
		if err != nil {
			return err
		}
		if ok {
			return checkConnack(h, body)
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

func checkConnack(h header, body []byte) error {
	if h.kind != typeConnack { // [MQTT-3.2.0-1]
		return fmt.Errorf("packet type %d before CONNACK: %w", h.kind, ErrMalformed)
	}
	if body[1] != 0 {
		return &RefusedError{Code: body[1]}
	}
	if body[0] != 0 { // no session can be present: we asked for a clean one [MQTT-3.2.2-1]
		return fmt.Errorf("CONNACK flags %#x: %w", body[0], ErrMalformed)
	}
	return nil
}

// Publish sends a message at QoS 0 or 1 and returns its packet identifier, 0 at QoS 0. It does not wait for the PUBACK:
// Next returns it. A caller has few messages without PUBACK at a time, so identifiers are given out in a circle.
func (c *Client) Publish(topic string, payload []byte, qos byte) (uint16, error) {
	if len(topic) > math.MaxUint16 || len(payload) > maxRemaining-math.MaxUint16-4 {
		return 0, fmt.Errorf("publish: %w", ErrTooLarge)
	}
	if err := c.settle(); err != nil {
		return 0, err
	}
	id := uint16(0)
	if qos > 0 {
		id = c.newID()
	}
	b := pooled(0)
	*b = appendPublish(*b, topic, payload, id)
	err := c.write(*b)
	pool.Put(b)
	if err != nil {
		return 0, fmt.Errorf("publish: %w", err)
	}
	return id, nil
}

// Subscribe asks for filters and returns the packet identifier; Next returns the Subscribed event.
func (c *Client) Subscribe(filters []string) (uint16, error) {
	if err := c.settle(); err != nil {
		return 0, err
	}
	id := c.newID()
	if err := c.write(appendSubscribe(nil, id, filters)); err != nil {
		return 0, fmt.Errorf("subscribe: %w", err)
	}
	return id, nil
}

// Next returns the next event, ErrTimeout after deadline (the zero time means no deadline), or the error that ended the
// connection. It keeps the connection alive while it waits, so an owner calls it often or with a far deadline.
func (c *Client) Next(deadline time.Time) (Event, error) {
	if err := c.settle(); err != nil {
		return Event{}, err
	}
	for {
		for {
			h, body, ok, err := c.packet()
			if err != nil {
				return Event{}, err
			}
			if !ok {
				break
			}
			e, err := c.event(h, body)
			if err != nil || e.Kind != 0 {
				return e, err
			}
		}
		if err := c.wait(deadline); err != nil {
			return Event{}, err
		}
	}
}

// event turns a packet into an event; a packet that is none of the owner's business gives the zero Event.
func (c *Client) event(h header, body []byte) (Event, error) {
	switch h.kind {
	case typePublish:
		p, err := parsePublish(h.flags, body)
		if err != nil {
			return Event{}, err
		}
		c.owed = p.id
		return Event{Kind: Message, ID: p.id, Topic: p.topic, Payload: p.payload, Retain: p.retain}, nil
	case typePuback, typeSuback:
		id, codes, err := parseID(body)
		if err != nil {
			return Event{}, err
		}
		if h.kind == typePuback {
			return Event{Kind: Ack, ID: id}, nil
		}
		return Event{Kind: Subscribed, ID: id, Payload: codes}, nil
	case typePingresp:
		c.pinged = time.Time{}
		return Event{}, nil
	}
	return Event{}, fmt.Errorf("packet type %d after CONNACK: %w", h.kind, ErrMalformed)
}

// settle ends the life of the last event: its large buffer goes back, and its PUBACK goes out, now that the owner has
// dealt with it [MQTT-4.3.2-2].
func (c *Client) settle() error {
	if c.large != nil && !c.underWay() {
		pool.Put(c.large)
		c.large = nil
	}
	if c.owed == 0 {
		return nil
	}
	b := binary.BigEndian.AppendUint16([]byte{typePuback << 4, 2}, c.owed)
	c.owed = 0
	return c.write(b)
}

func (c *Client) write(b []byte) error {
	c.lastWrite = time.Now()
	if err := c.conn.SetWriteDeadline(c.lastWrite.Add(c.writeTimeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

func (c *Client) newID() uint16 {
	if c.nextID++; c.nextID == 0 { // [MQTT-2.3.1-1]
		c.nextID = 1
	}
	return c.nextID
}

// Disconnect says goodbye and closes the connection. The owner must not use the Client after it.
func (c *Client) Disconnect() error {
	err := c.write([]byte{typeDisconnect << 4, 0})
	return errors.Join(err, c.conn.Close())
}

// Abort closes the connection as a loss of power would, without a word. It may be called from any goroutine, and again.
func (c *Client) Abort() {
	// Closing twice is the only error here, and no harm.
	_ = c.conn.Close()
}
