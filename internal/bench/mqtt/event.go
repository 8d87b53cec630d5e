package mqtt

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrUnsupported says that this system has no epoll.
var ErrUnsupported = errors.New("a loop of connections needs Linux")

// RefusedError is the return code of a CONNACK other than 0 (3.2.2.3).
type RefusedError byte

// Error names the code.
func (e RefusedError) Error() string { return fmt.Sprintf("connection refused: code %d", byte(e)) }

// Login is what CONNECT says of a client. The session is clean.
type Login struct {
	Client   string `json:"client"`
	User     string `json:"user,omitempty"` // "" connects without credentials
	Password string `json:"password,omitempty"`
}

// Kind is what an Event is.
type Kind byte

// The kinds of events.
const (
	Connected  Kind = iota + 1 // CONNACK with code 0
	Subscribed                 // SUBACK: ID, and Payload with a return code for each filter
	Acked                      // PUBACK: ID
	Message                    // PUBLISH: Topic, Payload, Retain
	Closed                     // the connection is gone, for Err; the last event. Close makes none
)

// Event is what happens to a connection. Its slices are valid until Handle returns.
type Event struct {
	Kind    Kind
	ID      uint16
	Topic   []byte
	Payload []byte
	Retain  bool
	Err     error
}

// Handler owns a connection. Handle is called on the goroutine of the loop and must not block; it may use any connection of
// that loop.
type Handler interface {
	Handle(c *Conn, e Event)
}

// maxPacket is the largest packet that a loop reads, in bytes: more than any chunk.
const maxPacket = 512 << 10

// next makes an event of the first packet in b, and returns how long that is: 0 while b is too short. The event is zero if it
// is none of the owner's business.
func next(b []byte) (Event, int, error) {
	h, n, err := Parse(b)
	if err != nil || n == 0 {
		return Event{}, 0, err
	}
	size := n + h.Remain
	if size > maxPacket {
		return Event{}, 0, fmt.Errorf("packet of %d bytes, at most %d: %w", size, maxPacket, ErrMalformed)
	}
	if len(b) < size {
		return Event{}, 0, nil
	}
	e, err := event(h, b[n:size])
	e.Retain = h.Type == Publish && b[0]&1 != 0
	return e, size, err
}

func event(h Head, body []byte) (Event, error) {
	switch h.Type {
	case Connack:
		if len(body) != 2 {
			return Event{}, fmt.Errorf("CONNACK of %d bytes: %w", len(body), ErrMalformed)
		}
		if body[1] != 0 {
			return Event{}, RefusedError(body[1])
		}
		return Event{Kind: Connected}, nil
	case Publish:
		return Event{Kind: Message, Topic: h.Topic, Payload: body, ID: h.ID}, nil
	case Puback, Suback:
		if len(body) < 2 {
			return Event{}, fmt.Errorf("acknowledgement of %d bytes: %w", len(body), ErrMalformed)
		}
		e := Event{Kind: Acked, ID: binary.BigEndian.Uint16(body)}
		if h.Type == Suback {
			e.Kind, e.Payload = Subscribed, body[2:]
		}
		return e, nil
	case Pingresp:
		return Event{}, nil
	}
	return Event{}, fmt.Errorf("packet of type %d: %w", h.Type, ErrMalformed)
}
