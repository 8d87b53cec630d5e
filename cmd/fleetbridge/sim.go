package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// simFlags are the flags of `sim run`.
type simFlags struct {
	devices, paho      int
	processes          int
	permits            bool
	seed               uint64
	name, size, faults string
	chunk              string
	window             uint32
	waves              []string
	silent, keep       time.Duration
	campaign, key      string
	pid                int
	script             string
	local              bool
	flash              flashFlags
}

func simCommand(a *app) *cobra.Command {
	return group("sim", "Simulated devices against a server", simRun(a), simScenarios(a))
}

func simRun(a *app) *cobra.Command {
	var m simFlags
	c := &cobra.Command{Use: "run", Args: cobra.NoArgs,
		Short: "Run a fleet of simulated devices through a campaign, and measure it",
		Long: "run makes credentials for a fleet, connects it, and takes it through a campaign of its own (a key, a payload and a\n" +
			"manifest are made for it) or through an existing one (--campaign, with the public key that its devices trust; a\n" +
			"draft is started). With --for the devices only stay connected. Exit 7 if the campaign does not succeed.\n\n" +
			"With --scenario it runs one of the library (`sim scenarios` lists it) or a file of that form instead, and says how\n" +
			"what happened compares with what the scenario expects. Exit 7 if anything is not as expected.\n\n" +
			"With --local the server is one of its own, with fresh data on free ports, of which nothing is left.\n\n" +
			"Memory and CPU are said apart for the simulator and, with --server-pid, the server. Devices check signatures and digests\n" +
			"themselves, which the simulator pays for. A process may have so many devices as it may have files open; --processes\n" +
			"divides a larger fleet, and changes nothing of what happens to a device."}
	f := c.Flags()
	f.IntVar(&m.devices, "devices", 100, "simulated devices")
	f.IntVar(&m.processes, "processes", 1, "processes that share the devices (Linux)")
	f.Uint64Var(&m.seed, "seed", 1, "what goes wrong with which device")
	f.StringVar(&m.name, "name", "", "prefix of what is made: devices, campaign, key (default: sim-SEED)")
	f.StringVar(&m.size, "payload-size", "1MiB", "size of the payload")
	f.StringVar(&m.chunk, "chunk-size", "4KiB", "size of the chunks that devices ask for")
	f.Uint32Var(&m.window, "window", 16, "chunks that a device asks for at once")
	f.StringSliceVar(&m.waves, "waves", nil, "waves, each a count or a percentage (default: one)")
	f.StringVar(&m.faults, "faults", "none", "what goes wrong, in percent of the devices, or default: "+simulator.DefaultMix().String())
	f.IntVar(&m.paho, "paho", 0, "every n-th device speaks MQTT 5 through paho.golang, the rest 3.1.1 (0: none)")
	f.BoolVar(&m.permits, "permits", false, "devices ask before they install, as a campaign with --permit wants")
	f.DurationVar(&m.silent, "silent-after", 10*time.Second, "how long a device may leave an offer unanswered")
	f.StringVar(&m.campaign, "campaign", "", "take part in this campaign instead of an own one")
	f.StringVar(&m.key, "key", "", "public key that the devices trust, with --campaign")
	f.DurationVar(&m.keep, "for", 0, "no campaign: stay connected for so long")
	f.IntVar(&m.pid, "server-pid", 0, "process of the server on this machine, to measure its memory and CPU (Linux)")
	f.StringVar(&m.script, "scenario", "", "run this scenario of the library, or file; of the other flags only --name and --local count")
	m.flash.flags(f)
	f.BoolVar(&m.local, "local", false, "against a server of its own")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := a.untilInterrupted(cmd.Context())
		defer cancel()
		return orInterrupted(ctx, a.withServer(ctx, m.local, func(ctx context.Context, cl *client.Client, op client.Context) error {
			if m.script != "" {
				return a.playScenario(ctx, cl, op, m.script, m.name)
			}
			return a.sim(ctx, cl, op, m)
		}))
	}
	return c
}

