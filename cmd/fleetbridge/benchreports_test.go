package main

import (
	"encoding/json"
	"testing"

	"fleetbridge/internal/bench"
)

// figures fails unless each of keys is a number above 0 in r.
func figures(t *testing.T, r bench.Record, keys ...string) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if v, ok := r[k].(float64); !ok || v <= 0 {
			t.Errorf("%s is %v in %s", k, r[k], text)
		}
	}
}

// peers splits records into those that measure and those that say that a peer is missing.
func peers(records []bench.Record) (measured []bench.Record, missing int) {
	for _, r := range records {
		if r["missing"] == true {
			missing++
		} else {
			measured = append(measured, r)
		}
	}
	return measured, missing
}

func TestBenchReports(t *testing.T) {
	measured, missing := peers(runBenchCommand(t, "reports", "--devices", "10", "--runs", "1", "--duration", "200ms", "--warmup", "50ms", "--noisy"))
	if len(measured) != 2 {
		t.Fatalf("%d cases", len(measured))
	}
	for _, r := range measured {
		figures(t, r, "window", "ours_per_s", "goal", "raw_per_s", "p50_ms", "p99_ms", "half_per_s", "half_p99_ms", "ours_cpu_us", "ours_rss_bytes")
		if missing == 0 {
			figures(t, r, "peer_per_s", "ratio", "peer_p99_ms")
		}
	}
}
