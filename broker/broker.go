// Package broker is the embedded MQTT broker, made for one reader of what clients publish and many clients that are silent
// most of the time: hostile bytes, slow readers, foreign tenants, failed commits and fleets that reconnect at once are dealt with
// here. It implements link.Link, link.Presence and link.Audience, knows topics only as names that an Access allows or denies, and
// nothing of campaigns.
//
// What it promises. A QoS 1 publish is answered by PUBACK only after the handler called Done, in the order of the publishes, and a
// refused one is never answered: the connection closes, for MQTT 3.1.1 and 5 alike, so that the client sends again. Nothing that a
// client publishes reaches another client: it goes to the handler, or nowhere. Towards clients everything is QoS 0 (SUBACK says
// so), no session outlives its connection, and the retained state of topics is asked of Options.Retained at SUBSCRIBE. At any time
// one connection at most has a given (principal, client identifier).
//
// All methods of Broker are safe for concurrent use. New starts nothing; ServeListener, ServeConn and Serve block. It is
// the only importer of mochi, of which it uses the packet codecs. DESIGN.md beside this file has the flow, the locks and the limits.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fleetbridge/link"
	"fleetbridge/topics"
)

// Access decides who may use which topic. Its methods are pure and quick: they are asked for every publish, subscribe
// and delivery. The functions of package topics are the Access of the contract.
type Access interface {
	MayPublish(p topics.Principal, topic string) error
	MaySubscribe(p topics.Principal, filter string) error
	MayReceive(p topics.Principal, topic string) bool
	MayWill(p topics.Principal, topic string) error
}

// Options are what a Broker is made of. The zero value of each member but Authenticate is useful.
type Options struct {
	// Logger gets refusals (rate limited), recovered panics, and everything else at debug; nil discards.
	Logger *slog.Logger
	// Authenticate checks the credentials of a CONNECT; it must be set. Every error is a refusal, see link.ErrUnavailable.
	Authenticate func(ctx context.Context, user string, password []byte, clientID string) (topics.Principal, error)
	// Access is asked for every topic; nil means the functions of package topics.
	Access Access
	// Retained answers for the state of topics at SUBSCRIBE; nil means that no topic has any.
	Retained link.Retained
	// MaxClients bounds the connected clients; 0 means 100,000.
	MaxClients int
	// MaxPacket is the largest inbound packet in bytes; 0 means 260 KiB. CONNECT has its own, lower limit.
	MaxPacket uint32
	// MaxSubscriptions bounds the subscriptions of one connection; 0 means 128.
	MaxSubscriptions int
	// MaxPerPrincipal bounds the connections of one principal, each with its own client identifier; 0 means 64.
	MaxPerPrincipal int
	// ConnectDeadline is from accept to a whole CONNECT, TLS handshake included; 0 means 10 s.
	ConnectDeadline time.Duration
	// WriteDeadline is how long a client may take no byte at all before it is closed; 0 means 10 s.
	WriteDeadline time.Duration
	// RetainedDeadline is how long the retained answer to one SUBSCRIBE may take; 0 means 60 s.
	RetainedDeadline time.Duration
	// KeepAliveMax caps the keepalive, and stands in for none; 0 means 1200 s.
	KeepAliveMax time.Duration
	// RatePerIP is how many new connections per second one address may open, with a burst of ten times that; 0: no limit.
	RatePerIP float64
}

// minKeepAlive is the shortest keepalive that is honoured, in seconds: below it a hiccup ends connections.
const minKeepAlive = 5

