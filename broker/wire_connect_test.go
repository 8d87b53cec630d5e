package broker_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"fleetbridge/broker"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// A SUBSCRIBE whose filter has no options byte panics in mochi's decoder.
func TestTruncatedSubscribeEndsItsConnectionOnly(t *testing.T) {
	s := start(t)
	other := s.client(v5, "acme/d2")
	c := s.client(v5, "acme/d1")
	c.write([]byte{0x82, 0x06, 0x00, 0x01, 0x00, 0x00, 0x01, 0x61})
	got := c.wantEnd()
	if len(got) != 1 || got[0].kind() != tDisconnect || got[0].body[0] != 0x81 {
		t.Errorf("got %v, want DISCONNECT 0x81", got)
	}
	other.ping()
	eventually(t, "one connection and one client are left", func() bool {
		return s.b.Stats().Sockets == 1 && s.b.Stats().Connected == 1
	})
	if p := s.b.Stats().Panics; p != 0 {
		t.Errorf("%d panics: mochi saw the packet", p)
	}
}

// panicky panics on one topic, as a bug of ours or of mochi would.
type panicky struct{ open }

func (panicky) MayPublish(_ topics.Principal, topic string) error {
	if topic == "boom" {
		panic("boom")
	}
	return nil
}

func TestPanicEndsItsConnectionOnly(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.Access = panicky{} })
	other := s.client(v4, "acme/d2")
	c := s.client(v5, "acme/d1")
	if code := c.subscribe("x", 0); code != 0 {
		t.Fatalf("SUBACK %#x", code)
	}
	c.write(c.publishBytes(0, "boom", 0, nil))
	c.wantEnd()
	other.ping()
	eventually(t, "one connection and one client are left", func() bool {
		return s.b.Stats().Sockets == 1 && s.b.Stats().Connected == 1
	})
	if p := s.b.Stats().Panics; p != 1 {
		t.Errorf("%d panics counted, want 1", p)
	}
	again := s.client(v5, "acme/d1")
	if err := s.b.Publish(context.Background(), link.Message{Topic: "x", Payload: []byte("m")}); err != nil {
		t.Fatal(err)
	}
	if code := again.subscribe("y", 0); code != 0 {
		t.Fatalf("SUBACK %#x", code)
	}
	if got := s.before(again, "y"); len(got) != 0 {
		t.Errorf("the new connection inherited a subscription: %v", got)
	}
}

func TestHugeConnectAllocatesNothing(t *testing.T) {
	s := start(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		c := s.dial(v5)
		c.write([]byte{0x10, 0xff, 0xff, 0xff, 0x7f})
		c.wantEnd()
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("ten hostile connections allocated %d bytes", n)
	}
}

// A body that is announced within mochi's limit of a packet, but beyond ours of a CONNECT.
func TestConnectHasItsOwnLimit(t *testing.T) {
	s := start(t)
	c := s.dial(v5)
	c.write(encode(0x10)[:1])
	c.write([]byte{0xff, 0xff, 0x03}) // 65535
	c.wantEnd()
	d := s.dial(v5)
	d.write([]byte{0x30, 0x00}) // no CONNECT
	d.wantEnd()
	eventually(t, "both are counted", func() bool { return s.b.Stats().BadConnects == 2 })
}

func TestSilentConnectionIsClosedAtTheConnectDeadline(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.ConnectDeadline = 50 * time.Millisecond })
	s.dial(v5).wantEnd()
	half := s.dial(v5)
	half.write(half.connectBytes(login{user: "acme/d1", password: "secret"})[:20])
	half.wantEnd()
}

