package broker_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/coder/websocket"

	"fleetbridge/broker"
	"fleetbridge/link"
)

func TestWebSocket(t *testing.T) {
	s := start(t)
	srv := httptest.NewServer(s.b.WebSocket([]string{"console.example"}))
	t.Cleanup(srv.Close)
	tests := []struct {
		name, origin string
		protocols    []string
		ok           bool
	}{
		{"no origin", "", []string{"mqtt"}, true},
		{"own origin", srv.URL, []string{"mqtt"}, true},
		{"listed origin", "https://console.example", []string{"mqtt"}, true},
		{"foreign origin", "https://evil.example", []string{"mqtt"}, false},
		{"look-alike origin", "https://console.example.evil.example", []string{"mqtt"}, false},
		{"null origin", "null", []string{"mqtt"}, false},
		{"no subprotocol", "", nil, false},
		{"other subprotocol", "", []string{"mqttv3.1"}, false},
	}
	for _, test := range tests {
		header := http.Header{}
		if test.origin != "" {
			header.Set("Origin", test.origin)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		ws, _, err := websocket.Dial(ctx, srv.URL, &websocket.DialOptions{Subprotocols: test.protocols, HTTPHeader: header})
		switch {
		case err != nil && test.ok:
			t.Errorf("%s: %v", test.name, err)
		case err == nil && !test.ok:
			c := newRaw(t, websocket.NetConn(ctx, ws, websocket.MessageBinary), v5)
			// The write may meet a closed connection.
			_ = c.tryWrite(c.connectBytes(login{user: "acme/d1", password: "secret"}))
			if p, err := c.read(); err == nil {
				t.Errorf("%s: let in, got %v", test.name, p)
			}
		case err == nil:
			nc := websocket.NetConn(ctx, ws, websocket.MessageBinary)
			c := newRaw(t, nc, v5)
			if code, _ := c.connect(login{user: "acme/d1", password: "secret"}); code != 0 {
				t.Errorf("%s: CONNACK %#x", test.name, code)
			}
			if code := c.publish1(report, string(make([]byte, 70<<10))); code != 0 {
				t.Errorf("%s: PUBACK %#x", test.name, code)
			}
			c.subscribe("fleet/v1/acme/device/d1/permit", 0)
			big := string(make([]byte, 200<<10))
			if err := s.b.Publish(ctx, link.Message{Topic: "fleet/v1/acme/device/d1/permit", Payload: []byte(big)}); err != nil {
				t.Fatal(err)
			}
			if m := c.next(); m.payload != big {
				t.Errorf("%s: got %d bytes", test.name, len(m.payload))
			}
			c.write([]byte{0x82, 0x06, 0x00, 0x01, 0x00, 0x00, 0x01, 0x61})
			c.wantEnd()
		}
		cancel()
	}
	eventually(t, "all are gone", func() bool { return s.b.Stats().Sockets == 0 })
}

func TestWebSocketCloseSaysGoodbye(t *testing.T) {
	s := start(t)
	srv := httptest.NewServer(s.b.WebSocket(nil))
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, srv.URL, &websocket.DialOptions{Subprotocols: []string{"mqtt"}})
	if err != nil {
		t.Fatal(err)
	}
	c := newRaw(t, websocket.NetConn(ctx, ws, websocket.MessageBinary), v5)
	c.connect(login{user: "acme/d1", password: "secret"})
	c.ping()
	if err := s.b.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	if got := c.wantEnd(); len(got) != 1 || got[0].body[0] != 0x8b {
		t.Errorf("got %v, want DISCONNECT 0x8B", got)
	}
}

func TestWebSocketRate(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.RatePerIP = 0.1 })
	srv := httptest.NewServer(s.b.WebSocket(nil))
	t.Cleanup(srv.Close)
	for _, want := range []int{http.StatusUpgradeRequired, http.StatusTooManyRequests} {
		res, err := http.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != want {
			t.Errorf("status %d, want %d", res.StatusCode, want)
		}
	}
}
