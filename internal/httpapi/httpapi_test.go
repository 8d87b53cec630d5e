package httpapi_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fleetbridge/internal/httpapi"
)

func get(t *testing.T, h http.Handler, path, from string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestHealth(t *testing.T) {
	store := error(nil)
	h := httpapi.Handler(httpapi.Options{Checks: []httpapi.Check{
		{Name: "store", Ask: func(context.Context) error { return store }},
		{Name: "broker", Ask: func(context.Context) error { return nil }},
	}})
	check := func(path, from string, status int, want string) {
		t.Helper()
		if code, body := get(t, h, path, from); code != status || body != want {
			t.Errorf("%s: %d %q, want %d %q", path, code, body, status, want)
		}
	}
	check("/livez", "127.0.0.1:1", 200, "ok\n")
	check("/readyz", "127.0.0.1:1", 200, "ready\n")
	check("/readyz?verbose", "127.0.0.1:1", 200, "store: ok\nbroker: ok\nready\n")
	store = errors.New("disk full")
	check("/livez", "127.0.0.1:1", 200, "ok\n")
	check("/readyz", "127.0.0.1:1", 503, "not ready\n")
	check("/readyz?verbose", "127.0.0.1:1", 503, "store: not ready: disk full\nbroker: ok\nnot ready\n")
	check("/readyz?verbose", "192.0.2.1:1", 503, "store: not ready\nbroker: ok\nnot ready\n")
}

func TestRoutes(t *testing.T) {
	h := httpapi.Handler(httpapi.Options{MQTT: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(299) })})
	for path, want := range map[string]int{"/mqtt": 299, "/": 404, "/mqtt/x": 404, "/debug/pprof/": 404} {
		if code, _ := get(t, h, path, "127.0.0.1:1"); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if code, _ := get(t, httpapi.Handler(httpapi.Options{}), "/mqtt", "127.0.0.1:1"); code != 404 {
		t.Errorf("/mqtt without a handler: %d", code)
	}
}

// TestServeEnds ends the server while a request is under way: it is answered, and Serve returns nil.
func TestServeEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { close(entered); <-release; w.WriteHeader(204) })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- httpapi.Serve(ctx, l, h, 10*time.Second) }()
	answered := make(chan int, 1)
	go func() {
		r, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		r.Body.Close()
		answered <- r.StatusCode
	}()
	<-entered
	cancel()
	close(release)
	if code := <-answered; code != 204 {
		t.Errorf("the request under way got %d", code)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestHeaderBound sends a header that is too large: it is refused.
func TestHeaderBound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- httpapi.Serve(ctx, l, httpapi.Handler(httpapi.Options{}), time.Second) }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("a", 64<<10)+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil && len(b) == 0 {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(b), "HTTP/1.1 431") {
		t.Errorf("got %.60q, want 431", b)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