func TestCloseDoesNotWaitForSilentConnections(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.ConnectDeadline = time.Hour })
	c := s.dial(v5)
	eventually(t, "the connection is known", func() bool { return s.b.Stats().Sockets == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.b.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	c.wantEnd()
}

func TestWillsAreRefused(t *testing.T) {
	wills := map[string]string{
		"other tenant":   "fleet/v1/evil/device/d1/report",
		"other device":   "fleet/v1/acme/device/d2/report",
		"own report":     "fleet/v1/acme/device/d1/report",
		"sys":            "$SYS/broker/version",
		"share":          "$share/g/fleet/v1/acme/device/d1/report",
		"wildcard plus":  "fleet/v1/+/device/d1/report",
		"wildcard hash":  "fleet/v1/acme/#",
		"10,000 levels":  strings.Repeat("a/", 1900) + "a",
		"empty level":    "fleet/v1//device/d1/report",
		"command":        "fleet/v1/acme/command/campaign/start",
		"empty trailing": "fleet/v1/acme/device/d1/report/",
	}
	s := start(t)
	op := s.client(v5, "acme/operator")
	if code := op.subscribe("fleet/v1/acme/#", 0); code != 0 {
		t.Fatalf("SUBACK %#x", code)
	}
	for name, will := range wills {
		for version, want := range map[byte]byte{v4: 5, v5: 0x87} {
			c := s.dial(version)
			code, _ := c.connect(login{user: "acme/d1", password: "secret", id: "d1", will: will})
			if code != want {
				t.Errorf("%s, version %d: CONNACK %#x, want %#x", name, version, code, want)
			}
			c.wantEnd()
		}
	}
	// A retained one has a code of its own.
	for version, want := range map[byte]byte{v4: 5, v5: 0x9a} {
		c := s.dial(version)
		if code, _ := c.connect(login{user: "acme/d1", password: "secret", will: wills["own report"], willFlags: 0x20}); code != want {
			t.Errorf("retained will, version %d: CONNACK %#x, want %#x", version, code, want)
		}
		c.wantEnd()
	}
	if got := s.before(op, "fleet/v1/acme/campaign/c/event"); len(got) != 0 {
		t.Errorf("wills were delivered: %v", got)
	}
	s.h.empty(t)
}

// Even with an Access that allows it, a will reaches neither the handler nor a subscriber.
func TestWillReachesNobody(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.Access = open{} })
	op := s.client(v5, "acme/operator")
	if code := op.subscribe("#", 0); code != 0 {
		t.Fatalf("SUBACK %#x", code)
	}
	for _, version := range []byte{v4, v5} {
		c := s.dial(version)
		if code, _ := c.connect(login{user: "acme/d1", password: "secret", id: "d1", will: "w"}); code != 0 {
			t.Fatalf("CONNACK %#x", code)
		}
		if err := c.conn.Close(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the connection has ended", func() bool { return s.b.Stats().Connected == 1 })
	}
	if got := s.before(op, "mark"); len(got) != 0 {
		t.Errorf("a will was delivered: %v", got)
	}
	s.h.empty(t)
}

func TestClientIdentifiersAreScoped(t *testing.T) {
	s := start(t)
	var all []*raw
	// "a" with "b/c" and "a/b" with "c" would be one, were the parts joined carelessly.
	for _, l := range []login{
		{user: "acme/d1", id: "same"}, {user: "evil/d1", id: "same"}, {user: "acme/d2", id: "same"},
		{user: "acme/d1", id: "x/same"}, {user: "acme/operator", id: "same"}, {user: "acme/d1", id: "inline"},
	} {
		l.password = "secret"
		c := s.dial(v5)
		if code, _ := c.connect(l); code != 0 {
			t.Fatalf("%+v: CONNACK %#x", l, code)
		}
		all = append(all, c)
	}
	for _, c := range all {
		c.ping()
	}
	if n := s.b.Stats().Connected; n != len(all) {
		t.Errorf("%d sessions, want %d", n, len(all))
	}
}

func TestTakeOver(t *testing.T) {
	s := start(t)
	for _, version := range []byte{v4, v5} {
		old := s.client(version, "acme/d1")
		if code := old.subscribe("fleet/v1/acme/device/d1/permit", 0); code != 0 {
			t.Fatalf("SUBACK %#x", code)
		}
		c := s.client(v5, "acme/d1")
		got := old.wantEnd()
		switch {
		case version == v4 && len(got) != 0:
			t.Errorf("3.1.1 client got %v", got)
		case version == v5 && (len(got) != 1 || got[0].body[0] != 0x8e):
			t.Errorf("got %v, want DISCONNECT 0x8E [MQTT-3.1.4-3]", got)
		}
		if err := s.b.Publish(context.Background(), link.Message{Topic: "fleet/v1/acme/device/d1/permit"}); err != nil {
			t.Fatal(err)
		}
		if code := c.subscribe("fleet/v1/acme/device/d1/receipt", 0); code != 0 {
			t.Fatalf("SUBACK %#x", code)
		}
		if got := s.before(c, "fleet/v1/acme/device/d1/receipt"); len(got) != 0 {
			t.Errorf("a subscription was inherited: %v", got)
		}
	}
}

