package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/ident"
	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/groupcommit"
	"fleetbridge/internal/bench/load"
	"fleetbridge/internal/bench/peer"
	"fleetbridge/topics"
)

// reportCase is how many reports of a device wait for their PUBACK, and what our rate must be of mosquitto's, at least.
type reportCase struct {
	name   string
	window int
	least  float64
}

var reportCases = []reportCase{{"w1", 1, 0.6}, {"w8", 8, 1}}

// halfP99 is what the 99th percentile of the latency may be at half of the top rate, at most, in milliseconds.
const halfP99 = 50

// rawSize is what a value of the raw rate has, in bytes: about what is written of a report.
const rawSize = 150

// reportResult compares our durable PUBACKs with mosquitto's, which promise nothing.
type reportResult struct {
	Bench    string  `json:"bench"`
	Case     string  `json:"case"`
	Window   int     `json:"window"`
	Ours     float64 `json:"ours_per_s"`
	OursMin  float64 `json:"ours_per_s_min"`
	OursMax  float64 `json:"ours_per_s_max"`
	Peer     string  `json:"peer,omitempty"`
	Theirs   float64 `json:"peer_per_s,omitempty"`
	PeerMin  float64 `json:"peer_per_s_min,omitempty"`
	PeerMax  float64 `json:"peer_per_s_max,omitempty"`
	Ratio    float64 `json:"ratio,omitempty"` // of the medians
	RatioMin float64 `json:"ratio_min,omitempty"`
	RatioMax float64 `json:"ratio_max,omitempty"`
	Goal     float64 `json:"goal"` // the least that ratio may be
	Met      bool    `json:"met"`
	Raw      float64 `json:"raw_per_s"` // of Badger alone
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	PeerP50  float64 `json:"peer_p50_ms,omitempty"`
	PeerP99  float64 `json:"peer_p99_ms,omitempty"`
	Half     float64 `json:"half_per_s"` // reached where half of the top rate was asked for
	HalfP50  float64 `json:"half_p50_ms"`
	HalfP99  float64 `json:"half_p99_ms"`
	HalfGoal float64 `json:"half_goal"` // the most that half_p99_ms may be
	HalfMet  bool    `json:"half_met"`

	OursCPU float64 `json:"ours_cpu_us"` // of the server, for each PUBACK
	PeerCPU float64 `json:"peer_cpu_us,omitempty"`
	LoadCPU float64 `json:"load_cpu_us"` // of the devices' process
	OursRSS int64   `json:"ours_rss_bytes"`
	Devices int     `json:"devices"`
	Runs    int     `json:"runs"`
	Others  float64 `json:"others_cores"` // that processes which are no part of the bench took, at worst
}

var reportSheet = bench.Sheet{Bench: "reports", Columns: []bench.Column{
	bench.Text("window", "window"), bench.Figure("ours, reports/s", "ours_per_s"), bench.Figure("mosquitto, PUBACKs/s", "peer_per_s"),
	bench.Figure("ratio", "ratio"), bench.Verdict("goal: at least", "goal"), bench.Figure("Badger alone, writes/s", "raw_per_s"),
	bench.Figure("p50 ms", "p50_ms"), bench.Figure("p99 ms", "p99_ms"),
	bench.Figure("p99 ms at half the rate", "half_p99_ms"), bench.VerdictOf("goal: at most", "half_goal", "half_met"),
	bench.Figure("ours, CPU µs each", "ours_cpu_us"), bench.Figure("mosquitto, CPU µs each", "peer_cpu_us"),
}}

func benchReports(a *app) *cobra.Command {
	var names []string
	for _, c := range reportCases {
		names = append(names, c.name)
	}
	o := benchFlags{devices: 1000, runs: 3, duration: 3 * time.Second, warmup: time.Second, cases: names}
	c := &cobra.Command{Use: "reports", Args: cobra.NoArgs,
		Short: "Record reports: durable PUBACKs per second beside those of mosquitto, which are not",
		Long: "bench reports lets devices with a live assignment report at QoS 1 without end: received, then downloading at a quarter,\n" +
			"a half and three quarters. Each is recorded on disk before its PUBACK, and counted afterwards. mosquitto gets the same\n" +
			"bytes, for nobody, and keeps nothing. Then reports go out by the clock at half of the top rate."}
	o.add(c.Flags())
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(names); err != nil {
			return err
		}
		return a.runBench(cmd.Context(), reportSheet, func(ctx context.Context, out *benchOutput) error {
			return withBench(func(b *bench.Bench, exe string) error { return a.reportCases(ctx, b, exe, o, out) })
		})
	}
	return c
}

