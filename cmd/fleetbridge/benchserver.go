package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/load"
	"fleetbridge/internal/client"
	"fleetbridge/internal/config"
	"fleetbridge/topics"
)

// benchServer is our server as a process of its own, with fresh data, and an operator's connection to it.
type benchServer struct {
	*bench.Proc
	cl      *client.Client
	op      client.Context
	addr    string // of MQTT
	profile string
	command bench.Command
}

// benchServerOptions differ from bench to bench.
type benchServerOptions struct {
	cert, key string // PEM files; "" for TCP
	profile   string // see benchFlags
	env       []string
	// prepare, if not nil, fills the store of the data folder before the server opens it.
	prepare func(ctx context.Context, data string) error
}

// benchTenant is the tenant of every bench.
var benchTenant = ident.MustTenant("bench")

// startBenchServer makes a home, starts `fleetbridge serve` on it, and connects. It ends with b.
func startBenchServer(ctx context.Context, b *bench.Bench, exe string, o benchServerOptions) (*benchServer, error) {
	addr, err := bench.FreeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.Dir, "server-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	home := filepath.Join(dir, "home")
	c := config.Defaults()
	c.Data, c.MQTT.Listen, c.HTTP.Listen, c.Log.Level = "data", addr, "", "warn"
	c.TLS = config.TLS{Cert: o.cert, Key: o.key}
	if err := makeHome(ctx, home, benchTenant, c); err != nil {
		return nil, err
	}
	if o.prepare != nil {
		if err := o.prepare(ctx, filepath.Join(home, "data")); err != nil {
			return nil, err
		}
	}
	args := []string{"serve", "--config", filepath.Join(home, "fleetbridge.toml")}
	if o.profile != "" {
		if o.profile, err = filepath.Abs(o.profile); err != nil {
			return nil, err
		}
		args = append(args, "--profile", o.profile)
	}
	s := &benchServer{addr: addr, profile: o.profile, command: bench.Command{Name: "ours", Path: exe, Args: args, Env: append(os.Environ(), o.env...)}}
	read, err := config.ReadContext(filepath.Join(home, "operator.toml"))
	if err != nil {
		return nil, err
	}
	s.op = client.Context{Server: "mqtt://" + addr, User: read.User, Token: string(read.Token), CA: o.cert, Timeout: time.Minute}
	if o.cert != "" {
		s.op.Server = "mqtts://" + addr
	}
	return s, s.start(ctx, b)
}

// start starts the process, also again after its end, and connects.
func (s *benchServer) start(ctx context.Context, b *bench.Bench) (err error) {
	if s.Proc, err = b.Start(s.command); err != nil {
		return err
	}
	if err := s.Listening(ctx, s.addr); err != nil {
		return err
	}
	s.cl, err = client.Dial(ctx, s.op)
	return err
}

// around is for bench.Interval: it has the server write profiles of the interval, where they are wanted.
func (s *benchServer) around() func() (end func()) {
	if s.profile == "" {
		return nil
	}
	toggle := func() { _ = s.Signal(profileSignal) } // a server that has ended is found out elsewhere
	return func() func() { toggle(); return toggle }
}

// benchFleet is a fleet that a bench's server knows, with a manifest and its payload.
type benchFleet struct {
	*fleetSetup
	ids     []load.Device
	payload string // a file
}

// fleet makes, by the public commands, a payload, its manifest, and devices with credentials that are registered.
func (s *benchServer) fleet(ctx context.Context, b *bench.Bench, devices int, size int64) (*benchFleet, error) {
	f := &benchFleet{fleetSetup: &fleetSetup{cl: s.cl, name: "bench", devices: devices, seed: 1, size: size}, payload: filepath.Join(b.Dir, "payload")}
	if err := f.publish(ctx); err != nil {
		return nil, err
	}
	if err := os.WriteFile(f.payload, seededBytes(f.seed, size), 0o600); err != nil {
		return nil, fmt.Errorf("write payload: %w", err)
	}
	ids, err := f.provision(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		f.ids = append(f.ids, load.Device{ID: id.Device, User: id.User, Token: id.Token})
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(64) // the server commits what waits together
	for _, id := range ids {
		g.Go(func() error {
			return s.cl.Do(gctx, "device", "add", topics.DeviceAdd{Device: id.Device, Vendor: f.vendor, Class: f.class}, nil)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("register devices: %w", err)
	}
	return f, nil
}

// offer starts a campaign for the fleet, and waits until every device has its offer.
func (f *benchFleet) offer(ctx context.Context) error {
	id, err := f.campaign(ctx, topics.Policy{})
	if err != nil {
		return err
	}
	for {
		var v topics.CampaignView
		if err := f.cl.Do(ctx, "campaign", "get", topics.CampaignRef{Campaign: id}, &v); err != nil {
			return err
		}
		if v.Progress.Counts[string(campaign.Offered)] == uint64(f.devices) {
			return nil
		}
		if v.State == string(campaign.Stopped) {
			return fmt.Errorf("the campaign stopped: %s", v.Reason)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond): // the event of each offer would be one message a device
		}
	}
}

// withBench runs fn with a bench, of which nothing is left.
func withBench(fn func(b *bench.Bench, exe string) error) (err error) {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	b, err := bench.New(exe)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return fn(b, exe)
}