// A take-over waits for the old connection's message: a device's messages are never handled two at a time.
func TestTakeOverWaitsForTheMessageInHand(t *testing.T) {
	s := start(t)
	hold := make(chan struct{})
	var inHand, overlap atomic.Bool
	s.h.answerWith(func(in link.Inbound) {
		switch string(in.Payload) {
		case "first":
			inHand.Store(true)
			<-hold
			inHand.Store(false)
		case "second":
			overlap.Store(inHand.Load())
		}
		in.Ack.Done(link.Success)
	})
	old := s.client(v4, "acme/d1")
	old.write(old.publishBytes(2, report, 1, []byte("first")))
	s.h.next(t)
	c := s.dial(v4)
	c.write(append(c.connectBytes(login{user: "acme/d1", password: "secret", id: "d1"}), c.publishBytes(2, report, 2, []byte("second"))...))
	old.wantEnd()
	other := s.client(v4, "acme/d2")
	for range 50 { // time for the new connection to go wrong
		other.publish1("fleet/v1/acme/device/d2/report", "other")
	}
	close(hold)
	c.want(tConnack)
	c.want(tPuback)
	if overlap.Load() {
		t.Error("the second message was handled while the first was in hand")
	}
}

func TestSimultaneousConnectsLeaveOne(t *testing.T) {
	s := start(t)
	const rounds, clients = 60, 6
	for range rounds {
		var wg sync.WaitGroup
		all := make([]*raw, clients)
		for i := range all {
			all[i] = s.dial(v5)
		}
		alive := make(chan *raw, clients)
		for _, c := range all {
			wg.Go(func() {
				if c.tryWrite(c.connectBytes(login{user: "acme/d1", password: "secret", id: "same"})) != nil {
					return
				}
				if p, err := c.read(); err != nil || p.kind() != tConnack || p.body[1] != 0 {
					return
				}
				// The loser of a race reads its end; the winner an answer to its ping, once all others have come and gone.
				alive <- c
			})
		}
		wg.Wait()
		close(alive)
		eventually(t, "one connection is left", func() bool { return s.b.Stats().Sockets == 1 })
		if n := s.b.Stats().Connected; n != 1 {
			t.Fatalf("%d sessions, want 1", n)
		}
		left := 0
		for c := range alive {
			if c.tryWrite(c.subscribeBytes("fleet/v1/acme/device/d1/permit", 0)) != nil {
				continue
			}
			if p, err := c.read(); err == nil && p.kind() == tSuback {
				left++
				if err := s.b.Publish(context.Background(), link.Message{Topic: "fleet/v1/acme/device/d1/permit"}); err != nil {
					t.Fatal(err)
				}
				c.next()
			}
		}
		if left != 1 {
			t.Fatalf("%d live connections, want 1", left)
		}
		for _, c := range all {
			_ = c.conn.Close() // most are closed by the server
		}
		eventually(t, "no connection is left", func() bool { return s.b.Stats().Sockets == 0 })
	}
}

func TestKeepAliveIsClamped(t *testing.T) {
	s := start(t)
	for asked, want := range map[uint16]uint16{0: 1200, 1: 5, 5: 0, 60: 0, 1200: 0, 1201: 1200, 43691: 1200, 65535: 1200} {
		c := s.dial(v5)
		code, props := c.connect(login{user: "acme/d1", password: "secret", keepAlive: asked})
		if code != 0 || props.keepAlive != want {
			t.Errorf("keepalive %d: CONNACK %#x says %d, want %d", asked, code, props.keepAlive, want)
		}
		if props.maxPacket != 260<<10 {
			t.Errorf("CONNACK says maximum packet size %d", props.maxPacket)
		}
		c.ping()
		old := s.dial(v4)
		if code, _ := old.connect(login{user: "acme/d1", password: "secret", id: "4", keepAlive: asked}); code != 0 {
			t.Errorf("keepalive %d, 3.1.1: CONNACK %#x", asked, code)
		}
		old.ping() // 43691 and 65535 end at once where 1.5 × keepalive overflows
	}
}

