package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"fleetbridge/bridge"
	"fleetbridge/broker"
	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/internal/config"
	"fleetbridge/internal/httpapi"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// stopGrace is how long a graceful stop may take.
const stopGrace = 10 * time.Second

// server is the wiring: every part of a running fleetbridge. demo, serve and the tests use the same one.
type server struct {
	store     *badger.Store
	catalogue *firmware.Catalogue
	broker    *broker.Broker
	bridge    *bridge.Bridge
	mqtt      net.Listener
	http      net.Listener // nil: none
	directory *bridge.Directory
	origins   []string
	secure    bool
	log       *slog.Logger
}

// openServer opens everything that c names, and starts nothing. The data must have been made by init.
func openServer(c config.Serve, log *slog.Logger) (_ *server, err error) {
	s := &server{origins: c.HTTP.Origins, secure: c.TLS.Cert != "", log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	if _, err := os.Stat(storeDir(c.Data)); err != nil {
		return nil, &failure{code: exitUsage, err: fmt.Errorf("open data: %w", err), hint: "`fleetbridge init` makes the data folder and the first credentials"}
	}
	if s.store, err = badger.Open(badger.Options{Dir: storeDir(c.Data), Logger: log}); err != nil {
		return nil, storeFailure(c, err)
	}
	if err := s.checkStore(c); err != nil {
		return nil, err
	}
	if s.catalogue, err = firmware.OpenCatalogue(payloadDir(c.Data), firmware.CatalogueOptions{Room: s.store.Room}); err != nil {
		return nil, fmt.Errorf("open payloads: %w", err)
	}
	if most, capped := clientLimit(c.MQTT.MaxClients); capped {
		log.Info("fewer clients than configured fit under the limit of open files", "configured", c.MQTT.MaxClients, "clients", most)
		c.MQTT.MaxClients = most
	}
	s.directory = bridge.NewDirectory(s.store, nil)
	s.broker, err = broker.New(broker.Options{
		Logger: log, Authenticate: s.directory.Authenticate, Retained: s.directory, MaxClients: c.MQTT.MaxClients,
	})
	if err != nil {
		return nil, err
	}
	s.bridge, err = bridge.New(bridge.Options{
		Store: s.store, Link: s.broker, Catalogue: s.catalogue, Directory: s.directory, Logger: log, Version: version,
		Disconnect: s.broker.Disconnect, Bulk: procs.bulk, AbandonAfter: time.Duration(c.Payloads.AbandonAfter), Egress: int64(c.Egress),
		Retention: campaign.Retention{ArchiveAfter: time.Duration(c.Retention.ArchiveAfter), DeleteAfter: time.Duration(c.Retention.DeleteAfter)},
	})
	if err != nil {
		return nil, err
	}
	return s, s.listen(c)
}

// storeFailure adds what to do about a store that can't be opened.
func storeFailure(c config.Serve, err error) error {
	f := &failure{code: exitFailure, err: err}
	switch {
	case errors.Is(err, badger.ErrInUse):
		f.code, f.hint = exitConflict, "another server has these data; stop it first"
	case errors.Is(err, badger.ErrNoSpace):
		f.hint = "make room on the disk of " + c.Data + "; unfinished uploads are the .part files below " + payloadDir(c.Data)
	}
	return f
}

// checkStore refuses a store that init did not make: the folder may be the empty place of a disk that is not mounted.
func (s *server) checkStore(c config.Serve) error {
	err := s.store.View(context.Background(), func(r campaign.Reader) error {
		_, err := r.Tenant(ident.System)
		return err
	})
	if errors.Is(err, campaign.ErrNotFound) {
		return &failure{code: exitUsage, err: fmt.Errorf("store in %s has no tenant", storeDir(c.Data)),
			hint: "is the right disk mounted? `fleetbridge init` makes new data"}
	}
	return err
}

func storeDir(data string) string   { return filepath.Join(data, "store") }
func payloadDir(data string) string { return filepath.Join(data, "payloads") }

func (s *server) listen(c config.Serve) error {
	var conf *tls.Config
	if s.secure {
		cert, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
		if err != nil {
			return &failure{code: exitUsage, err: fmt.Errorf("load certificate: %w", err)}
		}
		conf = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	var err error
	if s.mqtt, err = listen(c.MQTT.Listen, conf); err != nil || c.HTTP.Listen == "" {
		return err
	}
	s.http, err = listen(c.HTTP.Listen, conf)
	return err
}

func listen(addr string, conf *tls.Config) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &failure{code: exitFailure, err: err, hint: "is another server using the address? port 0 takes a free one"}
	}
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	return l, nil
}

