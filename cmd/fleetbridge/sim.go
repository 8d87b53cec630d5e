package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
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
	permits            bool
	seed               uint64
	name, size, faults string
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
			"With --local the server is one of its own, with fresh data on free ports, of which nothing is left."}
	f := c.Flags()
	f.IntVar(&m.devices, "devices", 100, "simulated devices")
	f.Uint64Var(&m.seed, "seed", 1, "what goes wrong with which device")
	f.StringVar(&m.name, "name", "", "prefix of what is made: devices, campaign, key (default: sim-SEED)")
	f.StringVar(&m.size, "payload-size", "1MiB", "size of the payload")
	f.StringSliceVar(&m.waves, "waves", nil, "waves, each a count or a percentage (default: one)")
	f.StringVar(&m.faults, "faults", "none", "what goes wrong, in percent of the devices, or default: "+simulator.DefaultMix().String())
	f.IntVar(&m.paho, "paho", 0, "every n-th device speaks MQTT 5 through paho.golang, the rest 3.1.1 (0: none)")
	f.BoolVar(&m.permits, "permits", false, "devices ask before they install, as a campaign with --permit wants")
	f.DurationVar(&m.silent, "silent-after", 10*time.Second, "how long a device may leave an offer unanswered")
	f.StringVar(&m.campaign, "campaign", "", "take part in this campaign instead of an own one")
	f.StringVar(&m.key, "key", "", "public key that the devices trust, with --campaign")
	f.DurationVar(&m.keep, "for", 0, "no campaign: stay connected for so long")
	f.IntVar(&m.pid, "server-pid", 0, "process of the server on this machine, to measure its memory (Linux)")
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
	if s.flash, err = a.readFlash(m.flash); err != nil {
		return err
	}
	run := simulation{fleetSetup: s, server: own.Server, pid: m.pid, policy: simPolicy(waves, m.silent), hold: m.keep}
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
	s.cl, s.paho, s.name, s.permits = cl, m.paho, m.name, m.permits
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

// simulation is a scenario under measurement.
type simulation struct {
	*fleetSetup
	server   string
	pid      int
	policy   topics.Policy
	existing ident.Campaign // zero: make one
	hold     time.Duration  // no campaign, stay connected
	begun    time.Time
}

// simResult is what `sim run` measured.
type simResult struct {
	result
	// The campaign alone: from its start to its end.
	CampaignSeconds float64 `json:"campaign_s,omitempty"`
	DevicesPerSec   float64 `json:"devices_per_s,omitempty"`
	BytesPerSec     float64 `json:"bytes_per_s,omitempty"`
	ReportsPerSec   float64 `json:"reports_per_s,omitempty"`
	PubackP50       float64 `json:"puback_p50_ms"` // report to PUBACK, as devices saw it
	PubackP99       float64 `json:"puback_p99_ms"`
	ConnectSeconds  float64 `json:"connect_s"`
	ClientBytes     int64   `json:"client_bytes_per_device,omitempty"` // memory of this process
	ServerBytes     int64   `json:"server_bytes_per_device,omitempty"` // with --server-pid: growth while the fleet connected
	ServerPeak      int64   `json:"server_peak_bytes,omitempty"`       // with --server-pid: at the end, the highest so far
}

