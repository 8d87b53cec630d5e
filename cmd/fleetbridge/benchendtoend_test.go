package main

import (
	"testing"
	"time"

	"fleetbridge/internal/bench"
)

// TestBenchEndToEnd takes small fleets through their campaigns, and each path alone.
func TestBenchEndToEnd(t *testing.T) {
	records := runBenchCommand(t, "endtoend", "--noisy", "--devices", "20", "--payload-size", "40KiB", "--duration", "200ms",
		"--growth-from", "5", "--growth-to", "12", "--growth-size", "4KiB")
	if len(records) != 2 || records[0].Text("case") != ownCostsCase || records[1].Text("case") != growthCase {
		t.Fatalf("records %v", records)
	}
	for i, want := range []struct{ devices, bytes float64 }{{20, 20 * 40 << 10}, {12, 12 * 4 << 10}} {
		r := records[i]
		// A device reports six times and up to twice on its progress; the last time may come after its proof, which is a hello.
		if r.Number("devices") != want.devices || r.Number("bytes") != want.bytes || r.Number("reports") < 5*want.devices || r.Number("reports") > 8*want.devices {
			t.Errorf("%v devices, bytes, reports, want %v: %v", i, want, r)
		}
		for _, name := range []string{"seconds", "puback_p50_ms", "puback_p99_ms", "server_peak_bytes", "load_peak_bytes"} {
			if !(r.Number(name) > 0) {
				t.Errorf("%s of case %s is %v", name, r.Text("case"), r[name])
			}
		}
	}
	for _, name := range []string{"chunk_cpu_s_per_gb", "report_cpu_us"} {
		if !(records[0].Number(name) > 0) {
			t.Errorf("%s is %v", name, records[0][name])
		}
	}
}

// TestOwnCosts adds up what bytes and reports cost, run by run.
func TestOwnCosts(t *testing.T) {
	sample := func(cpu time.Duration, bytes, units uint64) bench.Sample {
		s := bench.Sample{Seconds: 1}
		s.Server.CPU, s.Bytes, s.Units = cpu, bytes, units
		return s
	}
	o := endToEndFlags{benchFlags: benchFlags{devices: 10, runs: 2}}
	r := ownCostsResult(o, map[string][]bench.Sample{
		chunkPath:  {sample(time.Second, 1e9, 5), sample(2*time.Second, 1e9, 5)},
		reportPath: {sample(time.Second, 1, 100_000), sample(time.Second, 1, 100_000)},
		// 2 GB and 50,000 reports cost 2.5 s in the first run and 4.5 s in the second.
		wholePath: {sample(5*time.Second, 2e9, 50_000), sample(9*time.Second, 2e9, 50_000)},
	})
	if r.Theirs != 350 || r.BaseMin != 250 || r.BaseMax != 450 || r.Ours != 700 || r.Ratio != 2 || r.RatioMin != 2 || r.RatioMax != 2 || r.Met {
		t.Errorf("%+v", r)
	}
	if r.ChunkCost != 1.5 || r.ReportCost != 10 {
		t.Errorf("a GB costs %v s, a report %v µs", r.ChunkCost, r.ReportCost)
	}
	for ratio, met := range map[float64]bool{1.25: true, 1.26: false} {
		r := (endToEndResult{Devices: 1, Goal: ownCostsGoal}).of(o, []bench.Sample{sample(time.Duration(ratio*float64(time.Second)), 1, 1)}, []float64{1000})
		if r.Met != met {
			t.Errorf("ratio %v is met: %v", ratio, r.Met)
		}
	}
}
