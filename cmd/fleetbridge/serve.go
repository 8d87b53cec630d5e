package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"fleetbridge/bridge"
	"fleetbridge/broker"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/firmware"
	"fleetbridge/internal/config"
	"fleetbridge/internal/httpapi"
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
		return nil, fmt.Errorf("open store: %w", err)
	}
	if s.catalogue, err = firmware.OpenCatalogue(payloadDir(c.Data), firmware.CatalogueOptions{}); err != nil {
		return nil, fmt.Errorf("open payloads: %w", err)
	}
	directory := bridge.NewDirectory(s.store, nil)
	s.broker, err = broker.New(broker.Options{
		Logger: log, Authenticate: directory.Authenticate, Retained: directory, MaxClients: c.MQTT.MaxClients,
	})
	if err != nil {
		return nil, err
	}
	s.bridge, err = bridge.New(bridge.Options{
		Store: s.store, Link: s.broker, Catalogue: s.catalogue, Logger: log, Version: version, Disconnect: s.broker.Disconnect,
	})
	if err != nil {
		return nil, err
	}
	return s, s.listen(c)
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
	g.Go(func() error { return s.broker.ServeListener(gctx, s.mqtt) })
	if s.http != nil {
		h := httpapi.Handler(httpapi.Options{MQTT: s.broker.WebSocket(s.origins), Checks: s.checks(gctx)})
		g.Go(func() error { return httpapi.Serve(gctx, s.http, h, time.Second) })
	}
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, s.release())
}

// checks are what /readyz asks.
func (s *server) checks(running context.Context) []httpapi.Check {
	return []httpapi.Check{
		{Name: "store", Ask: func(context.Context) error { return s.store.Healthy() }},
		{Name: "server", Ask: func(context.Context) error { return context.Cause(running) }},
	}
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
		errs = append(errs, s.store.Close())
	}
	return errors.Join(errs...)
}

func serveCommand(a *app) *cobra.Command {
	var file string
	c := &cobra.Command{Use: "serve", Short: "Run the server: MQTT broker, campaign bridge and store in one process", Args: cobra.NoArgs}
	c.Flags().StringVar(&file, "config", "", "configuration file (env FLEETBRIDGE_CONFIG; default "+defaultConfig+" if it is there)")
	given := map[string]*string{}
	for _, set := range config.Settings {
		given[set.Key] = c.Flags().String(set.Flag(), set.Value(config.Defaults()), set.Usage+" (env "+set.Env()+")")
		if set.IsBool() {
			c.Flags().Lookup(set.Flag()).NoOptDefVal = "true"
		}
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		conf, err := a.serveConfig(file, func(s config.Setting) (string, bool) {
			return *given[s.Key], cmd.Flags().Changed(s.Flag())
		})
		if err != nil {
			return err
		}
		return a.serve(cmd.Context(), conf)
	}
	return c
}

// defaultConfig is read when no flag and no variable names another, if it is there.
const defaultConfig = "fleetbridge/fleetbridge.toml"

// serveConfig lays flags over environment over file over defaults.
func (a *app) serveConfig(file string, flag func(config.Setting) (string, bool)) (config.Serve, error) {
	c := config.Defaults()
	if file == "" {
		file = a.getenv("FLEETBRIDGE_CONFIG")
	}
	named := file != ""
	if !named {
		file = defaultConfig
	}
	read, err := config.ReadServe(file, c)
	switch {
	case err == nil:
		c = read
	case named || !errors.Is(err, os.ErrNotExist):
		return c, &failure{code: exitUsage, err: err}
	}
	if err := config.ApplyEnv(&c, a.getenv); err != nil {
		return c, err
	}
	for _, s := range config.Settings {
		if v, changed := flag(s); changed {
			if err := s.Set(&c, v); err != nil {
				return c, fmt.Errorf("--%s: %w", s.Flag(), err)
			}
		}
	}
	return c, c.Check()
}

// serve runs a server until a signal; a second one ends the process at once.
func (a *app) serve(ctx context.Context, c config.Serve) error {
	s, err := openServer(c, a.logger(c.Log))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	a.say("%s serving %s%s", a.mark("✔", true), s.mqttURL(), prefix("   ", s.httpURL()))
	if c.Insecure {
		a.say("warning: --insecure: tokens cross the network in clear where there is no TLS")
	}
	for stopping := false; ; stopping = true {
		select {
		case err := <-ended:
			return err
		case <-a.interrupts:
			if stopping {
				return &failure{code: exitInterrupted, err: errors.New("stopped at once by a second signal; the store recovers at the next start")}
			}
			a.say("stopping; again to stop at once")
			cancel()
		}
	}
}

func prefix(p, s string) string {
	if s == "" {
		return ""
	}
	return p + s
}

func (a *app) logger(c config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // Check has refused any other word
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, o))
	}
	return slog.New(slog.NewTextHandler(a.stderr, o))
}
