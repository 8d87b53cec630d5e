package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"fleetbridge/internal/bench"
)

// runBenchCommand runs the built binary's bench with few devices for a short time, and returns what it printed. Nothing may be
// left behind.
func runBenchCommand(t *testing.T, args ...string) []bench.Record {
	t.Helper()
	tmp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), builtBinary(t), append([]string{"bench", "-o", "json", "--quiet"}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, problems.String())
	}
	records, err := bench.ReadRecords(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return records
}

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

func TestBenchRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"reports", "--devices", "0"}, {"reports", "--case", "w2"},
	} {
		err := exec.CommandContext(t.Context(), builtBinary(t), append([]string{"bench"}, args...)...).Run()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != exitUsage {
			t.Errorf("%v: %v, want exit %d", args, err, exitUsage)
		}
	}
}
