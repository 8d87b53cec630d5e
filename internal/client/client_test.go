package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetbridge/broker"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// backend is a broker with a handler of the test in place of the bridge. It can be ended and started again at the same
// address.
type backend struct {
	t    *testing.T
	addr string

	mu     sync.Mutex
	handle func(b *backend, in link.Inbound)
	broker *broker.Broker
	stop   func()
}

func newBackend(t *testing.T, handle func(*backend, link.Inbound)) *backend {
	t.Helper()
	b := &backend{t: t, addr: "127.0.0.1:0", handle: handle}
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *backend) start() {
	b.t.Helper()
	br, err := broker.New(broker.Options{Authenticate: authenticate, Retained: state{}})
	if err != nil {
		b.t.Fatal(err)
	}
	l, err := net.Listen("tcp", b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := br.Serve(ctx, b); err != nil && ctx.Err() == nil {
			b.t.Error(err)
		}
	})
	wg.Go(func() {
		if err := br.ServeListener(ctx, l); err != nil {
			b.t.Error(err)
		}
	})
	b.mu.Lock()
	b.broker = br
	b.mu.Unlock()
	b.stop = sync.OnceFunc(func() {
		end, done := context.WithTimeout(context.Background(), 10*time.Second)
		defer done()
		if err := br.Close(end); err != nil {
			b.t.Error(err)
		}
		cancel()
		wg.Wait()
	})
}

func authenticate(_ context.Context, user string, password []byte, _ string) (topics.Principal, error) {
	tenant, name, _ := strings.Cut(user, "/")
	t, err := ident.ParseTenant(tenant)
	if err != nil {
		return topics.Principal{}, err
	}
	n, err := ident.ParseName(name)
	if err != nil || string(password) != "token" {
		return topics.Principal{}, errors.New("no")
	}
	return topics.Principal{Tenant: t, Role: topics.RoleOperator, Name: n}, nil
}

// state has one retained topic, whatever is asked.
type state struct{}

func (state) Retained(_ context.Context, p topics.Principal, filter string, yield func(string, []byte) bool) error {
	if topic := "fleet/v1/" + p.Tenant.String() + "/campaign/c1/progress"; topics.Match(filter, topic) {
		yield(topic, []byte("{}"))
	}
	return nil
}

func (b *backend) Handle(_ context.Context, in link.Inbound) {
	b.mu.Lock()
	h := b.handle
	b.mu.Unlock()
	h(b, in)
}

// reply answers a command.
func (b *backend) reply(in link.Inbound, status int, body any) {
	payload, err := topics.Encode(body, topics.CBOR)
	if err != nil {
		b.t.Error(err)
	}
	b.mu.Lock()
	br := b.broker
	b.mu.Unlock()
	err = br.Publish(context.Background(), link.Message{Topic: in.Props.ResponseTopic, Payload: payload, Props: link.Properties{
		CorrelationData: bytes.Clone(in.Props.CorrelationData), User: []link.Property{{Key: "status", Value: fmt.Sprint(status)}}}})
	if err != nil {
		b.t.Error(err)
	}
}