func (a *app) reportCases(ctx context.Context, b *bench.Bench, exe string, o benchFlags, out *benchOutput) error {
	r := &reportArena{b: b, o: o, out: out}
	if err := r.open(ctx, exe); err != nil {
		return err
	}
	defer r.ours.cl.Close()
	for _, c := range reportCases {
		if !o.wants(c.name) {
			continue
		}
		a.say("▸ reports    %s: %d devices, %d runs of %v", c.name, o.devices, o.runs, o.duration)
		if err := r.measure(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// reportArena is our server and mosquitto, waiting.
type reportArena struct {
	b     *bench.Bench
	o     benchFlags
	out   *benchOutput
	ours  *benchServer
	fleet *benchFleet
	peer  *bench.Proc // nil: not installed
	at    string      // the peer's address
	runs  int         // so far, of ours and the peer
}

func (r *reportArena) open(ctx context.Context, exe string) (err error) {
	if r.ours, err = startBenchServer(ctx, r.b, exe, benchServerOptions{profile: r.o.profile}); err != nil {
		return err
	}
	if r.fleet, err = r.ours.fleet(ctx, r.b, r.o.devices, 1<<20); err != nil {
		return err
	}
	if err := r.fleet.offer(ctx); err != nil {
		return err
	}
	r.peer, r.at, err = peer.Mosquitto(ctx, r.b)
	if errors.Is(err, peer.ErrMissing) {
		r.peer, err = nil, nil
	}
	return err
}

const rawSide = "raw"

// measure takes the rounds of one case, and puts out its result.
func (r *reportArena) measure(ctx context.Context, c reportCase) error {
	contenders := []bench.Contender{
		{Name: oursSide, Run: func(ctx context.Context) (bench.Sample, error) { return r.report(ctx, c, 0) }},
		{Name: rawSide, Run: func(ctx context.Context) (bench.Sample, error) { return r.raw(ctx, c) }},
	}
	if r.peer == nil {
		if err := r.out.put(bench.Missing("reports", c.name, mosquittoPeer)); err != nil {
			return err
		}
	} else {
		contenders = append(contenders, bench.Contender{Name: mosquittoPeer, Run: func(ctx context.Context) (bench.Sample, error) { return r.forNobody(ctx, c) }})
	}
	samples, err := bench.Rounds(ctx, r.o.runs, r.o.noisy, contenders...)
	if err == nil {
		top := bench.Over(samples[oursSide], perSecond).Median
		var half map[string][]bench.Sample
		half, err = bench.Rounds(ctx, r.o.runs, r.o.noisy, bench.Contender{Name: halfSide, Run: func(ctx context.Context) (bench.Sample, error) {
			return r.report(ctx, c, top/2)
		}})
		samples[halfSide] = half[halfSide]
	}
	switch {
	case errors.Is(err, bench.ErrNoisy):
		return r.out.put(bench.Refused("reports", c.name, err))
	case err != nil:
		return err
	}
	return r.out.put(r.result(c, samples))
}

const halfSide = "half"

func (r *reportArena) params(addr string, c reportCase) load.ReportParams {
	r.runs++
	return load.ReportParams{Target: load.Target{Addr: addr}, Tenant: benchTenant, Devices: r.fleet.ids, Manifest: r.fleet.manifest.Digest,
		Size: uint64(r.fleet.size), Seq: uint32(r.runs) << 20, Window: c.window}
}

// report measures ours, and checks that what was acknowledged is recorded. rate 0 is as fast as it goes.
func (r *reportArena) report(ctx context.Context, c reportCase, rate float64) (s bench.Sample, err error) {
	before, err := r.recorded(ctx)
	if err != nil {
		return s, err
	}
	p := r.params(r.ours.addr, c)
	p.Rate = rate
	devices, err := r.b.Role(ctx, "report-load", p, nil, time.Minute)
	if err != nil {
		return s, err
	}
	defer devices.Stop()
	if s, err = r.b.Measure(ctx, bench.Interval{Warmup: r.o.warmup, For: r.o.duration, Around: r.ours.around()}, devices, r.ours.Proc); err != nil {
		return s, err
	}
	acked, err := lastReports(ctx, devices)
	if err != nil {
		return s, err
	}
	after, err := r.recorded(ctx)
	if err == nil && after-before != acked {
		err = fmt.Errorf("%d reports were acknowledged, %d are recorded: %w", acked, after-before, errNotRecorded)
	}
	return s, err
}

var errNotRecorded = errors.New("a PUBACK without a record")

// lastReports ends the reports, and returns how many were acknowledged in all.
func lastReports(ctx context.Context, devices *bench.Proc) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := devices.Begin(ctx); err != nil {
		return 0, err
	}
	for {
		var n load.ReportCounts
		if err := devices.Mark(ctx, &n); err != nil || n.Waiting == 0 {
			return n.Units, err
		}
		select { // the last PUBACKs come from another process, which has nothing to wake us with
		case <-ctx.Done():
			return 0, fmt.Errorf("%d reports without PUBACK: %w", n.Waiting, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// recorded is how many reports the campaign has counted.
func (r *reportArena) recorded(ctx context.Context) (uint64, error) {
	id, err := ident.ParseCampaign(r.fleet.name)
	if err != nil {
		return 0, err
	}
	var v topics.CampaignView
	err = r.ours.cl.Do(ctx, "campaign", "get", topics.CampaignRef{Campaign: id}, &v)
	return v.Progress.Reports, err
}

// forNobody measures mosquitto, which nobody is subscribed to.
func (r *reportArena) forNobody(ctx context.Context, c reportCase) (bench.Sample, error) {
	devices, err := r.b.Role(ctx, "report-load", r.params(r.at, c), nil, time.Minute)
	if err != nil {
		return bench.Sample{}, err
	}
	defer devices.Stop()
	return r.b.Measure(ctx, bench.Interval{Warmup: r.o.warmup, For: r.o.duration}, devices, r.peer)
}

// raw measures Badger alone, with as many writers as reports wait.
func (r *reportArena) raw(ctx context.Context, c reportCase) (bench.Sample, error) {
	dir, err := os.MkdirTemp(r.b.Dir, "raw-")
	if err != nil {
		return bench.Sample{}, fmt.Errorf("make folder: %w", err)
	}
	p := groupcommit.Params{Dir: filepath.Join(dir, "store"), Writers: r.o.devices * c.window, Size: rawSize}
	writers, err := r.b.Role(ctx, "raw-writes", p, nil, time.Minute)
	if err != nil {
		return bench.Sample{}, err
	}
	defer writers.Stop()
	return r.b.Measure(ctx, bench.Interval{Warmup: r.o.warmup, For: r.o.duration}, writers)
}

func perSecond(s bench.Sample) float64 { return float64(s.Units) / s.Seconds }

func (r *reportArena) result(c reportCase, samples map[string][]bench.Sample) reportResult {
	ours, theirs, half := samples[oursSide], samples[mosquittoPeer], samples[halfSide]
	median := func(s []bench.Sample, f func(bench.Sample) float64) float64 {
		return bench.Round(bench.Over(s, f).Median)
	}
	p50, p99 := func(s bench.Sample) float64 { return s.P50 }, func(s bench.Sample) float64 { return s.P99 }
	others := func(s bench.Sample) float64 { return s.Others }
	mine, peers, ratios := bench.Over(ours, perSecond), bench.Over(theirs, perSecond), bench.Ratios(ours, theirs, perSecond)
	v := reportResult{Bench: "reports", Case: c.name, Window: c.window, Goal: c.least, HalfGoal: halfP99, Devices: r.o.devices, Runs: r.o.runs,
		Ours: bench.Round(mine.Median), OursMin: bench.Round(mine.Min), OursMax: bench.Round(mine.Max),
		Raw: median(samples[rawSide], perSecond), P50: median(ours, p50), P99: median(ours, p99),
		Half: median(half, perSecond), HalfP50: median(half, p50), HalfP99: median(half, p99),
		OursCPU: median(ours, serverMicros), LoadCPU: median(ours, loadMicros),
		OursRSS: int64(bench.Over(ours, func(s bench.Sample) float64 { return float64(s.Server.RSS) }).Median),
		Others:  bench.Round(bench.Over(append(append(ours, theirs...), half...), others).Max)}
	v.HalfMet = v.HalfP99 <= halfP99
	if len(theirs) > 0 {
		v.Peer, v.Theirs, v.PeerMin, v.PeerMax = mosquittoPeer, bench.Round(peers.Median), bench.Round(peers.Min), bench.Round(peers.Max)
		v.Ratio, v.RatioMin, v.RatioMax = bench.Round(mine.Median/peers.Median), bench.Round(ratios.Min), bench.Round(ratios.Max)
		v.PeerP50, v.PeerP99, v.PeerCPU = median(theirs, p50), median(theirs, p99), median(theirs, serverMicros)
		v.Met = mine.Median >= c.least*peers.Median
	}
	return v
}
