package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/load"
	"fleetbridge/internal/bench/peer"
	"fleetbridge/topics"
)

// The goals of a storm, at most.
const (
	stormRatio = 2   // our CPU for each device, of mosquitto's
	stormRSS   = 1.2 // our memory some time after, of that before
)

// stormResult compares how all devices come back at once.
type stormResult struct {
	Bench    string  `json:"bench"`
	Case     string  `json:"case"`
	Devices  int     `json:"devices"`
	OursCPU  float64 `json:"ours_cpu_us"` // of the server, for each device
	OursMin  float64 `json:"ours_cpu_us_min"`
	OursMax  float64 `json:"ours_cpu_us_max"`
	Peer     string  `json:"peer,omitempty"`
	PeerCPU  float64 `json:"peer_cpu_us,omitempty"`
	PeerMin  float64 `json:"peer_cpu_us_min,omitempty"`
	PeerMax  float64 `json:"peer_cpu_us_max,omitempty"`
	Ratio    float64 `json:"ratio,omitempty"` // of the medians
	RatioMin float64 `json:"ratio_min,omitempty"`
	RatioMax float64 `json:"ratio_max,omitempty"`
	Goal     float64 `json:"goal"` // the most that ratio may be
	Met      bool    `json:"met"`
	Served   int     `json:"served"`        // devices that got their manifest in each storm
	Seconds  float64 `json:"ours_s"`        // until the last one had it
	PeerSecs float64 `json:"peer_s"`        // the same
	P50      float64 `json:"p50_ms"`        // of a device, from its first dial to its manifest
	P99      float64 `json:"p99_ms"`        //
	Retried  int     `json:"retried"`       // connects that failed and were tried again, in all storms
	PeerTry  int     `json:"peer_retried"`  // the same
	Manifest int     `json:"manifest_size"` // bytes
	Before   int64   `json:"rss_before_bytes"`
	Peak     int64   `json:"rss_peak_bytes"`
	After    int64   `json:"rss_after_bytes"`
	RSSRatio float64 `json:"rss_ratio"` // after to before, all devices connected both times
	RSSGoal  float64 `json:"rss_goal"`  // the most that it may be
	RSSMet   bool    `json:"rss_met"`
	LoadCPU  float64 `json:"load_cpu_us"` // of the devices' process
	Runs     int     `json:"runs"`
	Others   float64 `json:"others_cores"` // that processes which are no part of the bench took, at worst
}

var stormSheet = bench.Sheet{Bench: "storm", Columns: []bench.Column{
	bench.Text("devices", "devices"), bench.Text("served", "served"),
	bench.Figure("ours, CPU µs each", "ours_cpu_us"), bench.Figure("mosquitto, CPU µs each", "peer_cpu_us"),
	bench.Figure("ratio", "ratio"), bench.Verdict("goal: at most", "goal"),
	bench.Figure("ours, s", "ours_s"), bench.Figure("mosquitto, s", "peer_s"), bench.Figure("ours, p99 ms", "p99_ms"),
	bench.Figure("memory after / before", "rss_ratio"), bench.VerdictOf("goal: at most", "rss_goal", "rss_met"),
}}

func benchStorm(a *app) *cobra.Command {
	o := benchFlags{devices: manyDevices, runs: 3}
	rest := time.Minute
	c := &cobra.Command{Use: "storm", Args: cobra.NoArgs,
		Short: "Let all devices come back at once, each for its manifest: CPU for each beside mosquitto, and what memory stays",
		Long: "bench storm connects devices that have been offered a manifest, drops all connections without a word, and lets all come\n" +
			"back at once: connect, subscribe, and wait for the retained manifest; one that is refused tries again. mosquitto has\n" +
			"as many bytes retained on each topic, and the same clients."}
	o.addTask(c.Flags())
	c.Flags().DurationVar(&rest, "rest", rest, "how long after the last storm memory is looked at")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := errors.Join(o.checkTask(), fits(o.devices)); err != nil {
			return err
		}
		return a.runBench(cmd.Context(), stormSheet, func(ctx context.Context, out *benchOutput) error {
			return withBench(func(b *bench.Bench, exe string) error { return a.storms(ctx, b, exe, o, rest, out) })
		})
	}
	return c
}

