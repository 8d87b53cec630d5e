package broker_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetbridge/broker"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// The credentials of the tests: user "tenant/name", password "secret"; the role is in the name.
func authenticate(_ context.Context, user string, password []byte, _ string) (topics.Principal, error) {
	tenant, name, ok := strings.Cut(user, "/")
	if !ok || string(password) != "secret" {
		return topics.Principal{}, errors.New("no such credential")
	}
	t, err := ident.ParseTenant(tenant)
	if err != nil {
		return topics.Principal{}, err
	}
	n, err := ident.ParseName(name)
	if err != nil {
		return topics.Principal{}, err
	}
	p := topics.Principal{Tenant: t, Name: n, Role: topics.RoleDevice}
	for _, r := range []topics.Role{topics.RoleOperator, topics.RoleViewer, topics.RoleAdmin} {
		if strings.HasPrefix(name, string(r)) {
			p.Role = r
		}
	}
	return p, nil
}

// recorder is a handler that remembers what it got and answers as it is told.
type recorder struct {
	mu     sync.Mutex
	answer func(link.Inbound) // nil: Done(Success)
	got    chan link.Inbound
}

func (r *recorder) answerWith(f func(link.Inbound)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func newRecorder() *recorder { return &recorder{got: make(chan link.Inbound, 1024)} }

func (r *recorder) Handle(_ context.Context, in link.Inbound) {
	r.mu.Lock()
	answer := r.answer
	r.mu.Unlock()
	r.got <- in
	if answer != nil {
		answer(in)
		return
	}
	in.Ack.Done(link.Success)
}

func (r *recorder) next(t testing.TB) link.Inbound {
	t.Helper()
	select {
	case in := <-r.got:
		return in
	case <-time.After(patience):
		t.Fatal("no message came")
		return link.Inbound{}
	}
}

func (r *recorder) empty(t testing.TB) {
	t.Helper()
	select {
	case in := <-r.got:
		t.Fatalf("handler got %s", in.Topic)
	default:
	}
}

// shelf is the retained state of topics.
type shelf struct {
	mu     sync.Mutex
	state  map[string]string
	onRead func() // called after a read, before what was read is handed out
	err    error
}

func (s *shelf) set(topic, payload string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == nil {
		s.state = map[string]string{}
	}
	if s.state[topic] = payload; payload == "" {
		delete(s.state, topic)
	}
}

func (s *shelf) Retained(_ context.Context, _ topics.Principal, filter string, yield func(string, []byte) bool) error {
	s.mu.Lock()
	state, hook, err := maps.Clone(s.state), s.onRead, s.err
	s.onRead = nil
	s.mu.Unlock()
	if hook != nil {
		hook()
	}
	for topic, payload := range state {
		if topics.Match(filter, topic) && !yield(topic, []byte(payload)) {
			return nil
		}
	}
	return err
}

// bench is a broker that listens on loopback and serves a recorder.
type bench struct {
	t     testing.TB
	b     *broker.Broker
	addr  string
	h     *recorder
	shelf *shelf
	stop  context.CancelFunc // of Serve
	ended chan struct{}      // Serve has returned
}

func start(t testing.TB, change ...func(*broker.Options)) *bench {
	t.Helper()
	s := &bench{t: t, h: newRecorder(), shelf: &shelf{}, ended: make(chan struct{})}
	o := broker.Options{Authenticate: authenticate, Retained: s.shelf}
	for _, f := range change {
		f(&o)
	}
	var err error
	if s.b, err = broker.New(o); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		if err := s.b.ServeListener(context.Background(), ln); err != nil {
			t.Errorf("serve listener: %v", err)
		}
	}()
	go func() {
		defer close(s.ended)
		if err := s.b.Serve(ctx, s.h); err != nil {
			t.Errorf("serve: %v", err)
		}
	}()
	eventually(t, "the handler is known", func() bool { return broker.Serving(s.b) })
	t.Cleanup(func() {
		s.stop()
		<-s.ended
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.b.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		<-accepting
	})
	return s
}

// dial opens a connection and says nothing.
func (s *bench) dial(version byte) *raw {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	return newRaw(s.t, c, version)
}

// client connects as user with a clean session; the client identifier is the user's name.
func (s *bench) client(version byte, user string) *raw {
	s.t.Helper()
	c := s.dial(version)
	_, name, _ := strings.Cut(user, "/")
	if code, _ := c.connect(login{user: user, password: "secret", id: name}); code != 0 {
		s.t.Fatalf("connect as %s: code %#x", user, code)
	}
	return c
}

// before returns what c got before a message that is published now, on a topic to which c is subscribed. A PINGRESP is no
// such mark: it overtakes what waits in the client's queue.
func (s *bench) before(c *raw, topic string) []message {
	s.t.Helper()
	if err := s.b.Publish(context.Background(), link.Message{Topic: topic, Payload: []byte("mark")}); err != nil {
		s.t.Fatal(err)
	}
	var got []message
	for {
		m := c.next()
		if m.topic == topic && m.payload == "mark" {
			return got
		}
		got = append(got, m)
	}
}

// eventually polls for what another goroutine is about to do.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func debugLogger(l *lockedBuffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
