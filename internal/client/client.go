package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

// Client is one principal's connection to a server. Its methods may be called from any goroutine.
type Client struct {
	context Context
	target  target
	tenant  ident.Tenant
	id      string // of this client among those of the same principal
	reply   string // topic that replies come to

	stop context.CancelFunc
	done chan struct{} // closed when keep has ended

	mu      sync.Mutex
	session *paho.Client  // nil while there is none
	changed chan struct{} // closed, and made anew, when session changes
	refused error         // the server refused the credential: no use to try again
	subs    []*subscription
	pending map[string]chan *paho.Publish // by correlation data
}

type subscription struct {
	filter string
	fn     func(topic string, payload []byte)
}

// The back-off between two tries to connect again; each wait is drawn from the upper half.
const (
	firstWait = 100 * time.Millisecond
	lastWait  = 5 * time.Second
)

// Dial connects. It returns when the server has accepted the credential; the error wraps ErrUnreachable, ErrDenied or
// ErrServer. Close ends the client, not ctx.
func Dial(ctx context.Context, c Context) (*Client, error) {
	t, err := parseTarget(c)
	if err != nil {
		return nil, err
	}
	tenantText, nameText, _ := strings.Cut(c.User, "/")
	tenant, err := ident.ParseTenant(tenantText)
	if err != nil {
		return nil, fmt.Errorf("user %q is not tenant/name: %w", c.User, err)
	}
	name, err := ident.ParseName(nameText)
	if err != nil {
		return nil, fmt.Errorf("user %q is not tenant/name: %w", c.User, err)
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	id := "cli-" + randomHex(8)
	cl := &Client{context: c, target: t, tenant: tenant, id: id, reply: topics.ReplyTopic(tenant, name) + "/" + id,
		done: make(chan struct{}), changed: make(chan struct{}), pending: map[string]chan *paho.Publish{}}
	first, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	s, err := cl.connect(first)
	if err != nil {
		return nil, err
	}
	cl.session = s
	var run context.Context
	run, cl.stop = context.WithCancel(context.WithoutCancel(ctx))
	go cl.keep(run, s)
	return cl, nil
}

// TLS is how the client's connection is secured, for others that connect to the same server; nil: not at all.
func (c *Client) TLS() *tls.Config {
	if c.target.tls == nil {
		return nil
	}
	return c.target.tls.Clone()
}

// Tenant is the tenant of the credential.
func (c *Client) Tenant() ident.Tenant { return c.tenant }

// Close disconnects and waits until nothing of the client runs any more. Commands under way get ErrClosed.
func (c *Client) Close() {
	c.stop()
	<-c.done
}

// keep holds a session open until ctx ends: it is the only one to set c.session after Dial.
func (c *Client) keep(ctx context.Context, s *paho.Client) {
	defer close(c.done)
	for {
		select {
		case <-s.Done():
		case <-ctx.Done():
			// The server may be gone already; the connection closes either way.
			_ = s.Disconnect(&paho.Disconnect{ReasonCode: 0})
			<-s.Done()
			c.set(nil, ErrClosed)
			return
		}
		c.set(nil, nil)
		next, err := c.again(ctx)
		c.set(next, err)
		if err != nil {
			return
		}
		s = next
	}
}

// again connects with back-off until it works, ctx ends or the server refuses the credential.
func (c *Client) again(ctx context.Context) (*paho.Client, error) {
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		select {
		case <-time.After(wait/2 + jitter(wait/2)):
		case <-ctx.Done():
			return nil, ErrClosed
		}
		try, cancel := context.WithTimeout(ctx, c.context.Timeout)
		s, err := c.connect(try)
		cancel()
		if err == nil || errors.Is(err, ErrDenied) {
			return s, err
		}
	}
}

func (c *Client) set(s *paho.Client, refused error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.refused = s, refused
	close(c.changed)
	c.changed = make(chan struct{})
}

// live returns the session, waiting for one until ctx ends.
func (c *Client) live(ctx context.Context) (*paho.Client, error) {
	for {
		c.mu.Lock()
		s, refused, changed := c.session, c.refused, c.changed
		c.mu.Unlock()
		if refused != nil {
			return nil, refused
		}
		if s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("%w: connection lost and not back in time", ErrUnreachable)
		}
	}
}

