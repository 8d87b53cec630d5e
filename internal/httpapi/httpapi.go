// Package httpapi is the HTTP side of the server: MQTT over WebSocket at /mqtt, payloads at /payload/{sha256}, and the
// health checks /livez and /readyz. It knows nothing of campaigns or brokers: handlers and checks are given to it.
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"fleetbridge/topics"
)

// Check says whether one part of the server is ready; an error is the reason why not.
type Check struct {
	Name string
	Ask  func(ctx context.Context) error
}

// Options are what the server shows.
type Options struct {
	// MQTT takes WebSocket connections; nil answers 404.
	MQTT http.Handler
	// Payloads takes and gives payloads; nil answers 404.
	Payloads Payloads
	// Authenticate checks the credentials of a request for a payload; an error that wraps link.ErrUnavailable says that
	// nobody can tell now.
	Authenticate func(ctx context.Context, user, token string) (topics.Principal, error)
	// Checks are asked, in order, on each /readyz.
	Checks []Check
}

// The bounds of one HTTP exchange. A WebSocket leaves them when it is hijacked.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
	checkTimeout  = 2 * time.Second
)

// Handler returns the routes.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	if o.MQTT != nil {
		mux.Handle("GET /mqtt", o.MQTT)
	}
	if o.Payloads != nil {
		newPayloads(o).routes(mux)
	}
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, o.Checks) })
	return mux
}

// ready answers 200 if every check passes, else 503. With ?verbose each check has a line; reasons are for the operator
// of the machine, so they are shown to loopback only.
func ready(w http.ResponseWriter, r *http.Request, checks []Check) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	status, verbose := http.StatusOK, r.URL.Query().Has("verbose")
	var lines strings.Builder
	for _, c := range checks {
		err := c.Ask(ctx)
		mark, why := "ok", ""
		if err != nil {
			status, mark = http.StatusServiceUnavailable, "not ready"
			if local(r) {
				why = ": " + err.Error()
			}
		}
		fmt.Fprintf(&lines, "%s: %s%s\n", c.Name, mark, why)
	}
	body := "ready\n"
	if status != http.StatusOK {
		body = "not ready\n"
	}
	if verbose {
		body = lines.String() + body
	}
	say(w, status, body)
}

func local(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client has gone if this fails; there is nobody to tell.
	_, _ = w.Write([]byte(text))
}

// Serve answers on l until ctx ends, then lets the requests under way finish for at most grace. nil means that it
// ended because of ctx.
func Serve(ctx context.Context, l net.Listener, h http.Handler, grace time.Duration) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := srv.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close()
	}
	<-done
	return err
}
