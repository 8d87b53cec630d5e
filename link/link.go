// Package link is the seam between the bridge and whatever carries MQTT for it: everything that the bridge needs of a
// broker, and nothing else. The embedded broker is one implementation; an external broker reached as a client is the
// other. linktest is the contract suite that each must pass. The package does no I/O and knows no campaign.
package link

import (
	"context"
	"errors"
	"strconv"

	"fleetbridge/topics"
)

// Property is one MQTT 5 user property.
type Property struct{ Key, Value string }

// Properties are the MQTT 5 properties that fleetbridge uses; all are absent on a 3.1.1 connection.
type Properties struct {
	ContentType     string
	ResponseTopic   string
	CorrelationData []byte
	// Expiry is the message expiry interval in seconds; 0 means none was given.
	Expiry uint32
	User   []Property
}

// Get returns the first user property named key, or "".
func (p Properties) Get(key string) string {
	for _, u := range p.User {
		if u.Key == key {
			return u.Value
		}
	}
	return ""
}

// Message is an application message that the bridge sends.
type Message struct {
	Topic string
	// Payload must not change after the call; empty with Retain clears the topic.
	Payload []byte
	// QoS is 0 or 1; a subscriber gets the lower of it and what it was granted.
	QoS byte
	// Retain says that the message is the topic's state: who subscribes later gets it, with the retain flag.
	Retain bool
	Props  Properties
}

// Messages returns the messages of r.
func (r Run) Messages() []Message {
	ms := make([]Message, len(r.Parts))
	for i, p := range r.Parts {
		ms[i] = Message{Topic: r.Prefix + strconv.FormatUint(uint64(p.Index), 10), Payload: p.Payload}
	}
	return ms
}

// Code is how a handled message is answered where the protocol can say it: the PUBACK reason code of MQTT 5
// [MQTT-3.4.2-1]. A 3.1.1 client, and QoS 0, see no difference between codes.
type Code byte

// The codes that a handler answers with. Each means "don't send it again": only Refuse asks for that.
const (
	Success            Code = 0x00
	Unspecified        Code = 0x80
	ImplementationErr  Code = 0x83
	NotAuthorized      Code = 0x87
	TopicNameInvalid   Code = 0x90
	QuotaExceeded      Code = 0x97
	PayloadFormatError Code = 0x99
)

// Inbound is a message that a client published. Exactly one of Done and Refuse is called on its Ack, from any
// goroutine; until then a QoS 1 publisher has no PUBACK and later messages of the same connection may wait.
type Inbound struct {
	Topic   string
	Payload []byte // valid until Done or Refuse; copy what must live longer
	QoS     byte
	Retain  bool
	Dup     bool
	Props   Properties
	// Principal is who published, as authenticated; the zero value where the broker hides it.
	Principal topics.Principal
	// Client is the client identifier that the client chose, unscoped.
	Client string
	// V5 says that the connection speaks MQTT 5.
	V5 bool
	// MaxPacket is the largest packet in bytes that the client takes; 0 means no limit was given.
	MaxPacket uint32
	// Memo is the handler's own, one for each connection: it points at nil at first, and is gone with the connection. Only
	// Handle uses it, which is never called twice at once for a connection.
	Memo  *any
	Ack   Ack
	Reply Replier
}

// Ack ends the handling of one inbound message.
type Ack interface {
	// Done says that the message is dealt with, durably where its channel demands it. A QoS 1 publisher gets its PUBACK.
	Done(Code)
	// Refuse says that the message could not be taken and must come again: no PUBACK of any kind, and the connection
	// (or the delivery) is closed so that the publisher resends. err is for the log.
	Refuse(err error)
}

// Replier answers the connection that a message came from.
type Replier interface {
	// Send writes messages to that connection only, at QoS 0, in order, without a walk over subscriptions. Payloads may
	// change after it returns. It blocks while the client reads, however slowly; a client that takes nothing for the link's
	// write deadline is closed. ErrTooLarge if one exceeds the client's maximum packet (nothing is then written).
	// Once it has returned, the payloads are the caller's again. It may be called from any goroutine, after Done too: once
	// the connection has ended it returns ErrClosed.
	Send(ctx context.Context, messages ...Message) error
	// SendRun is Send for a run.
	SendRun(ctx context.Context, run Run) error
	// TrySendRun, for which payloads may lie in a mapped file (a copy of one goes through internal/mapped), writes the messages of a run, from the first on, as far as the connection takes them without waiting, and
	// returns how many that were: these are the client's, whole, and the payloads are the caller's again. The rest, if any,
	// is for SendRun, from a goroutine that may wait. A link may always take none. The errors are those of Send.
	TrySendRun(run Run) (int, error)
}

// Run is messages at QoS 0 without properties on topics that differ in their last level: the chunks of a fetch.
type Run struct {
	// Prefix is the topics up to their last level.
	Prefix string
	Parts  []Part
}

// Part is one message of a Run: its topic ends with Index in decimal.
type Part struct {
	Index   uint32
	Payload []byte
}

// Errors that a caller branches on.
var (
	ErrTooLarge = errors.New("message exceeds the client's maximum packet size")
	ErrClosed   = errors.New("link closed")
	// ErrUnavailable, wrapped by the error of an authentication, says that credentials can't be checked now: the link tells
	// the client "server unavailable" and not "bad user name or password".
	ErrUnavailable = errors.New("credentials can't be checked now")
)

// Handler takes inbound messages. It is called concurrently, for one connection in the order of arrival.
type Handler interface {
	Handle(ctx context.Context, in Inbound)
}

// Retained answers for the state of topics: the store is the truth, so a link that can ask it keeps no copy.
type Retained interface {
	// Retained calls yield for each topic that has a state and matches filter (a topic name or a topic filter of the
	// contract, without $share), until yield returns false. p is the subscriber; the link checks its access per topic.
	Retained(ctx context.Context, p topics.Principal, filter string, yield func(topic string, payload []byte) bool) error
}

// Link carries messages between the bridge and its clients.
type Link interface {
	// Publish hands a message to the broker. nil means accepted, never that a device has it.
	Publish(ctx context.Context, m Message) error
	// Serve gives every inbound message of the uplink channels (hello, report, fetch, command) to h, until ctx ends. It
	// returns after the last Ack of a message it gave out.
	Serve(ctx context.Context, h Handler) error
}

// Audience is an optional ability of a Link: it knows whether anybody listens.
type Audience interface {
	// Subscribed reports whether anybody is subscribed to topic now, by a filter of whatever kind; it may say so though
	// nobody is. Where it says no, a message is for nobody, and a state that was stored before need not be published: a
	// client that subscribes from now on is told it with the answer.
	Subscribed(topic string) bool
}

// Presence is an optional ability of a Link: it knows who is connected now.
type Presence interface {
	// Connected reports whether a connection of p is live.
	Connected(p topics.Principal) bool
}
