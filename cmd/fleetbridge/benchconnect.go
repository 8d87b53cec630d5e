package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/peer"
)

// connectResult compares how devices come online.
type connectResult struct {
	Bench    string  `json:"bench"`
	Case     string  `json:"case"`
	Ours     float64 `json:"ours_per_s"`
	Peer     string  `json:"peer,omitempty"`
	Theirs   float64 `json:"peer_per_s,omitempty"`
	OursCPU  float64 `json:"ours_cpu_us"` // of the server, for each device
	OursMin  float64 `json:"ours_cpu_us_min"`
	OursMax  float64 `json:"ours_cpu_us_max"`
	PeerCPU  float64 `json:"peer_cpu_us,omitempty"`
	PeerMin  float64 `json:"peer_cpu_us_min,omitempty"`
	PeerMax  float64 `json:"peer_cpu_us_max,omitempty"`
	Ratio    float64 `json:"ratio,omitempty"` // of the medians of CPU
	RatioMin float64 `json:"ratio_min,omitempty"`
	RatioMax float64 `json:"ratio_max,omitempty"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	PeerP50  float64 `json:"peer_p50_ms,omitempty"`
	PeerP99  float64 `json:"peer_p99_ms,omitempty"`
	LoadCPU  float64 `json:"load_cpu_us"` // of the devices' process
	Devices  int     `json:"devices"`
	Flight   int     `json:"in_flight"`
	Runs     int     `json:"runs"`
	Others   float64 `json:"others_cores"` // that processes which are no part of the bench took, at worst
}

var connectSheet = bench.Sheet{Bench: "connect", Columns: []bench.Column{
	bench.Text("devices", "devices"), bench.Text("at once", "in_flight"),
	bench.Figure("ours, devices/s", "ours_per_s"), bench.Figure("mosquitto, devices/s", "peer_per_s"),
	bench.Figure("ours, CPU µs each", "ours_cpu_us"), bench.Figure("mosquitto, CPU µs each", "peer_cpu_us"), bench.Figure("ratio", "ratio"),
	bench.Figure("ours, p99 ms", "p99_ms"), bench.Figure("mosquitto, p99 ms", "peer_p99_ms"),
}}

// afterglow is how much longer a server is measured than its devices need to come online: for what it does behind them.
const afterglow = 300 * time.Millisecond

func benchConnect(a *app) *cobra.Command {
	o := benchFlags{devices: 10_000, runs: 3}
	flight := 100
	c := &cobra.Command{Use: "connect", Args: cobra.NoArgs,
		Short: "Connect devices: how many per second, and the CPU for each, beside mosquitto",
		Long: "bench connect brings devices online, some at a time: each connects with its user name and its token, with a clean session,\n" +
			"and subscribes to its manifest and its chunks. Both check the token; ours checks the topics too."}
	o.addTask(c.Flags())
	c.Flags().IntVar(&flight, "in-flight", flight, "devices that are on their way online at once")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if flight < 1 {
			return usagef("--in-flight must be above 0")
		}
		if err := errors.Join(o.checkTask(), fits(o.devices)); err != nil {
			return err
		}
		return a.runBench(cmd.Context(), connectSheet, func(ctx context.Context, out *benchOutput) error {
			return withBench(func(b *bench.Bench, exe string) error { return a.connects(ctx, b, exe, o, flight, out) })
		})
	}
	return c
}

func (a *app) connects(ctx context.Context, b *bench.Bench, exe string, o benchFlags, flight int, out *benchOutput) error {
	devices, prepare, err := strangers(o.devices)
	if err != nil {
		return err
	}
	ours, done, err := openOurCrowd(ctx, b, exe, o, devices, prepare)
	if err != nil {
		return err
	}
	defer done()
	sides := []crowdSide{ours}
	theirs, done, err := openPeerCrowd(ctx, b, devices)
	switch {
	case err == nil:
		defer done()
		sides = append(sides, theirs)
	case errors.Is(err, peer.ErrMissing):
		err = out.put(bench.Missing("connect", "connect", mosquittoPeer))
	}
	if err != nil {
		return err
	}
	a.say("▸ connect    %d devices, %d at once, %d runs", o.devices, flight, o.runs)
	var contenders []bench.Contender
	for _, s := range sides {
		s.crowd.Flight = flight
		contenders = append(contenders, bench.Contender{Name: s.name, Run: func(ctx context.Context) (bench.Sample, error) {
			if err := settled(ctx, s.proc); err != nil {
				return bench.Sample{}, err
			}
			sample, devices, err := s.arrive(ctx, b, afterglow)
			if devices != nil {
				devices.Stop()
			}
			return sample, err
		}})
	}
	samples, err := bench.Rounds(ctx, o.runs, o.noisy, contenders...)
	if errors.Is(err, bench.ErrNoisy) {
		return out.put(bench.Refused("connect", "connect", err))
	}
	if err != nil {
		return err
	}
	return out.put(connectFigures(o, flight, samples[oursSide], samples[mosquittoPeer]))
}

func connectFigures(o benchFlags, flight int, ours, theirs []bench.Sample) connectResult {
	median := func(s []bench.Sample, f func(bench.Sample) float64) float64 {
		return bench.Round(bench.Over(s, f).Median)
	}
	p50, p99 := func(s bench.Sample) float64 { return s.P50 }, func(s bench.Sample) float64 { return s.P99 }
	others := func(s bench.Sample) float64 { return s.Others }
	mine, peers, ratios := bench.Over(ours, serverMicros), bench.Over(theirs, serverMicros), bench.Ratios(ours, theirs, serverMicros)
	v := connectResult{Bench: "connect", Case: "connect", Devices: o.devices, Flight: flight, Runs: o.runs,
		Ours: median(ours, perSecond), OursCPU: bench.Round(mine.Median), OursMin: bench.Round(mine.Min), OursMax: bench.Round(mine.Max),
		P50: median(ours, p50), P99: median(ours, p99), LoadCPU: median(ours, loadMicros),
		Others: bench.Round(bench.Over(append(ours, theirs...), others).Max)}
	if len(theirs) > 0 {
		v.Peer, v.Theirs, v.PeerCPU = mosquittoPeer, median(theirs, perSecond), bench.Round(peers.Median)
		v.PeerMin, v.PeerMax = bench.Round(peers.Min), bench.Round(peers.Max)
		v.Ratio, v.RatioMin, v.RatioMax = bench.Round(mine.Median/peers.Median), bench.Round(ratios.Min), bench.Round(ratios.Max)
		v.PeerP50, v.PeerP99 = median(theirs, p50), median(theirs, p99)
	}
	return v
}

// serverMicros and loadMicros are the CPU for each unit of work, in microseconds.
func serverMicros(s bench.Sample) float64 { return s.Server.CPU.Seconds() * 1e6 / float64(s.Units) }
func loadMicros(s bench.Sample) float64   { return s.Load.CPU.Seconds() * 1e6 / float64(s.Units) }
