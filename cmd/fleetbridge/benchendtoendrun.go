package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/load"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// ownCosts measures a campaign, and each of its two paths alone.
func (a *app) ownCosts(ctx context.Context, o endToEndFlags, out *benchOutput) error {
	a.say("▸ endtoend   %d devices × %s, chunks of %s, window %d", o.devices, bytesText(o.size), bytesText(int64(o.chunk)), o.window)
	samples, err := bench.Rounds(ctx, o.runs, o.noisy,
		bench.Contender{Name: chunkPath, Run: a.alone(o, func(ctx context.Context, b *bench.Bench, ours *benchServer, f *benchFleet) (bench.Sample, error) {
			r := &chunkArena{b: b, o: o.pathFlags(), ours: ours, fleet: f}
			s, _, err := r.run(ctx, chunkCase{chunk: o.chunk, window: o.window}, chunkSide{protocol: load.Ours, addr: ours.addr, procs: []*bench.Proc{ours.Proc}})
			return s, err
		})},
		bench.Contender{Name: reportPath, Run: a.alone(o, func(ctx context.Context, b *bench.Bench, ours *benchServer, f *benchFleet) (bench.Sample, error) {
			r := &reportArena{b: b, o: o.pathFlags(), ours: ours, fleet: f}
			return r.report(ctx, reportCase{window: 1}, 0)
		})},
		bench.Contender{Name: wholePath, Run: a.whole(o, o.devices, o.size)})
	switch {
	case errors.Is(err, bench.ErrNoisy):
		return out.put(bench.Refused("endtoend", ownCostsCase, err))
	case err != nil:
		return err
	}
	return out.put(ownCostsResult(o, samples))
}

// The contenders of own-costs.
const (
	chunkPath  = "chunks"
	reportPath = "reports"
	wholePath  = "campaign"
)

// pathDevices are connected where a path is measured alone, as in the bench of that path.
const pathDevices = 1000

func (o endToEndFlags) pathFlags() benchFlags {
	return benchFlags{devices: pathDevices, duration: o.duration, warmup: time.Second}
}

// alone measures one path on a fresh server whose devices have their offer.
func (a *app) alone(o endToEndFlags, path func(context.Context, *bench.Bench, *benchServer, *benchFleet) (bench.Sample, error)) func(context.Context) (bench.Sample, error) {
	return func(ctx context.Context) (s bench.Sample, err error) {
		err = withBench(func(b *bench.Bench, exe string) error {
			ours, err := startBenchServer(ctx, b, exe, benchServerOptions{})
			if err != nil {
				return err
			}
			defer ours.cl.Close()
			window := int64(o.chunk) * int64(o.window)
			f, err := ours.fleet(ctx, b, min(pathDevices, o.devices), max(1, (16<<20)/window)*window)
			if err != nil {
				return err
			}
			if err := f.offer(ctx); err != nil {
				return err
			}
			s, err = path(ctx, b, ours, f)
			return err
		})
		return s, err
	}
}

// growth measures the same campaign with a small and a large fleet.
func (a *app) growth(ctx context.Context, o endToEndFlags, out *benchOutput) error {
	a.say("▸ endtoend   %d and %d devices × %s", o.growthFrom, o.growthTo, bytesText(o.growthSize))
	const small, large = "small", "large"
	samples, err := bench.Rounds(ctx, o.runs, o.noisy,
		bench.Contender{Name: small, Run: a.whole(o, o.growthFrom, o.growthSize)},
		bench.Contender{Name: large, Run: a.whole(o, o.growthTo, o.growthSize)})
	switch {
	case errors.Is(err, bench.ErrNoisy):
		return out.put(bench.Refused("endtoend", growthCase, err))
	case err != nil:
		return err
	}
	r := endToEndResult{Case: growthCase, Devices: o.growthTo, Payload: o.growthSize, Goal: growthGoal, Base: fmt.Sprintf("%d devices", o.growthFrom)}
	return out.put(r.of(o, samples[large], perDevice(samples[small], o.growthFrom)))
}

// perDevice is the server's CPU for each device, in milliseconds, run by run.
func perDevice(samples []bench.Sample, devices int) []float64 {
	var out []float64
	for _, s := range samples {
		out = append(out, s.Server.CPU.Seconds()*1000/float64(devices))
	}
	return out
}

// ownCostsResult adds up, run by run, what the campaign's bytes and reports cost on their own.
func ownCostsResult(o endToEndFlags, samples map[string][]bench.Sample) endToEndResult {
	perByte := func(s bench.Sample) float64 { return s.Server.CPU.Seconds() / float64(s.Bytes) }
	perReport := func(s bench.Sample) float64 { return s.Server.CPU.Seconds() / float64(s.Units) }
	var base []float64
	for i, s := range samples[wholePath] {
		cost := float64(s.Bytes)*perByte(samples[chunkPath][i]) + float64(s.Units)*perReport(samples[reportPath][i])
		base = append(base, cost*1000/float64(o.devices))
	}
	r := endToEndResult{Case: ownCostsCase, Devices: o.devices, Payload: o.size, Goal: ownCostsGoal, Base: "chunks and reports alone",
		ChunkCost: bench.Round(bench.Over(samples[chunkPath], perByte).Median * 1e9), ReportCost: bench.Round(bench.Over(samples[reportPath], perReport).Median * 1e6)}
	return r.of(o, samples[wholePath], base)
}