func TestConnectRefusals(t *testing.T) {
	s := start(t, func(o *broker.Options) {
		o.Authenticate = func(ctx context.Context, user string, password []byte, id string) (topics.Principal, error) {
			if user == "acme/down" {
				return topics.Principal{}, link.ErrUnavailable
			}
			return authenticate(ctx, user, password, id)
		}
	})
	tests := []struct {
		name   string
		login  login
		v4, v5 byte
	}{
		{"wrong password", login{user: "acme/d1", password: "x"}, 5, 0x86},
		{"no such form", login{user: "d1", password: "secret"}, 5, 0x86},
		{"long user", login{user: "acme/" + strings.Repeat("d", 300), password: "secret"}, 5, 0x86},
		{"credentials can't be checked", login{user: "acme/down", password: "secret"}, 3, 0x88},
		{"long client identifier", login{user: "acme/d1", password: "secret", id: strings.Repeat("i", 129)}, 2, 0x85},
	}
	for _, test := range tests {
		for version, want := range map[byte]byte{v4: test.v4, v5: test.v5} {
			c := s.dial(version)
			if code, _ := c.connect(test.login); code != want {
				t.Errorf("%s, version %d: CONNACK %#x, want %#x", test.name, version, code, want)
			}
			c.wantEnd()
		}
	}
	c := s.dial(v5)
	if code, _ := c.connect(login{user: "acme/d1", password: "secret", props: [][]byte{append([]byte{0x15}, str("SCRAM")...)}}); code != 0x8c {
		t.Errorf("enhanced authentication: CONNACK %#x, want 0x8C", code)
	}
	if n := s.b.Stats().Connected; n != 0 {
		t.Errorf("%d sessions after refusals", n)
	}
}

func TestEmptyClientIdentifierIsAssigned(t *testing.T) {
	s := start(t)
	a, b := s.dial(v5), s.dial(v5)
	_, pa := a.connect(login{user: "acme/d1", password: "secret"})
	_, pb := b.connect(login{user: "acme/d1", password: "secret"})
	if pa.assignedID == "" || pa.assignedID == pb.assignedID || strings.Contains(pa.assignedID, "/") {
		t.Errorf("assigned %q and %q", pa.assignedID, pb.assignedID)
	}
	a.ping()
}

func TestTooManyClients(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.MaxClients, o.MaxPerPrincipal = 3, 2 })
	for _, id := range []string{"1", "2"} {
		if code, _ := s.dial(v5).connect(login{user: "acme/d1", password: "secret", id: id}); code != 0 {
			t.Fatalf("CONNACK %#x", code)
		}
	}
	for version, want := range map[byte]byte{v4: 3, v5: 0x97} {
		c := s.dial(version)
		if code, _ := c.connect(login{user: "acme/d1", password: "secret", id: "3"}); code != want {
			t.Errorf("third connection of a principal, version %d: CONNACK %#x, want %#x", version, code, want)
		}
		c.wantEnd()
	}
	eventually(t, "it is gone", func() bool { return s.b.Stats().Connected == 2 })
	s.client(v5, "acme/d2")
	for version, want := range map[byte]byte{v4: 3, v5: 0x89} {
		d := s.dial(version)
		if code, _ := d.connect(login{user: "acme/d3", password: "secret"}); code != want {
			t.Errorf("client over the limit, version %d: CONNACK %#x, want %#x", version, code, want)
		}
	}
}

// starved is a listener that is out of descriptors at first.
type starved struct {
	net.Listener
	mu   sync.Mutex
	left int
}

