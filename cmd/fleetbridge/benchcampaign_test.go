package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// TestBenchCampaign runs the benchmark on a small fleet: it measures everything that it has a member for, by the public
// commands alone, and leaves nothing behind.
func TestBenchCampaign(t *testing.T) {
	const devices = 60
	tmp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), builtBinary(t), "bench", "campaign", "--devices", "60", "--watch", "200ms", "-o", "json", "--quiet")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, problems.String())
	}
	var got map[string]float64
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	members := reflect.TypeFor[benchResult]()
	for i := range members.NumField() {
		name := members.Field(i).Tag.Get("json")
		if v, ok := got[name]; !ok || v <= 0 && !(name == "peak_rss_bytes" && runtime.GOOS != "linux") {
			t.Errorf("%s is %v, %v in %s", name, v, ok, out)
		}
	}
	if len(got) != members.NumField() {
		t.Errorf("%d members in %s, want %d", len(got), out, members.NumField())
	}
	if got["devices"] != devices || got["offers"] > devices {
		t.Errorf("%v devices, %v offers, want %d and no more", got["devices"], got["offers"], devices)
	}
	if m, p, x := got["status_median_seconds"], got["status_p99_seconds"], got["status_max_seconds"]; m > p || p > x {
		t.Errorf("status: median %v, p99 %v, max %v", m, p, x)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBenchCampaignRefuses: a benchmark of nothing is a mistake in the command.
func TestBenchCampaignRefuses(t *testing.T) {
	err := exec.CommandContext(t.Context(), builtBinary(t), "bench", "campaign", "--devices", "0").Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
		t.Errorf("exit is %v, want %d", err, exitUsage)
	}
}
