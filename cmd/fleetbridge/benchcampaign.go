package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/internal/bench"
)

// campaignGoal is one figure of `bench campaign` and what it may be at most; 0 for no goal.
type campaignGoal struct {
	name, unit string
	most       float64
}

// The figures of `bench campaign`, in the order of the work.
var campaignGoals = []campaignGoal{
	{"fill", "s", 0},             // the registry, by one process that has the store to itself
	{"plan", "s", 10},            // campaign/plan, until its reply
	{"start", "s", 60},           // from campaign/start until every device has its assignment
	{"status", "ms", 10},         // campaign/get while it started and while offers went out: the median
	{"status-p99", "ms", 10},     // its 99th percentile
	{"offers", "s", 60},          // from then until the first wave, 100,000 of 1,000,000, has been told
	{"cpu", "s", 0},              // of the server, from its start to the last offer
	{"memory", "MiB", 2048},      // of the server: the most that was resident
	{"restart", "s", 10},         // from the start of a server after kill -9 of the one before to its first reply
	{"restart-memory", "MiB", 0}, // then resident
	{"disk", "MiB", 0},           // of its data
}

// campaignResult is one figure.
type campaignResult struct {
	Bench   string  `json:"bench"`
	Case    string  `json:"case"`
	Devices int     `json:"devices"`
	Value   float64 `json:"value"`               // the median of the runs
	Min     float64 `json:"value_min,omitempty"` // where there are several
	Max     float64 `json:"value_max,omitempty"`
	Unit    string  `json:"unit"`
	Goal    float64 `json:"goal,omitempty"` // the most that it may be
	Met     *bool   `json:"met,omitempty"`
	Runs    int     `json:"runs"`
	Others  float64 `json:"others_cores"` // that processes which are no part of the bench took, at worst
}

var campaignSheet = bench.Sheet{Bench: "campaign", Columns: []bench.Column{
	bench.Text("devices", "devices"), bench.Text("what", "case"), bench.Figure("measured", "value"), bench.Text("unit", "unit"),
	bench.Verdict("goal: at most", "goal"),
}}

// benchCampaignFlags are the flags of `bench campaign`.
type benchCampaignFlags struct {
	benchFlags
	canary float64 // percent
	watch  time.Duration
}

func benchCampaign(a *app) *cobra.Command {
	o := benchCampaignFlags{benchFlags: benchFlags{runs: 1, devices: 1_000_000}, canary: 10, watch: time.Minute}
	c := &cobra.Command{Use: "campaign", Args: cobra.NoArgs,
		Short: "Plan, start and offer a campaign for a large registry, and restart its server",
		Long: "bench campaign fills the registry of a fresh server, and measures by the public commands: the plan, the start until\n" +
			"every device has its assignment, how long campaign/get takes meanwhile and while offers go out, how long it takes to\n" +
			"tell the first wave of the devices, and the time until a server serves again that was killed in the middle of it. No\n" +
			"device connects. The server is a process of its own, so its memory is."}
	o.addRuns(c.Flags())
	c.Flags().IntVar(&o.devices, "devices", o.devices, "devices in the registry")
	c.Flags().Float64Var(&o.canary, "canary", o.canary, "percent of the devices in the first wave, which is the only one that is told; 100: all are")
	c.Flags().DurationVar(&o.watch, "watch", o.watch, "how long its offers may take; the bench fails if they take longer")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.devices < 1 || o.runs < 1 || o.watch <= 0 || !(o.canary > 0 && o.canary <= 100) { // a NaN fails both comparisons
			return usagef("--devices, --runs, --watch and --canary must be above 0, --canary at most 100")
		}
		return a.runBench(cmd.Context(), campaignSheet, func(ctx context.Context, out *benchOutput) error {
			return a.campaignRuns(ctx, o, out)
		})
	}
	return c
}

// campaignRuns measures, and puts out each figure over all runs.
func (a *app) campaignRuns(ctx context.Context, o benchCampaignFlags, out *benchOutput) error {
	figures, others := map[string][]float64{}, 0.0
	for range o.runs {
		r := campaignRun{app: a, o: o, figures: figures}
		noise, err := r.run(ctx)
		if err != nil {
			return err
		}
		if others = max(others, noise); noise > bench.Noise && !o.noisy {
			return out.put(bench.Refused("campaign", "all", fmt.Errorf("%w (%.2f)", bench.ErrNoisy, noise)))
		}
	}
	for _, g := range campaignGoals {
		if err := out.put(g.result(o, figures[g.name], others)); err != nil {
			return err
		}
	}
	return nil
}

// result is the figure over all runs.
func (g campaignGoal) result(o benchCampaignFlags, runs []float64, others float64) campaignResult {
	s := bench.SpreadOf(runs...)
	r := campaignResult{Bench: "campaign", Case: g.name, Devices: o.devices, Value: bench.Round(s.Median), Unit: g.unit, Goal: g.most,
		Runs: len(runs), Others: bench.Round(others)}
	if len(runs) > 1 {
		r.Min, r.Max = bench.Round(s.Min), bench.Round(s.Max)
	}
	if g.most > 0 {
		met := s.Median <= g.most
		r.Met = &met
	}
	return r
}