func (a *app) storms(ctx context.Context, b *bench.Bench, exe string, o benchFlags, rest time.Duration, out *benchOutput) error {
	a.say("▸ storm      %d devices are offered a manifest", o.devices)
	ours, fleet, err := openStorm(ctx, b, exe, o)
	if err != nil {
		return err
	}
	contenders := []bench.Contender{{Name: oursSide, Run: ours.run}}
	theirs, err := openPeerStorm(ctx, b, fleet, ours.manifest)
	switch {
	case err == nil:
		contenders = append(contenders, bench.Contender{Name: mosquittoPeer, Run: theirs.run})
	case errors.Is(err, peer.ErrMissing):
		err = out.put(bench.Missing("storm", "storm", mosquittoPeer))
	}
	if err != nil {
		return err
	}
	a.say("▸ storm      %d runs, then a rest of %v", o.runs, rest)
	before, err := ours.rested(ctx, min(rest, restBefore))
	if err == nil {
		err = ours.side.proc.ResetPeak()
	}
	if err != nil {
		return err
	}
	samples, err := bench.Rounds(ctx, o.runs, o.noisy, contenders...)
	if errors.Is(err, bench.ErrNoisy) {
		return out.put(bench.Refused("storm", "storm", err))
	}
	if err != nil {
		return err
	}
	after, err := ours.rested(ctx, rest)
	if err != nil {
		return err
	}
	v := stormFigures(o, samples[oursSide], samples[mosquittoPeer])
	v.Before, v.Peak, v.After, v.Manifest, v.Retried = before.RSS, after.Peak, after.RSS, ours.manifest, ours.retried
	v.RSSRatio = bench.Round(float64(after.RSS) / float64(before.RSS))
	v.RSSMet = v.RSSRatio <= stormRSS
	if theirs != nil {
		v.PeerTry = theirs.retried
	}
	return out.put(v)
}

// restBefore is how long the devices are online before the first storm.
const restBefore = 10 * time.Second

// again ends the server and starts it on the same data: what all that was set up cost it is no part of what is measured.
func (s *benchServer) again(ctx context.Context, b *bench.Bench) error {
	s.cl.Close()
	s.Stop()
	return s.start(ctx, b)
}

// storm is a server with all devices online.
type storm struct {
	b        *bench.Bench
	side     crowdSide
	devices  *bench.Proc
	manifest int // bytes
	retried  int
}

// open brings the devices online for the first time.
func (s *storm) open(ctx context.Context) (err error) {
	if _, s.devices, err = s.side.arrive(ctx, s.b, 0); err != nil {
		return err
	}
	return s.look(ctx)
}

// look takes what the devices know beyond counts.
func (s *storm) look(ctx context.Context) error {
	var n load.CrowdCounts
	if err := s.devices.Mark(ctx, &n); err != nil {
		return err
	}
	s.manifest = max(s.manifest, n.Manifest)
	s.retried += n.Retried
	return nil
}

// run is one storm.
func (s *storm) run(ctx context.Context) (bench.Sample, error) {
	if err := settled(ctx, s.side.proc); err != nil {
		return bench.Sample{}, err
	}
	sample, err := s.b.Finish(ctx, s.side.task(afterglow), s.devices, s.side.proc)
	if err != nil {
		return sample, err
	}
	return sample, s.look(ctx)
}

// rested is the server's memory once it has settled, and rested for a while.
func (s *storm) rested(ctx context.Context, d time.Duration) (bench.Usage, error) {
	if err := settled(ctx, s.side.proc); err != nil {
		return bench.Usage{}, err
	}
	sample, err := s.b.Watch(ctx, d, s.devices, s.side.proc)
	return sample.Server, err
}