// mqttURL is what clients on this machine connect to.
func (s *server) mqttURL() string {
	if s.secure {
		return "mqtts://" + s.mqtt.Addr().String()
	}
	return "mqtt://" + s.mqtt.Addr().String()
}

func (s *server) httpURL() string {
	switch {
	case s.http == nil:
		return ""
	case s.secure:
		return "https://" + s.http.Addr().String()
	}
	return "http://" + s.http.Addr().String()
}

// run serves until ctx ends or a part fails, then stops in the reverse order of promises: no new connection, the
// messages under way to their commits, DISCONNECT to every client, and the store last.
func (s *server) run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.bridge.Run(gctx) })
	g.Go(func() error { return s.accept(gctx) })
	g.Go(func() error { return s.watchStore(gctx) })
	if s.http != nil {
		h := httpapi.Handler(httpapi.Options{MQTT: s.webSocket(), Checks: s.checks(gctx), Payloads: s.bridge.Payloads(), Authenticate: s.authenticate})
		g.Go(func() error { return httpapi.Serve(gctx, s.http, h, time.Second) })
	}
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, s.release())
}

// accept lets clients in once the bridge takes their messages. Until then, while the store is mended, they wait in the
// listener's backlog instead of being refused one by one.
func (s *server) accept(ctx context.Context) error {
	select {
	case <-s.broker.Serving():
		return s.broker.ServeListener(ctx, s.mqtt)
	case <-ctx.Done():
		return nil
	}
}

// storeEvery is how often the store is asked whether it hangs.
const storeEvery = 5 * time.Second

// watchStore ends the process when the store has stopped or hangs: start-up is recovery, and staying would refuse
// everything.
func (s *server) watchStore(ctx context.Context) error {
	tick := time.NewTicker(storeEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.store.Stopped():
			return fmt.Errorf("start again to recover: %w", s.store.Healthy())
		case <-tick.C:
			if err := s.store.Healthy(); errors.Is(err, badger.ErrStuck) {
				return fmt.Errorf("start again to recover: %w", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// checks are what /readyz asks.
func (s *server) checks(running context.Context) []httpapi.Check {
	return []httpapi.Check{
		{Name: "store", Ask: func(context.Context) error { return s.store.Healthy() }},
		{Name: "server", Ask: func(context.Context) error { return context.Cause(running) }},
		{Name: "bridge", Ask: func(context.Context) error { return s.serving() }},
	}
}

// serving says whether the bridge takes messages.
func (s *server) serving() error {
	select {
	case <-s.broker.Serving():
		return nil
	default:
		return errors.New("starting")
	}
}

// authenticate checks the credential of an HTTP request, from when the bridge has mended what a crash left.
func (s *server) authenticate(ctx context.Context, user, token string) (topics.Principal, error) {
	if err := s.serving(); err != nil {
		return topics.Principal{}, fmt.Errorf("%w: %w", link.ErrUnavailable, err)
	}
	return s.directory.Authenticate(ctx, user, []byte(token), "")
}

// webSocket is the broker's MQTT over WebSocket, from when the bridge takes messages.
func (s *server) webSocket() http.Handler {
	h := s.broker.WebSocket(s.origins)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.serving(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// release closes what is open, in the reverse order of promises; what was never opened is nil.
func (s *server) release() error {
	var errs []error
	for _, l := range []net.Listener{s.mqtt, s.http} {
		if l != nil {
			// A listener that served has been closed by its server.
			if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	if s.broker != nil {
		stop, cancel := context.WithTimeout(context.Background(), stopGrace)
		defer cancel()
		errs = append(errs, s.broker.Close(stop))
	}
	if s.catalogue != nil {
		errs = append(errs, s.catalogue.Close())
	}
	if s.store != nil {
		errs = append(errs, s.closeStore())
	}
	return errors.Join(errs...)
}

// closeStore closes the store, unless the disk keeps it from closing: Badger repeats a failed flush without end. What was
// acknowledged is in its log either way.
func (s *server) closeStore() error {
	select {
	case <-s.store.Stopped():
		return nil // the error that ends the process says so
	default:
	}
	closed := make(chan error, 1)
	go func() { closed <- s.store.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(stopGrace):
		return fmt.Errorf("close store: it did not end within %s; the next start recovers", stopGrace)
	}
}