// connect makes one session and subscribes it to all that the client listens to.
func (c *Client) connect(ctx context.Context) (*paho.Client, error) {
	conn, err := c.target.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	s := paho.NewClient(paho.ClientConfig{
		Conn:              packets.NewThreadSafeConn(conn),
		PacketTimeout:     c.context.Timeout,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){c.received},
	})
	receiveMax, packetMax := uint16(16), uint32(maxPacket)
	ack, err := s.Connect(ctx, &paho.Connect{
		ClientID: c.id, CleanStart: true, KeepAlive: 60,
		Username: c.context.User, UsernameFlag: true,
		Password: []byte(c.context.Token), PasswordFlag: true,
		Properties: &paho.ConnectProperties{ReceiveMaximum: &receiveMax, MaximumPacketSize: &packetMax, RequestProblemInfo: true},
	})
	if err != nil {
		conn.Close()
		return nil, connectError(ack, err)
	}
	c.mu.Lock()
	filters := []string{c.reply}
	for _, sub := range c.subs {
		filters = append(filters, sub.filter)
	}
	c.mu.Unlock()
	for _, f := range filters {
		if err := subscribe(ctx, s, f); err != nil {
			// The session is given up; why it closes matters less than why it was of no use.
			_ = s.Disconnect(&paho.Disconnect{ReasonCode: 0})
			return nil, err
		}
	}
	return s, nil
}

// connectError tells a refused credential from a server that can't be talked to. [MQTT 5, 3.2.2.2]
func connectError(ack *paho.Connack, err error) error {
	const badUser, notAuthorized = 0x86, 0x87
	if ack != nil && (ack.ReasonCode == badUser || ack.ReasonCode == notAuthorized) {
		return fmt.Errorf("%w by the server", ErrDenied)
	}
	return fmt.Errorf("%w: connect: %w", ErrUnreachable, err)
}

func subscribe(ctx context.Context, s *paho.Client, filter string) error {
	live, cancel := whileLive(ctx, s)
	defer cancel()
	ack, err := s.Subscribe(live, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}}})
	if ack != nil && len(ack.Reasons) == 1 && ack.Reasons[0] >= 0x80 {
		return fmt.Errorf("subscribe %s: %w (reason 0x%02x)", filter, ErrDenied, ack.Reasons[0])
	}
	switch {
	case err == nil:
		return nil
	case live.Err() != nil && ctx.Err() == nil:
		return fmt.Errorf("subscribe %s: %w: connection lost", filter, ErrUnreachable)
	}
	return fmt.Errorf("subscribe %s: %w: %w", filter, ErrUnreachable, err)
}

// Subscribe calls fn for every message that matches filter, now and after each reconnect; the retained ones come again
// then. fn runs on the connection's own goroutine: it must be quick and must not call the client.
func (c *Client) Subscribe(ctx context.Context, filter string, fn func(topic string, payload []byte)) error {
	sub := &subscription{filter, fn}
	c.mu.Lock()
	c.subs = append(c.subs, sub)
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, c.context.Timeout)
	defer cancel()
	s, err := c.live(ctx)
	if err == nil {
		err = subscribe(ctx, s, filter)
	}
	if err != nil { // else each reconnect would try it again
		c.mu.Lock()
		c.subs = slices.DeleteFunc(c.subs, func(x *subscription) bool { return x == sub })
		c.mu.Unlock()
	}
	return err
}

// received hands a message to the command that waits for it, or to the subscriptions that it matches.
func (c *Client) received(p paho.PublishReceived) (bool, error) {
	m := p.Packet
	c.mu.Lock()
	var to []func(string, []byte)
	if m.Topic == c.reply && m.Properties != nil {
		if wait := c.pending[string(m.Properties.CorrelationData)]; wait != nil {
			select {
			case wait <- m:
			default: // a second reply to a repeated command
			}
		}
	}
	for _, s := range c.subs {
		if topics.Match(s.filter, m.Topic) {
			to = append(to, s.fn)
		}
	}
	c.mu.Unlock()
	for _, fn := range to {
		fn(m.Topic, m.Payload)
	}
	return true, nil
}

func httpClient(conf *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: conf}}
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}

func jitter(upTo time.Duration) time.Duration {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(upTo)+1))
	if err != nil {
		return upTo
	}
	return time.Duration(n.Int64())
}