func dial(t *testing.T, b *backend, change ...func(*client.Context)) *client.Client {
	t.Helper()
	c := client.Context{Server: "mqtt://" + b.addr, User: "acme/operator", Token: "token", Timeout: 20 * time.Second}
	for _, f := range change {
		f(&c)
	}
	cl, err := client.Dial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func TestDo(t *testing.T) {
	b := newBackend(t, func(b *backend, in link.Inbound) {
		if in.QoS != 1 || in.Retain || in.Props.Expiry == 0 || !strings.HasPrefix(in.Props.ResponseTopic, "fleet/v1/acme/reply/operator/") {
			b.t.Errorf("command with %+v", in)
		}
		var req topics.DeviceGet
		if _, err := topics.Decode(in.Payload, &req); err != nil {
			b.t.Error(err)
		}
		in.Ack.Done(link.Success)
		b.reply(in, 200, topics.DeviceView{Device: req.Device, Boot: 7})
	})
	cl := dial(t, b)
	var wg sync.WaitGroup
	for i := range 50 { // the reply that a caller gets is its own
		wg.Go(func() {
			d, err := ident.ParseDevice(fmt.Sprintf("dev-%d", i))
			if err != nil {
				t.Error(err)
			}
			var v topics.DeviceView
			if err := cl.Do(t.Context(), "device", "get", topics.DeviceGet{Device: d}, &v); err != nil {
				t.Error(err)
			}
			if v.Device != d || v.Boot != 7 {
				t.Errorf("asked for %s, got %s", d, v.Device)
			}
		})
	}
	wg.Wait()
	if err := cl.Do(t.Context(), "device", "explode", topics.None{}, nil); err == nil {
		t.Error("an unknown command was sent")
	}
}

func TestProblemIsTheError(t *testing.T) {
	b := newBackend(t, func(b *backend, in link.Inbound) {
		in.Ack.Done(link.Success)
		b.reply(in, 404, topics.Problem{Type: "campaign-not-found", Status: 404, Detail: "no campaign c9"})
	})
	err := dial(t, b).Do(t.Context(), "campaign", "get", topics.None{}, nil)
	var p *topics.Problem
	if !errors.As(err, &p) || p.Type != "campaign-not-found" || p.Status != 404 {
		t.Errorf("got %v", err)
	}
}

// TestSentAgainAfterReconnect ends the broker while a command waits for its reply: it comes again with the same key.
func TestSentAgainAfterReconnect(t *testing.T) {
	keys := make(chan string, 4)
	b := newBackend(t, func(_ *backend, in link.Inbound) {
		keys <- in.Props.Get("idempotency-key")
		in.Ack.Done(link.Success) // taken, and never answered
	})
	cl := dial(t, b)
	done := make(chan error, 1)
	go func() { done <- cl.Do(t.Context(), "campaign", "start", topics.CampaignRef{}, nil) }()
	first := <-keys
	b.mu.Lock()
	b.handle = func(b *backend, in link.Inbound) {
		keys <- in.Props.Get("idempotency-key")
		in.Ack.Done(link.Success)
		b.reply(in, 200, topics.None{})
	}
	b.mu.Unlock()
	b.stop()
	b.start()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if again := <-keys; first == "" || again != first {
		t.Errorf("key %q first, %q again", first, again)
	}
}

// TestRefusedIsSentAgain has the first try end without PUBACK, as when the store can't take it: the client must notice
// at once that its connection is gone, not when its time is up.
func TestRefusedIsSentAgain(t *testing.T) {
	first := true
	b := newBackend(t, func(b *backend, in link.Inbound) {
		if first { // one connection at a time publishes
			first = false
			in.Ack.Refuse(errors.New("not now"))
			return
		}
		in.Ack.Done(link.Success)
		b.reply(in, 200, topics.ServerInfo{})
	})
	start := time.Now()
	if err := dial(t, b, func(c *client.Context) { c.Timeout = time.Minute }).Do(t.Context(), "server", "info", topics.None{}, nil); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestNoKeyOnReads(t *testing.T) {
	keys := make(chan string, 1)
	b := newBackend(t, func(b *backend, in link.Inbound) {
		keys <- in.Props.Get("idempotency-key")
		in.Ack.Done(link.Success)
		b.reply(in, 200, topics.ServerInfo{})
	})
	if err := dial(t, b).Do(t.Context(), "server", "info", topics.None{}, nil); err != nil {
		t.Fatal(err)
	}
	if k := <-keys; k != "" {
		t.Errorf("a read has key %q", k)
	}
}

func TestTimeout(t *testing.T) {
	b := newBackend(t, func(_ *backend, in link.Inbound) { in.Ack.Done(link.Success) })
	cl := dial(t, b, func(c *client.Context) { c.Timeout = 50 * time.Millisecond })
	if err := cl.Do(t.Context(), "server", "info", topics.None{}, nil); !errors.Is(err, client.ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := cl.Do(gone, "server", "info", topics.None{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestRefusedByReasonCode(t *testing.T) {
	b := newBackend(t, func(_ *backend, in link.Inbound) { in.Ack.Done(link.NotAuthorized) })
	if err := dial(t, b).Do(t.Context(), "server", "info", topics.None{}, nil); !errors.Is(err, client.ErrDenied) {
		t.Errorf("got %v, want ErrDenied", err)
	}
}

func TestClosed(t *testing.T) {
	b := newBackend(t, func(_ *backend, in link.Inbound) { in.Ack.Done(link.Success) })
	cl := dial(t, b)
	cl.Close()
	if err := cl.Do(t.Context(), "server", "info", topics.None{}, nil); !errors.Is(err, client.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestDialErrors(t *testing.T) {
	b := newBackend(t, func(_ *backend, in link.Inbound) { in.Ack.Done(link.Success) })
	for name, tt := range map[string]struct {
		server, user, token string
		want                error
	}{
		"wrong token":    {"mqtt://" + b.addr, "acme/operator", "guess", client.ErrDenied},
		"nobody listens": {"mqtt://127.0.0.1:1", "acme/operator", "token", client.ErrUnreachable},
		"no TLS there":   {"mqtts://" + b.addr, "acme/operator", "token", client.ErrUnreachable},
		"other scheme":   {"http://" + b.addr, "acme/operator", "token", client.ErrServer},
		"no host":        {"mqtt://", "acme/operator", "token", client.ErrServer},
		"token in URL":   {"mqtt://u:p@" + b.addr, "acme/operator", "token", client.ErrServer},
		"no tenant":      {"mqtt://" + b.addr, "operator", "token", ident.ErrInvalid},
		"wildcard user":  {"mqtt://" + b.addr, "acme/+", "token", ident.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.Dial(t.Context(), client.Context{Server: tt.server, User: tt.user, Token: tt.token, Timeout: 5 * time.Second})
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// TestSubscribeSurvivesReconnect gets the retained state at once, and again when the connection is new.
func TestSubscribeSurvivesReconnect(t *testing.T) {
	b := newBackend(t, func(_ *backend, in link.Inbound) { in.Ack.Done(link.Success) })
	cl := dial(t, b)
	got := make(chan string, 8)
	if err := cl.Subscribe(t.Context(), "fleet/v1/acme/campaign/+/progress", func(topic string, payload []byte) { got <- topic + string(payload) }); err != nil {
		t.Fatal(err)
	}
	const want = "fleet/v1/acme/campaign/c1/progress{}"
	if m := <-got; m != want {
		t.Errorf("got %q", m)
	}
	b.stop()
	b.start()
	if m := <-got; m != want {
		t.Errorf("got %q after reconnect", m)
	}
	if err := cl.Subscribe(t.Context(), "fleet/v1/globex/#", func(string, []byte) {}); !errors.Is(err, client.ErrDenied) {
		t.Errorf("another tenant's topics: %v, want ErrDenied", err)
	}
	b.stop()
	b.start()
	if m := <-got; m != want {
		t.Errorf("got %q after a refused subscription and a reconnect", m)
	}
}

func TestList(t *testing.T) {
	b := newBackend(t, func(b *backend, in link.Inbound) {
		var page topics.Page
		if _, err := topics.Decode(in.Payload, &page); err != nil {
			b.t.Error(err)
		}
		in.Ack.Done(link.Success)
		switch page.Cursor {
		case "":
			b.reply(in, 200, topics.List[string]{Items: []string{"a", "b"}, Next: "2"})
		case "2":
			b.reply(in, 200, topics.List[string]{Items: []string{"c"}, Next: "3"})
		default:
			b.reply(in, 503, topics.Problem{Type: "store-unavailable", Status: 503})
		}
	})
	var got []string
	var last error
	for s, err := range client.List[string](t.Context(), dial(t, b), "device", "list", func(p topics.Page) any { return p }) {
		if err != nil {
			last = err
			break
		}
		got = append(got, s)
	}
	var p *topics.Problem
	if strings.Join(got, "") != "abc" || !errors.As(last, &p) {
		t.Errorf("got %q, %v", got, last)
	}
}

func TestWebSocket(t *testing.T) {
	b := newBackend(t, func(b *backend, in link.Inbound) {
		in.Ack.Done(link.Success)
		b.reply(in, 200, topics.ServerInfo{Version: "v"})
	})
	mux := http.NewServeMux()
	mux.Handle("/mqtt", b.broker.WebSocket(nil))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	cl := dial(t, b, func(c *client.Context) { c.Server = "ws" + strings.TrimPrefix(srv.URL, "http") + "/mqtt" })
	var v topics.ServerInfo
	if err := cl.Do(t.Context(), "server", "info", topics.None{}, &v); err != nil || v.Version != "v" {
		t.Errorf("got %+v, %v", v, err)
	}
}