func (l *starved) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left > 0 {
		l.left--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestListenerOutlivesAcceptErrors(t *testing.T) {
	log := &lockedBuffer{}
	b, err := broker.New(broker.Options{Authenticate: authenticate, Logger: debugLogger(log)})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.ServeListener(ctx, &starved{Listener: ln, left: 5}) }()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := newRaw(t, nc, v4)
	if code, _ := c.connect(login{user: "acme/d1", password: "secret"}); code != 0 {
		t.Errorf("CONNACK %#x", code)
	}
	if text := log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "accept failed") {
		t.Errorf("want one error for 5 failures in a row, got %s", text)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("serve listener: %v", err)
	}
	c.ping() // it outlives its listener
	closing, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	if err := b.Close(closing); err != nil {
		t.Error(err)
	}
	if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := b.ServeListener(closing, ln); err != nil {
		t.Errorf("serve listener after close: %v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
}

func TestRatePerIP(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.RatePerIP = 0.1 }) // one at once, and one more in ten seconds
	s.client(v5, "acme/d1").ping()
	s.dial(v5).wantEnd()
	if n := s.b.Stats().Limited; n != 1 {
		t.Errorf("%d connections limited, want 1", n)
	}
}

func TestPresenceAndDisconnect(t *testing.T) {
	s := start(t)
	p := topics.Principal{Tenant: ident.MustTenant("acme"), Role: topics.RoleDevice}
	var err error
	if p.Name, err = ident.ParseName("d1"); err != nil {
		t.Fatal(err)
	}
	if s.b.Connected(p) {
		t.Error("connected before it is")
	}
	a, b, other := s.dial(v5), s.dial(v4), s.client(v5, "evil/d1")
	a.connect(login{user: "acme/d1", password: "secret", id: "a"})
	b.connect(login{user: "acme/d1", password: "secret", id: "b"})
	if !s.b.Connected(p) || s.b.Stats().Connected != 3 {
		t.Error("not connected after CONNACK")
	}
	a.ping() // else it might be closed before it is told
	s.b.Disconnect(p)
	if got := a.wantEnd(); len(got) != 1 || got[0].body[0] != 0x87 {
		t.Errorf("got %v, want DISCONNECT 0x87", got)
	}
	if got := b.wantEnd(); len(got) != 0 {
		t.Errorf("3.1.1 client got %v", got)
	}
	other.ping()
	eventually(t, "it is gone", func() bool { return !s.b.Connected(p) })
}

// A credential that is revoked while a CONNECT with it is being checked lets nobody in.
func TestRevocationCrossesConnect(t *testing.T) {
	var revoked atomic.Bool
	var b *broker.Broker
	s := start(t, func(o *broker.Options) {
		o.Authenticate = func(ctx context.Context, user string, password []byte, id string) (topics.Principal, error) {
			p, err := authenticate(ctx, user, password, id)
			if revoked.Swap(true) {
				return topics.Principal{}, errors.New("revoked")
			}
			b.Disconnect(p) // after the credential was read, before the connection is known
			return p, err
		}
	})
	b = s.b
	c := s.dial(v5)
	if code, _ := c.connect(login{user: "acme/d1", password: "secret"}); code != 0x86 {
		t.Errorf("CONNACK %#x, want 0x86", code)
	}
	c.wantEnd()
	eventually(t, "nothing is left", func() bool { return s.b.Stats().Sockets == 0 && s.b.Stats().Connected == 0 })
}

func TestNewRefusesBadOptions(t *testing.T) {
	for name, o := range map[string]broker.Options{
		"no Authenticate":     {},
		"keepalive too long":  {Authenticate: authenticate, KeepAliveMax: 43691 * time.Second},
		"keepalive too short": {Authenticate: authenticate, KeepAliveMax: time.Second},
	} {
		if _, err := broker.New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// open allows everything to everybody.
type open struct{}

func (open) MayPublish(topics.Principal, string) error   { return nil }
func (open) MaySubscribe(topics.Principal, string) error { return nil }
func (open) MayReceive(topics.Principal, string) bool    { return true }
func (open) MayWill(topics.Principal, string) error      { return nil }

var errStore = errors.New("disk full")