func (a *app) sim(ctx context.Context, cl *client.Client, own client.Context, m simFlags) error {
	s, waves, err := m.scenario(cl)
	if err != nil {
		return err
	}
	if err := m.fits(); err != nil {
		return err
	}
	if s.flash, err = a.readFlash(m.flash); err != nil {
		return err
	}
	run := simulation{fleetSetup: s, server: own, processes: m.processes, local: m.local, pid: m.pid,
		policy: simPolicy(waves, m.silent), hold: m.keep}
	switch {
	case m.keep > 0:
		s.class = firmware.ClassID(firmware.VendorID(simVendor), s.name)
	case m.campaign != "":
		if run.existing, err = s.join(ctx, a, m.campaign, m.key); err != nil {
			return err
		}
	default:
		if err := s.publish(ctx); err != nil {
			return err
		}
	}
	r, err := a.simulate(ctx, &run)
	if err != nil {
		return err
	}
	if err := a.printOne(r, r.rows()...); err != nil {
		return err
	}
	if r.Campaign != "" && r.Outcome != string(campaign.Succeeded) {
		return unsuccessful(r.Campaign, strings.TrimSpace(r.Outcome+" "+r.reason))
	}
	return nil
}

func (m simFlags) scenario(cl *client.Client) (*fleetSetup, []topics.Wave, error) {
	d := demoFlags{devices: m.devices, seed: m.seed, size: m.size, waves: m.waves, faults: m.faults}
	s, waves, err := d.scenario()
	if err != nil {
		return nil, nil, err
	}
	chunk, err := parseSize(m.chunk)
	if err != nil {
		return nil, nil, err
	}
	if chunk < topics.MinChunk || chunk > topics.MaxChunk || m.window < 1 || m.window > topics.MaxWindow || int64(m.window)*chunk > topics.MaxFetch {
		return nil, nil, usagef("--chunk-size %s with --window %d: chunks of %s to %s, at most %d and %s at once", m.chunk, m.window,
			bytesText(topics.MinChunk), bytesText(topics.MaxChunk), topics.MaxWindow, bytesText(topics.MaxFetch))
	}
	s.cl, s.paho, s.name, s.permits, s.chunk, s.window = cl, m.paho, m.name, m.permits, uint32(chunk), m.window
	if s.name == "" {
		s.name = fmt.Sprintf("sim-%d", m.seed)
	}
	if _, err := ident.ParseName(s.name + "-00000"); err != nil {
		return nil, nil, usagef("--name %q: %w", s.name, err)
	}
	return s, waves, nil
}

// join reads of an existing campaign what its devices must be.
func (s *fleetSetup) join(ctx context.Context, a *app, id, keyFile string) (ident.Campaign, error) {
	v, err := campaignDo(ctx, s.cl, "get", id, "")
	if err != nil {
		return v.Campaign, err
	}
	if keyFile == "" {
		return v.Campaign, usagef("--key is needed with --campaign: the devices trust nobody else")
	}
	key, err := a.readPublicKey(keyFile, "")
	if err != nil {
		return v.Campaign, err
	}
	if err := s.cl.Do(ctx, "manifest", "get", topics.ManifestGet{Digest: v.Manifest}, &s.manifest); err != nil {
		return v.Campaign, err
	}
	s.vendor, s.class, s.size = s.manifest.Vendor, s.manifest.Class, s.manifest.Size
	for _, text := range s.manifest.Keys {
		name, alg, err := parseSigner(text)
		if err == nil && alg.Kind() == key.Kind() {
			s.anchor, err = firmware.NewAnchor(name, key, alg, time.Now())
			return v.Campaign, err
		}
	}
	return v.Campaign, fmt.Errorf("no signature of the manifest is of the kind of %s: %w", keyFile, firmware.ErrUntrusted)
}

// parseSigner takes "id (alg)" apart.
func parseSigner(s string) (ident.Key, cose.Alg, error) {
	name, rest, _ := strings.Cut(s, " (")
	id, err := ident.ParseKey(name)
	if err != nil {
		return id, 0, err
	}
	alg, err := cose.ParseAlg(strings.TrimSuffix(rest, ")"))
	return id, alg, err
}