func (o *Options) setDefaults() error {
	if o.Authenticate == nil {
		return errors.New("new broker: Authenticate must be given")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Access == nil {
		o.Access = contract{}
	}
	setDefault(&o.MaxClients, 100_000)
	setDefault(&o.MaxPacket, 260<<10)
	setDefault(&o.MaxSubscriptions, 128)
	setDefault(&o.MaxPerPrincipal, 64)
	setDefault(&o.ConnectDeadline, 10*time.Second)
	setDefault(&o.WriteDeadline, 10*time.Second)
	setDefault(&o.RetainedDeadline, 60*time.Second)
	setDefault(&o.KeepAliveMax, 1200*time.Second)
	if s := o.KeepAliveMax / time.Second; s < minKeepAlive || s > maxKeepAlive {
		return fmt.Errorf("new broker: KeepAliveMax %v is not within %d s and %d s", o.KeepAliveMax, minKeepAlive, maxKeepAlive)
	}
	return nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Broker is an MQTT broker. Make it with New.
type Broker struct {
	o       Options
	log     *slog.Logger
	intake  intake
	index   index
	answers answers
	limiter *limiter
	quiet   quiet
	deaf    quiet // of failures to accept
	stats   counters
	writers writers
	// connects and asks bound the CONNECTs and the retained answers that are worked on at once.
	connects, asks gate
	// revocations counts calls of Disconnect; a CONNECT that one crosses is authenticated again.
	revocations atomic.Uint64

	// life ends with Close; it bounds waiting that no caller's context bounds.
	life context.Context
	end  context.CancelFunc

	mu          sync.Mutex
	closing     bool
	drained     chan struct{} // closed when closing and no connection is left
	listeners   map[net.Listener]struct{}
	first       *conn                      // of the list of every socket, before CONNECT too
	sockets     int                        // in that list
	sessions    int                        // in byPrincipal
	byPrincipal map[topics.Principal]*conn // the first of a list, by peer
	memory      memory
}

var (
	_ link.Link     = (*Broker)(nil)
	_ link.Presence = (*Broker)(nil)
	_ link.Audience = (*Broker)(nil)
)

// New returns a broker that listens nowhere yet.
func New(o Options) (*Broker, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	b := &Broker{
		o:           o,
		log:         o.Logger,
		intake:      intake{served: make(chan struct{})},
		limiter:     newLimiter(o.RatePerIP),
		drained:     make(chan struct{}),
		listeners:   map[net.Listener]struct{}{},
		byPrincipal: map[topics.Principal]*conn{},
		connects:    newGate(),
		asks:        newGate(),
	}
	b.life, b.end = context.WithCancel(context.Background())
	return b, nil
}

// Serve gives every message that clients publish to h until ctx ends; link.Link has the contract. One call at a time;
// messages that come while none runs are refused.
func (b *Broker) Serve(ctx context.Context, h link.Handler) error {
	if err := b.intake.open(ctx, h); err != nil {
		return fmt.Errorf("serve link: %w", err)
	}
	select {
	case <-ctx.Done():
	case <-b.life.Done():
	}
	b.drain()
	return nil
}

// Serving is closed when Serve has been called: from then on messages are taken.
func (b *Broker) Serving() <-chan struct{} { return b.intake.served }

// Publish hands m to those who are subscribed now and may receive it, at QoS 0. It never waits for a client: one whose
// queue of 64 is full misses the message (Stats.Dropped). It errs on a topic name that is none, and after Close.
func (b *Broker) Publish(ctx context.Context, m link.Message) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if b.life.Err() != nil {
		return fmt.Errorf("publish: %w", link.ErrClosed)
	}
	if err := checkName(m.Topic); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if m.Retain {
		b.answers.mark(m.Topic)
	}
	b.fanOut(m)
	return nil
}

// Subscribed reports whether anybody is subscribed to topic. A SUBSCRIBE enters its filters before it reads the states that
// they match, so whoever is not found here reads what was stored before.
func (b *Broker) Subscribed(topic string) bool {
	var few [4]*subscription
	return len(b.index.match(topic, few[:0])) > 0
}

// Limits of topic names and filters.
const (
	maxTopic  = 256 // bytes
	maxLevels = 12
)

var errTopic = errors.New("topic is empty, too long, too deep, or not a name")

// checkFilter bounds a topic filter.
func checkFilter(filter string) error {
	if filter == "" || len(filter) > maxTopic || strings.Count(filter, "/") >= maxLevels || strings.ContainsRune(filter, 0) {
		return errTopic
	}
	return nil
}

// checkName bounds a topic name, and refuses wildcards and `$` [MQTT-3.3.2-2].
func checkName(topic string) error {
	if err := checkFilter(topic); err != nil {
		return err
	}
	if topic[0] == '$' || strings.ContainsAny(topic, "+#") {
		return errTopic
	}
	return nil
}

// contract is the Access of package topics.
type contract struct{}

func (contract) MayPublish(p topics.Principal, topic string) error {
	return topics.MayPublish(p, topic)
}
func (contract) MaySubscribe(p topics.Principal, filter string) error {
	return topics.MaySubscribe(p, filter)
}
func (contract) MayReceive(p topics.Principal, topic string) bool { return topics.MayReceive(p, topic) }
func (contract) MayWill(p topics.Principal, topic string) error   { return topics.MayWill(p, topic) }
