package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/internal/config"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// demoFlags are the flags of `demo`.
type demoFlags struct {
	devices int
	seed    uint64
	size    string
	waves   []string
	faults  string
	keep    bool
}

// silentAfter is when the demo gives up on a device that does not answer an offer: real campaigns wait for days.
const silentAfter = 3 * time.Second

func demoCommand(a *app) *cobra.Command {
	var d demoFlags
	c := &cobra.Command{Use: "demo", Args: cobra.NoArgs,
		Short: "See it work: a server, a fleet that misbehaves, and a campaign, in one process",
		Long: "demo starts a server with fresh data on free ports, 200 simulated devices of which some fail, lose power or stay\n" +
			"silent, signs a payload, and runs a campaign in three waves. Nothing is left behind. Exit 0 if the campaign\n" +
			"succeeds, 7 if not; the same seed gives the same outcomes."}
	f := c.Flags()
	f.IntVar(&d.devices, "devices", 200, "simulated devices")
	f.Uint64Var(&d.seed, "seed", 1, "what goes wrong with which device")
	f.StringVar(&d.size, "payload-size", "512KiB", "size of the payload")
	f.StringSliceVar(&d.waves, "waves", []string{"5%", "25%", "100%"}, "waves, each a count or a percentage")
	f.StringVar(&d.faults, "faults", "default", "what goes wrong, in percent of the devices: "+simulator.DefaultMix().String())
	f.BoolVar(&d.keep, "keep", false, "leave the server running afterwards, and its data when it ends")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := a.untilInterrupted(cmd.Context())
		defer cancel()
		return a.demo(ctx, d)
	}
	return c
}

// demo runs the server and the show side by side; when one ends, so does the other.
func (a *app) demo(ctx context.Context, d demoFlags) (err error) {
	s, waves, err := d.scenario()
	if err != nil {
		return err
	}
	parent, err := os.MkdirTemp("", "fleetbridge-demo-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	home := filepath.Join(parent, "fleetbridge")
	defer func() {
		if !d.keep {
			err = errors.Join(err, os.RemoveAll(parent))
		}
	}()
	srv, op, err := openDemo(ctx, home)
	if err != nil {
		return err
	}
	return a.whileServing(ctx, srv, func(serving context.Context) error {
		show := a.show(serving, s, op, waves)
		if d.keep && ctx.Err() == nil {
			a.sayKept(srv, home, s.name)
			<-serving.Done()
		}
		return show
	})
}

// scenario reads the flags.
func (d demoFlags) scenario() (*fleetSetup, []topics.Wave, error) {
	size, err := parseSize(d.size)
	if err != nil {
		return nil, nil, err
	}
	mix, err := simulator.ParseMix(d.faults)
	if err != nil {
		return nil, nil, err
	}
	waves, err := parseWaves(d.waves)
	if err != nil {
		return nil, nil, err
	}
	if d.devices < 1 || size < 1 {
		return nil, nil, usagef("--devices and --payload-size must be at least 1")
	}
	return &fleetSetup{name: fmt.Sprintf("demo-%d", d.seed), devices: d.devices, seed: d.seed, mix: mix, size: size, paho: 20}, waves, nil
}

// openDemo makes a home on free ports and opens its server.
func openDemo(ctx context.Context, home string) (*server, client.Context, error) {
	var op client.Context
	c := config.Defaults()
	c.Data = "data"
	for _, addr := range []*string{&c.MQTT.Listen, &c.HTTP.Listen} {
		l, err := listen("127.0.0.1:0", nil)
		if err != nil {
			return nil, op, err
		}
		*addr = l.Addr().String()
		if err := l.Close(); err != nil {
			return nil, op, fmt.Errorf("find a free port: %w", err)
		}
	}
	if err := makeHome(ctx, home, ident.MustTenant("demo"), c); err != nil {
		return nil, op, err
	}
	read, err := config.ReadContext(filepath.Join(home, "operator.toml"))
	if err != nil {
		return nil, op, err
	}
	op = client.Context{Server: read.Server, User: read.User, Token: string(read.Token), Timeout: 30 * time.Second}
	c.Data = filepath.Join(home, "data")
	s, err := openServer(c, slog.New(slog.DiscardHandler))
	return s, op, err
}

// show is the demo's own part: everything that a backend service and a fleet do.
func (a *app) show(ctx context.Context, s *fleetSetup, op client.Context, waves []topics.Wave) error {
	start := time.Now()
	cl, err := client.Dial(ctx, op)
	if err != nil {
		return err
	}
	defer cl.Close()
	s.cl = cl
	r, err := a.update(ctx, s, op.Server, simPolicy(waves, silentAfter))
	if err != nil {
		return err
	}
	r.Elapsed = seconds(time.Since(start))
	if err := a.printResult(ctx, cl, r); err != nil {
		return err
	}
	if r.Outcome != string(campaign.Succeeded) {
		return unsuccessful(r.Campaign, r.Outcome)
	}
	return nil
}

func (a *app) sayKept(s *server, home, campaign string) {
	a.say("\nthe server runs until you stop it (ctrl-C); its data stays in %s\ntry, in another terminal:", home)
	a.say("  fleetbridge --context %s campaign devices %s --state failed", filepath.Join(home, "operator.toml"), campaign)
	a.say("  curl '%s/readyz?verbose'", s.httpURL())
}
