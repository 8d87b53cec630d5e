// Package linktest is the contract suite of link.Link: every implementation runs it against a live broker. It states
// what the bridge relies on, and nothing that only one broker could do. It imports testing, and so only tests import it.
package linktest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// Patience is how long the suite waits for what must come.
const Patience = 20 * time.Second

// Received is a message as a client got it.
type Received struct {
	Topic   string
	Payload string
	Retain  bool
	Props   link.Properties
}

// Client is a connected MQTT client. Its methods wait for the broker's answer, for at most Patience.
type Client interface {
	// Publish publishes; at QoS 1 it returns after PUBACK, with its reason code (Success for MQTT 3.1.1). It errs if the
	// connection ends before. At QoS 0 it returns when the packet is written.
	Publish(m link.Message) (link.Code, error)
	// Subscribe subscribes to a filter and returns after SUBACK; an error if it is denied. Messages that come before
	// SUBACK are kept for Next.
	Subscribe(filter string) error
	// Next returns the next message, or an error if the connection ends or Patience does.
	Next() (Received, error)
	Close() error
}

// Dial says how a client connects.
type Dial struct {
	Principal topics.Principal
	V5        bool
	MaxPacket uint32 // MQTT 5 only; 0 means none
}

// Harness is one running implementation.
type Harness struct {
	Link link.Link
	// Connect returns a connected client; it fails t itself.
	Connect func(t testing.TB, d Dial) Client
	// SetRetained sets the state of a topic in the store that the link asks; empty clears it. It publishes nothing.
	SetRetained func(topic, payload string)
}

// Run runs the suite. start returns a fresh implementation that nobody serves yet, and cleans up by t.Cleanup.
func Run(t *testing.T, start func(t *testing.T) Harness) {
	for name, test := range map[string]func(*suite){
		"PubackAfterDone":        pubackAfterDone,
		"RefusedComesAgain":      refusedComesAgain,
		"CodesEndTheExchange":    codesEndTheExchange,
		"InboundTellsWho":        inboundTellsWho,
		"OrderPerConnection":     orderPerConnection,
		"ConnectionsAreApart":    connectionsAreApart,
		"NobodyServes":           nobodyServes,
		"ServeDrains":            serveDrains,
		"OneServeAtATime":        oneServeAtATime,
		"PublishReaches":         publishReaches,
		"TenantsAreApart":        tenantsAreApart,
		"UplinkStaysUplink":      uplinkStaysUplink,
		"Properties":             properties,
		"PublishRefusesNonsense": publishRefusesNonsense,
		"RetainedState":          retainedState,
		"RetainedThroughFilters": retainedThroughFilters,
		"RetainedIsNeverStale":   retainedIsNeverStale,
		"ReplyGoesToOne":         replyGoesToOne,
		"ReplyTooLarge":          replyTooLarge,
		"ReplyAfterDone":         replyAfterDone,
		"ReplyAfterTheEnd":       replyAfterTheEnd,
		"RunsArriveInOrder":      runsArriveInOrder,
		"RunTooLarge":            runTooLarge,
		"RunAfterTheEnd":         runAfterTheEnd,
		"MemoIsTheConnections":   memoIsTheConnections,
		"Presence":               presence,
		"Audience":               audience,
		"AudienceIsNeverStale":   audienceIsNeverStale,
	} {
		t.Run(name, func(t *testing.T) {
			test(&suite{T: t, Harness: start(t), got: make(chan link.Inbound, 4096)})
		})
	}
}

// client is a Client that knows who it is.
type client struct {
	Client
	p      topics.Principal
	drains int
}

func (s *suite) connect(d Dial) *client {
	s.Helper()
	return &client{Client: s.Connect(s.T, d), p: d.Principal}
}

// suite is one case with its implementation.
type suite struct {
	*testing.T
	Harness
	got  chan link.Inbound
	mu   sync.Mutex
	acks []link.Ack
}

// Handle hands messages to the case, which must answer them.
func (s *suite) Handle(_ context.Context, in link.Inbound) {
	s.mu.Lock()
	s.acks = append(s.acks, in.Ack)
	s.mu.Unlock()
	s.got <- in
}

// refuseRest lets a case that failed with messages in hand end.
func (s *suite) refuseRest() {
	if !s.Failed() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.acks {
		go a.Refuse(errors.New("the case has failed"))
	}
}