func (r simResult) rows() []row {
	rows := []row{{"campaign", r.Campaign}, {"outcome", strings.TrimSpace(r.Outcome + " " + r.reason)}}
	if r.Campaign != "" {
		rows = append(rows,
			row{"devices", fmt.Sprintf("%d: %d confirmed, %d failed, %d silent, %d skipped%s", r.Devices, r.Confirmed, r.Failed, r.Silent, r.Skipped, withdrawnText(r.Withdrawn))},
			row{"took", fmt.Sprintf("%.1f s", r.CampaignSeconds)},
			row{"throughput", fmt.Sprintf("%.0f devices/s, %s/s, %.0f reports/s", r.DevicesPerSec, bytesText(int64(r.BytesPerSec)), r.ReportsPerSec)},
			row{"reports", fmt.Sprintf("%d acknowledged, %d recorded", r.Acknowledged, r.Recorded)},
			row{"report to PUBACK", fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", r.PubackP50, r.PubackP99)},
			row{"chunks", fmt.Sprintf("%d, %s, %d received twice", r.stats.Chunks, bytesText(r.ChunkBytes), r.stats.ChunksAgain)})
	}
	rows = append(rows, row{"connected in", fmt.Sprintf("%.1f s", r.ConnectSeconds)})
	if r.ClientBytes > 0 {
		rows = append(rows, row{"memory, simulator", bytesText(r.ClientBytes) + " per device"})
	}
	if r.ServerPeak > 0 {
		rows = append(rows, row{"memory, server", bytesText(r.ServerBytes) + " per connected device, peak " + bytesText(r.ServerPeak)})
	}
	return rows
}

// simulate connects the fleet, runs the campaign, and measures both.
func (a *app) simulate(ctx context.Context, s *simulation) (simResult, error) {
	var r simResult
	ids, err := s.provision(ctx)
	if err != nil {
		return r, err
	}
	f, err := s.fleet(s.server, ids)
	if err != nil {
		return r, err
	}
	a.say("▸ fleet      %d devices; %s", s.devices, faultsText(f.Faults()))
	before, ownBefore := memory(s.pid), memory(os.Getpid())
	running, power := context.WithCancel(ctx)
	off := make(chan error, 1)
	go func() { off <- f.Run(running) }()
	defer func() { power(); <-off }() // a fleet that is switched off has nothing to say
	s.begun = time.Now()
	if err := waitReady(ctx, f); err != nil {
		return r, err
	}
	r.ConnectSeconds = seconds(time.Since(s.begun))
	n := int64(max(1, f.Stats().Connected))
	r.ClientBytes = max(0, memory(os.Getpid()).rss-ownBefore.rss) / n
	r.ServerBytes = max(0, memory(s.pid).rss-before.rss) / n
	a.say("▸ connected  %d devices in %.1f s", n, r.ConnectSeconds)
	if err := a.drive(ctx, s, f, &r); err != nil {
		return r, err
	}
	r.ServerPeak = memory(s.pid).peak
	return r, nil
}

// drive runs the campaign, or waits where there is none.
func (a *app) drive(ctx context.Context, s *simulation, f *simulator.Fleet, r *simResult) error {
	if s.hold > 0 {
		select {
		case <-time.After(s.hold):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	started := time.Now()
	id, err := s.existing, error(nil)
	if id.IsZero() {
		id, err = s.campaign(ctx, s.policy)
	} else {
		err = s.startDraft(ctx, id)
	}
	if err != nil {
		return err
	}
	track := a.newTrack()
	if _, err := watch(ctx, s.cl, id, track.at); err != nil {
		return err
	}
	track.end()
	took := time.Since(started)
	if r.result, err = s.result(ctx, f, id, started); err != nil {
		return err
	}
	r.Elapsed, r.CampaignSeconds = seconds(time.Since(s.begun)), seconds(took)
	r.DevicesPerSec = float64(r.Confirmed) / took.Seconds()
	r.BytesPerSec = float64(r.ChunkBytes) / took.Seconds()
	r.ReportsPerSec = float64(r.Recorded) / took.Seconds()
	r.PubackP50, r.PubackP99 = milliseconds(r.stats.PubackP50), milliseconds(r.stats.PubackP99)
	return nil
}

func (s *simulation) startDraft(ctx context.Context, id ident.Campaign) error {
	err := s.cl.Do(ctx, "campaign", "start", topics.CampaignRef{Campaign: id}, nil)
	var p *topics.Problem
	if errors.As(err, &p) && p.Type == topics.ProblemWrongPhase {
		return nil // it runs already
	}
	return err
}

// seconds is a duration for people and JSON: to the millisecond.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// usage is a process's resident memory in bytes, now and at its highest.
type usage struct{ rss, peak int64 }

// memory reads it from /proc; zero where there is no such process, or no /proc.
func memory(pid int) usage {
	var u usage
	if pid == 0 {
		return u
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return u
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			u.rss = kib << 10
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			u.peak = kib << 10
		}
	}
	return u
}