// of fills in what is the same in all cases; base is what each device may be compared with, run by run.
func (r endToEndResult) of(o endToEndFlags, ours []bench.Sample, base []float64) endToEndResult {
	mine := perDevice(ours, r.Devices)
	var ratios []float64
	for i := range mine {
		ratios = append(ratios, mine[i]/base[i])
	}
	a, b, c := bench.SpreadOf(mine...), bench.SpreadOf(base...), bench.SpreadOf(ratios...)
	median := func(f func(bench.Sample) float64) float64 { return bench.Round(bench.Over(ours, f).Median) }
	count := func(f func(bench.Sample) float64) int64 { return int64(bench.Over(ours, f).Median) }
	r.Bench, r.Chunk, r.Window, r.Runs = "endtoend", o.chunk, o.window, o.runs
	r.Ours, r.Theirs, r.Ratio = bench.Round(a.Median), bench.Round(b.Median), bench.Round(a.Median/b.Median)
	if len(ours) > 1 {
		r.OursMin, r.OursMax, r.BaseMin, r.BaseMax = bench.Round(a.Min), bench.Round(a.Max), bench.Round(b.Min), bench.Round(b.Max)
		r.RatioMin, r.RatioMax = bench.Round(c.Min), bench.Round(c.Max)
	}
	r.Met = a.Median <= r.Goal*b.Median
	r.ServerCPU = median(func(s bench.Sample) float64 { return s.Server.CPU.Seconds() })
	r.Seconds = median(func(s bench.Sample) float64 { return s.Seconds })
	r.ChunkBytes = count(func(s bench.Sample) float64 { return float64(s.Bytes) })
	r.Reports = count(func(s bench.Sample) float64 { return float64(s.Units) })
	r.P50, r.P99 = median(func(s bench.Sample) float64 { return s.P50 }), median(func(s bench.Sample) float64 { return s.P99 })
	r.ServerPeak = count(func(s bench.Sample) float64 { return float64(s.Server.Peak) })
	r.Load = median(func(s bench.Sample) float64 { return s.Load.CPU.Seconds() * 1000 / float64(r.Devices) })
	r.LoadPeak = count(func(s bench.Sample) float64 { return float64(s.Load.Peak) })
	r.Others = bench.Round(bench.Over(ours, func(s bench.Sample) float64 { return s.Others }).Max)
	return r
}

// benchTiming is of devices whose server has all of them to serve at once on a few cores: they are patient.
var benchTiming = simulator.Timing{Spread: 2 * time.Second, AckTimeout: time.Minute, ChunkTimeout: 20 * time.Second, Dial: 30 * time.Second}

// campaignWithin is how long the campaign of a bench may take.
const campaignWithin = 2 * time.Minute

// whole takes a fleet, a process of its own, through a campaign on a fresh server. The sample is of the campaign alone, from
// its creation to the last confirmation: units are reports, latencies those of their PUBACKs.
func (a *app) whole(o endToEndFlags, devices int, size int64) func(context.Context) (bench.Sample, error) {
	return func(ctx context.Context) (s bench.Sample, err error) {
		err = withBench(func(b *bench.Bench, exe string) error {
			so := benchServerOptions{}
			if o.profile != "" {
				so.profile = fmt.Sprintf("%s-%d", o.profile, devices)
			}
			ours, err := startBenchServer(ctx, b, exe, so)
			if err != nil {
				return err
			}
			defer ours.cl.Close()
			f := &fleetSetup{cl: ours.cl, name: "bench", devices: devices, seed: 1, size: size, chunk: uint32(o.chunk), window: uint32(o.window)}
			if err := f.publish(ctx); err != nil {
				return err
			}
			ids, err := f.provision(ctx)
			if err != nil {
				return err
			}
			share, err := f.share(ours.op, ids)
			if err != nil {
				return err
			}
			share.Config.Timing = benchTiming
			on, err := powerParts(ctx, b, []fleetShare{share})
			if err != nil {
				return err
			}
			if _, err := awaitReady(ctx, on); err != nil {
				return err
			}
			s, err = measureCampaign(ctx, f, on, ours)
			return err
		})
		return s, err
	}
}

// measureCampaign runs the campaign of a fleet that is connected.
func measureCampaign(ctx context.Context, f *fleetSetup, on *sharedPower, ours *benchServer) (s bench.Sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, campaignWithin)
	defer cancel()
	before, err := on.look(ctx)
	if err != nil {
		return s, err
	}
	if around := ours.around(); around != nil {
		defer around()()
	}
	span, err := bench.StartSpan(on.parts, ours.Proc)
	if err != nil {
		return s, err
	}
	id, err := f.campaign(ctx, simPolicy(nil, campaignWithin))
	if err != nil {
		return s, err
	}
	if err := allConfirmed(ctx, f, id); err != nil {
		return s, err
	}
	if s, err = span.End(); err != nil {
		return s, err
	}
	after, err := on.look(ctx)
	if err != nil {
		return s, err
	}
	s.Units, s.Bytes = uint64(after.Stats.Acknowledged-before.Stats.Acknowledged), uint64(after.Stats.ChunkBytes-before.Stats.ChunkBytes)
	s.P50, s.P99 = milliseconds(after.Stats.Puback.Quantile(0.5)), milliseconds(after.Stats.Puback.Quantile(0.99))
	return s, nil
}

// allConfirmed waits until the campaign has confirmed every device.
func allConfirmed(ctx context.Context, f *fleetSetup, id ident.Campaign) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var v topics.CampaignView
		if err := f.cl.Do(ctx, "campaign", "get", topics.CampaignRef{Campaign: id}, &v); err != nil {
			return err
		}
		n := v.Progress.Counts[string(campaign.Confirmed)]
		switch {
		case n == uint64(f.devices):
			return nil
		case v.State == string(campaign.Stopped):
			return fmt.Errorf("the campaign stopped with %d of %d devices confirmed: %s", n, f.devices, v.Reason)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d devices are confirmed: %w", n, f.devices, ctx.Err())
		}
	}
}
