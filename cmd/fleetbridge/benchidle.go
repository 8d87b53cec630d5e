package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/peer"
)

// The goals of a device that is connected and does nothing, at most.
const (
	idleKiB      = 24   // resident memory of the server for each
	idleFraction = 0.01 // of a core, for all together
)

// idleResult is what devices cost that are connected and subscribed, and do nothing but ping.
type idleResult struct {
	Bench    string  `json:"bench"`
	Case     string  `json:"case"`
	Devices  int     `json:"devices"`
	RSS      float64 `json:"rss_kib_per_device"` // what the server grew by, as soon as all are online
	RSSGoal  float64 `json:"rss_goal"`
	RSSMet   bool    `json:"rss_met"`
	Rested   float64 `json:"rested_rss_kib_per_device"` // the same after the time that was watched
	CPU      float64 `json:"cpu_fraction"`              // of a core, while it was watched
	CPUGoal  float64 `json:"cpu_goal"`
	CPUMet   bool    `json:"cpu_met"`
	Peer     string  `json:"peer,omitempty"`
	PeerRSS  float64 `json:"peer_rss_kib_per_device,omitempty"`
	PeerRest float64 `json:"peer_rested_rss_kib_per_device,omitempty"`
	PeerCPU  float64 `json:"peer_cpu_fraction,omitempty"`
	Watched  float64 `json:"watched_s"`
	Runs     int     `json:"runs"`
	Others   float64 `json:"others_cores"` // that processes which are no part of the bench took, at worst
}

var idleSheet = bench.Sheet{Bench: "idle", Columns: []bench.Column{
	bench.Text("devices", "devices"), bench.Figure("ours, KiB each", "rss_kib_per_device"), bench.VerdictOf("goal: at most", "rss_goal", "rss_met"),
	bench.Figure("ours rested, KiB each", "rested_rss_kib_per_device"), bench.Figure("ours, cores", "cpu_fraction"),
	bench.VerdictOf("goal: at most", "cpu_goal", "cpu_met"), bench.Figure("mosquitto, KiB each", "peer_rss_kib_per_device"),
	bench.Figure("mosquitto, cores", "peer_cpu_fraction"),
}}

// manyDevices is how many devices one process serves here: the limit of open files binds before memory does.
const manyDevices = 18_000

func benchIdle(a *app) *cobra.Command {
	o := benchFlags{devices: manyDevices, runs: 1, duration: 20 * time.Second}
	c := &cobra.Command{Use: "idle", Args: cobra.NoArgs,
		Short: "Hold devices that do nothing: the server's memory for each, and its CPU, beside mosquitto",
		Long: "bench idle brings devices online, each subscribed to its manifest and its chunks, with a keep-alive of a minute, and\n" +
			"watches the server while they do nothing. Memory is what the process grew by: of the system's account, live, before any\n" +
			"collection that it would not have made by itself."}
	o.addTask(c.Flags())
	c.Flags().DurationVar(&o.duration, "duration", o.duration, "how long the devices do nothing")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := errors.Join(o.check(nil), fits(o.devices)); err != nil {
			return err
		}
		return a.runBench(cmd.Context(), idleSheet, func(ctx context.Context, out *benchOutput) error {
			return withBench(func(b *bench.Bench, exe string) error { return a.idles(ctx, b, exe, o, out) })
		})
	}
	return c
}

func (a *app) idles(ctx context.Context, b *bench.Bench, exe string, o benchFlags, out *benchOutput) error {
	devices, prepare, err := strangers(o.devices)
	if err != nil {
		return err
	}
	a.say("▸ idle       %d devices, %d runs of %v", o.devices, o.runs, o.duration)
	memory := map[string]*idleMemory{oursSide: {}, mosquittoPeer: {}}
	contend := func(name string, open func(ctx context.Context) (crowdSide, func(), error)) bench.Contender {
		return bench.Contender{Name: name, Run: func(ctx context.Context) (bench.Sample, error) {
			s, done, err := open(ctx)
			if err != nil {
				return bench.Sample{}, err
			}
			defer done()
			return s.idle(ctx, b, o, memory[name])
		}}
	}
	contenders := []bench.Contender{contend(oursSide, func(ctx context.Context) (crowdSide, func(), error) {
		return openOurCrowd(ctx, b, exe, o, devices, prepare)
	})}
	switch err := peer.Has(mosquittoPeer); {
	case err == nil:
		contenders = append(contenders, contend(mosquittoPeer, func(ctx context.Context) (crowdSide, func(), error) {
			return openPeerCrowd(ctx, b, devices)
		}))
	default:
		if err := out.put(bench.Missing("idle", "idle", mosquittoPeer)); err != nil {
			return err
		}
	}
	samples, err := bench.Rounds(ctx, o.runs, o.noisy, contenders...)
	if errors.Is(err, bench.ErrNoisy) {
		return out.put(bench.Refused("idle", "idle", err))
	}
	if err != nil {
		return err
	}
	return out.put(idleFigures(o, samples, memory))
}

// idleMemory is what a server grew by, in KiB for each device, run by run: when all had come, and after they had done nothing.
type idleMemory struct{ live, rested []float64 }

// idle brings the devices of one side online, and watches.
func (s crowdSide) idle(ctx context.Context, b *bench.Bench, o benchFlags, m *idleMemory) (watched bench.Sample, err error) {
	if err := settled(ctx, s.proc); err != nil {
		return watched, err
	}
	before, err := s.proc.Usage()
	if err != nil {
		return watched, err
	}
	arrived, devices, err := s.arrive(ctx, b, 0)
	if devices != nil {
		defer devices.Stop()
	}
	if err != nil {
		return watched, err
	}
	if err := settled(ctx, s.proc); err != nil {
		return watched, err
	}
	watched, err = b.Watch(ctx, o.duration, devices, s.proc)
	grown := func(rss int64) float64 { return float64(rss-before.RSS) / 1024 / float64(o.devices) }
	m.live, m.rested = append(m.live, grown(arrived.Server.RSS)), append(m.rested, grown(watched.Server.RSS))
	return watched, err
}

func idleFigures(o benchFlags, samples map[string][]bench.Sample, memory map[string]*idleMemory) idleResult {
	median := func(values []float64) float64 { return bench.Round(bench.SpreadOf(values...).Median) }
	cores := func(s bench.Sample) float64 { return s.Server.CPU.Seconds() / s.Seconds }
	ours, theirs := samples[oursSide], samples[mosquittoPeer]
	v := idleResult{Bench: "idle", Case: "idle", Devices: o.devices, Runs: o.runs, Watched: o.duration.Seconds(), RSSGoal: idleKiB, CPUGoal: idleFraction,
		RSS: median(memory[oursSide].live), Rested: median(memory[oursSide].rested), CPU: bench.Round(bench.Over(ours, cores).Median),
		Others: bench.Round(bench.Over(append(ours, theirs...), func(s bench.Sample) float64 { return s.Others }).Max)}
	if m := memory[mosquittoPeer]; len(theirs) > 0 {
		v.Peer, v.PeerRSS, v.PeerRest, v.PeerCPU = mosquittoPeer, median(m.live), median(m.rested), bench.Round(bench.Over(theirs, cores).Median)
	}
	v.RSSMet, v.CPUMet = v.RSS <= idleKiB, v.CPU <= idleFraction
	return v
}