// openStorm starts our server, has a fleet offered a manifest, starts the server again, and brings the devices online. Each
// says that it has received its manifest, so that none is offered again.
func openStorm(ctx context.Context, b *bench.Bench, exe string, o benchFlags) (*storm, *benchFleet, error) {
	server, err := startBenchServer(ctx, b, exe, benchServerOptions{profile: o.profile})
	if err != nil {
		return nil, nil, err
	}
	fleet, err := server.fleet(ctx, b, o.devices, 64<<10)
	if err == nil {
		err = fleet.offer(ctx)
	}
	if err == nil {
		err = server.again(ctx, b)
	}
	if err != nil {
		return nil, nil, err
	}
	answer, err := topics.Encode(topics.Report{Seq: 1, Manifest: fleet.manifest.Digest, State: topics.WordReceived}, topics.CBOR)
	if err != nil {
		return nil, nil, err
	}
	s := &storm{b: b, side: crowdSide{name: oursSide, proc: server.Proc, crowd: crowdOf(server.addr, fleet.ids)}}
	s.side.crowd.Manifest, s.side.crowd.Answer = true, answer
	if err := s.open(ctx); err != nil {
		return nil, nil, err
	}
	s.side.around = server.around()
	return s, fleet, nil
}

// openPeerStorm starts mosquitto, and brings the same devices online there, which put as many bytes on their topics.
func openPeerStorm(ctx context.Context, b *bench.Bench, fleet *benchFleet, manifest int) (*storm, error) {
	side, _, err := openPeerCrowd(ctx, b, fleet.ids) // it ends with the bench
	if err != nil {
		return nil, err
	}
	side.crowd.Manifest, side.crowd.Storm, side.crowd.Retain = true, peerFlight, bytes.Repeat([]byte{0xa5}, manifest)
	s := &storm{b: b, side: side}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("mosquitto: %w", err)
	}
	return s, nil
}

func stormFigures(o benchFlags, ours, theirs []bench.Sample) stormResult {
	median := func(s []bench.Sample, f func(bench.Sample) float64) float64 {
		return bench.Round(bench.Over(s, f).Median)
	}
	took := func(s bench.Sample) float64 { return s.Seconds }
	served := func(s bench.Sample) float64 { return float64(s.Units) }
	others := func(s bench.Sample) float64 { return s.Others }
	mine, peers, ratios := bench.Over(ours, serverMicros), bench.Over(theirs, serverMicros), bench.Ratios(ours, theirs, serverMicros)
	v := stormResult{Bench: "storm", Case: "storm", Devices: o.devices, Runs: o.runs, Goal: stormRatio, RSSGoal: stormRSS,
		OursCPU: bench.Round(mine.Median), OursMin: bench.Round(mine.Min), OursMax: bench.Round(mine.Max),
		Served: int(bench.Over(ours, served).Min), Seconds: median(ours, took), LoadCPU: median(ours, loadMicros),
		P50:    median(ours, func(s bench.Sample) float64 { return s.P50 }),
		P99:    median(ours, func(s bench.Sample) float64 { return s.P99 }),
		Others: bench.Round(bench.Over(append(ours, theirs...), others).Max)}
	if len(theirs) > 0 {
		v.Peer, v.PeerCPU, v.PeerMin, v.PeerMax = mosquittoPeer, bench.Round(peers.Median), bench.Round(peers.Min), bench.Round(peers.Max)
		v.Ratio, v.RatioMin, v.RatioMax = bench.Round(mine.Median/peers.Median), bench.Round(ratios.Min), bench.Round(ratios.Max)
		v.PeerSecs = median(theirs, took)
		v.Met = mine.Median <= stormRatio*peers.Median
	}
	return v
}
