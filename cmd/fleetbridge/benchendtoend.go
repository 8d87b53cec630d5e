package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/internal/bench"
	"fleetbridge/topics"
)

// endToEndFlags are the flags of `bench endtoend`.
type endToEndFlags struct {
	benchFlags
	size          int64
	chunk, window int

	growthFrom, growthTo int
	growthSize           int64
}

// The cases of `bench endtoend`, and what the ratio of each may be at most.
const (
	ownCostsCase = "own-costs"
	ownCostsGoal = 1.25
	growthCase   = "growth"
	growthGoal   = 1.2
)

// endToEndResult compares the server's CPU for one campaign, from its creation to the last confirmation, with a base.
type endToEndResult struct {
	Bench    string  `json:"bench"`
	Case     string  `json:"case"`
	Devices  int     `json:"devices"`
	Payload  int64   `json:"payload_bytes"` // of each device
	Chunk    int     `json:"chunk_bytes"`
	Window   int     `json:"window"`
	Ours     float64 `json:"server_cpu_ms_per_device"`
	OursMin  float64 `json:"server_cpu_ms_per_device_min,omitempty"`
	OursMax  float64 `json:"server_cpu_ms_per_device_max,omitempty"`
	Base     string  `json:"base"` // what it is compared with
	Theirs   float64 `json:"base_cpu_ms_per_device"`
	BaseMin  float64 `json:"base_cpu_ms_per_device_min,omitempty"`
	BaseMax  float64 `json:"base_cpu_ms_per_device_max,omitempty"`
	Ratio    float64 `json:"ratio"` // of the medians
	RatioMin float64 `json:"ratio_min,omitempty"`
	RatioMax float64 `json:"ratio_max,omitempty"`
	Goal     float64 `json:"goal"` // the most that ratio may be
	Met      bool    `json:"met"`
	Runs     int     `json:"runs"`

	// What the base of own-costs is made of.
	ChunkCost  float64 `json:"chunk_cpu_s_per_gb,omitempty"`
	ReportCost float64 `json:"report_cpu_us,omitempty"`

	ServerCPU  float64 `json:"server_cpu_s"`
	Seconds    float64 `json:"seconds"`
	ChunkBytes int64   `json:"bytes"`   // of payload that devices received
	Reports    int64   `json:"reports"` // that were acknowledged
	P50        float64 `json:"puback_p50_ms"`
	P99        float64 `json:"puback_p99_ms"`
	ServerPeak int64   `json:"server_peak_bytes"`
	Load       float64 `json:"load_cpu_ms_per_device"` // devices check signatures and digests
	LoadPeak   int64   `json:"load_peak_bytes"`
	Others     float64 `json:"others_cores"`
}

var endToEndSheet = bench.Sheet{Bench: "endtoend", Columns: []bench.Column{
	bench.Text("devices", "devices"), bench.Figure("server, CPU ms/device", "server_cpu_ms_per_device"),
	bench.Text("beside", "base"), bench.Figure("CPU ms/device", "base_cpu_ms_per_device"),
	bench.Figure("ratio", "ratio"), bench.Verdict("goal: at most", "goal"), bench.Figure("took, s", "seconds"),
	bench.Figure("PUBACK p50, ms", "puback_p50_ms"), bench.Figure("p99, ms", "puback_p99_ms"), bench.Figure("devices' CPU ms/device", "load_cpu_ms_per_device"),
}}

func benchEndToEnd(a *app) *cobra.Command {
	o := endToEndFlags{benchFlags: benchFlags{runs: 1, devices: 10_000, duration: 3 * time.Second}, window: 8, growthFrom: 1000, growthTo: 18_000}
	size, chunk, growth := "1MiB", "16KiB", "128KiB"
	c := &cobra.Command{Use: "endtoend", Args: cobra.NoArgs,
		Short: "Take a fleet through a campaign: server CPU per device beside its paths alone, and as the fleet grows",
		Long: "bench endtoend updates every device of a fleet in one wave without limits, from the offer to the proof after the reboot.\n" +
			"The case own-costs holds the server's CPU against what the same bytes and reports cost where chunks, and reports, are all\n" +
			"that it does; both are measured beside. The case growth holds the CPU per device of a large fleet against a small one's.\n" +
			"The devices are a process of their own: they verify signatures and digests, which is their CPU and not the server's."}
	o.addRuns(c.Flags())
	f := c.Flags()
	f.IntVar(&o.devices, "devices", o.devices, "devices of own-costs")
	f.StringVar(&size, "payload-size", size, "their payload")
	f.StringVar(&chunk, "chunk-size", chunk, "size of the chunks that all devices ask for")
	f.IntVar(&o.window, "window", o.window, "chunks that a device asks for at once")
	f.DurationVar(&o.duration, "duration", o.duration, "how long each path alone is measured")
	f.IntVar(&o.growthFrom, "growth-from", o.growthFrom, "devices of the small fleet of growth")
	f.IntVar(&o.growthTo, "growth-to", o.growthTo, "devices of the large one")
	f.StringVar(&growth, "growth-size", growth, "payload of both")
	f.StringSliceVar(&o.cases, "case", nil, "only these cases: "+ownCostsCase+", "+growthCase)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.read(size, chunk, growth); err != nil {
			return err
		}
		return a.runBench(cmd.Context(), endToEndSheet, func(ctx context.Context, out *benchOutput) error {
			return a.endToEnd(ctx, o, out)
		})
	}
	return c
}

// read takes the sizes, and refuses what can't be measured.
func (o *endToEndFlags) read(size, chunk, growth string) error {
	n := int64(0)
	for text, into := range map[string]*int64{size: &o.size, chunk: &n, growth: &o.growthSize} {
		v, err := parseSize(text)
		if err != nil {
			return err
		}
		*into = v
	}
	o.chunk = int(n)
	if err := o.check([]string{ownCostsCase, growthCase}); err != nil {
		return err
	}
	if o.growthFrom < 1 || o.growthTo < 1 || o.size < 1 || o.growthSize < 1 {
		return usagef("fleets and payloads must not be empty")
	}
	if n < topics.MinChunk || n > topics.MaxChunk || o.window < 1 || o.window > topics.MaxWindow || n*int64(o.window) > topics.MaxFetch {
		return usagef("--chunk-size %s with --window %d is no fetch", chunk, o.window)
	}
	for _, devices := range []int{o.devices, o.growthFrom, o.growthTo} {
		if err := (simFlags{devices: devices, processes: 1}).fits(); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) endToEnd(ctx context.Context, o endToEndFlags, out *benchOutput) error {
	if o.wants(ownCostsCase) {
		if err := a.ownCosts(ctx, o, out); err != nil {
			return fmt.Errorf("%s: %w", ownCostsCase, err)
		}
	}
	if o.wants(growthCase) {
		if err := a.growth(ctx, o, out); err != nil {
			return fmt.Errorf("%s: %w", growthCase, err)
		}
	}
	return nil
}