// serve serves the link until stop is called, which returns when Serve has.
func (s *suite) serve() (stop func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Link.Serve(ctx, s) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		s.refuseRest()
		if err := <-ended; err != nil {
			s.Errorf("serve: %v", err)
		}
	}
	s.Cleanup(stop)
	s.untilServing(ended)
	return stop
}

// untilServing returns when the link takes messages. One that comes too early is refused and its connection closed.
func (s *suite) untilServing(ended <-chan error) {
	s.Helper()
	probe := device("probe", "probe")
	for end := time.Now().Add(Patience); time.Now().Before(end); {
		c := s.connect(Dial{Principal: probe})
		acked := publishing(c, report(probe), "probe")
		select {
		case err := <-ended:
			s.Fatalf("serve ended: %v", err)
		case in := <-s.got:
			in.Ack.Done(link.Success)
			<-acked
			s.close(c)
			return
		case <-acked: // refused
		}
	}
	s.Fatal("the link is not served")
}

func (s *suite) next() link.Inbound {
	s.Helper()
	select {
	case in := <-s.got:
		return in
	case <-time.After(Patience):
		s.Fatal("no message came in")
		return link.Inbound{}
	}
}

// done answers every message with Success until the case ends, and remembers none.
func (s *suite) done() {
	ctx := s.Context()
	go func() {
		for {
			select {
			case in := <-s.got:
				in.Ack.Done(link.Success)
			case <-ctx.Done():
				return
			}
		}
	}()
}

func (s *suite) publish(m link.Message) {
	s.Helper()
	if err := s.Link.Publish(s.Context(), m); err != nil {
		s.Fatalf("publish: %v", err)
	}
}

func (s *suite) subscribe(c Client, filter string) {
	s.Helper()
	if err := c.Subscribe(filter); err != nil {
		s.Fatalf("subscribe to %s: %v", filter, err)
	}
}

func (s *suite) wantNext(c Client, topic, payload string, retain bool) Received {
	s.Helper()
	m, err := c.Next()
	if err != nil {
		s.Fatalf("next message: %v", err)
	}
	if m.Topic != topic || m.Payload != payload || m.Retain != retain {
		s.Fatalf("got %s %q retain=%v, want %s %q retain=%v", m.Topic, m.Payload, m.Retain, topic, payload, retain)
	}
	return m
}

// drain returns what comes before a message that is published now, on a topic of the client's own.
func (s *suite) drain(c *client) []Received {
	s.Helper()
	topic := "fleet/v1/" + c.p.Tenant.String() + "/reply/" + c.p.Name.String() + "/drain"
	if c.p.Role == topics.RoleDevice {
		topic = own(c.p, "receipt")
	}
	s.subscribe(c, topic)
	c.drains++
	mark := fmt.Sprint("drained ", c.drains)
	s.publish(link.Message{Topic: topic, Payload: []byte(mark)})
	var got []Received
	for {
		m, err := c.Next()
		if err != nil {
			s.Fatalf("next message: %v", err)
		}
		if m.Topic == topic && m.Payload == mark {
			return got
		}
		got = append(got, m)
	}
}

func (s *suite) wantNothing(c *client) {
	s.Helper()
	if got := s.drain(c); len(got) > 0 {
		s.Fatalf("got %+v, want nothing", got)
	}
}

func (s *suite) close(c Client) {
	s.Helper()
	if err := c.Close(); err != nil {
		s.Errorf("close client: %v", err)
	}
}

var errStore = errors.New("store is full")

func principal(tenant, name string, role topics.Role) topics.Principal {
	n, err := ident.ParseName(name)
	if err != nil {
		panic(err) // a constant of the suite
	}
	return topics.Principal{Tenant: ident.MustTenant(tenant), Role: role, Name: n}
}

func device(tenant, name string) topics.Principal { return principal(tenant, name, topics.RoleDevice) }

func operator(tenant string) topics.Principal {
	return principal(tenant, "operator", topics.RoleOperator)
}

// own is a channel of a device.
func own(p topics.Principal, channel string) string {
	return "fleet/v1/" + p.Tenant.String() + "/device/" + p.Name.String() + "/" + channel
}

func report(p topics.Principal) string { return own(p, "report") }

// versions runs a case for MQTT 3.1.1 and 5.
func (s *suite) versions(f func(v5 bool)) {
	for _, v5 := range []bool{false, true} {
		f(v5)
	}
}
