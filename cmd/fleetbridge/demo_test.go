package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetbridge/simulator"
)

// runCommand runs a command line in this process.
func runCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, words bytes.Buffer
	e := env{stdin: strings.NewReader(""), stdout: &out, stderr: &words, getenv: func(string) string { return "" }}
	code = run(t.Context(), e, args)
	return code, out.String(), words.String()
}

// demoResult runs the demo and decodes the last line of its stdout, strictly: exactly these members are promised.
func demoResult(t *testing.T, args ...string) result {
	t.Helper()
	code, stdout, stderr := runCommand(t, append([]string{"demo", "-o", "json"}, args...)...)
	if code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	lines := strings.Split(strings.TrimRight(stdout, "\n"), "\n")
	dec := json.NewDecoder(strings.NewReader(lines[len(lines)-1]))
	dec.DisallowUnknownFields()
	var r result
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("the last line of stdout: %v\n%s", err, stdout)
	}
	return r
}

// TestDemo runs the demo twice with one seed: the same outcomes, and those that the faults of its devices call for.
func TestDemo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	const devices, seed = 120, 11
	args := []string{"--devices", fmt.Sprint(devices), "--seed", fmt.Sprint(seed), "--payload-size", "64KiB"}
	a, b := demoResult(t, args...), demoResult(t, args...)
	want := map[simulator.Outcome]uint64{}
	for i := range devices {
		want[simulator.Plan(seed, fmt.Sprintf("demo/demo-%d-%05d", seed, i), simulator.DefaultMix()).Expect()]++
	}
	for _, r := range []result{a, b} {
		got := map[simulator.Outcome]uint64{simulator.Confirmed: r.Confirmed, simulator.Silent: r.Silent, simulator.Skipped: r.Skipped}
		for o, n := range got {
			if n != want[o] {
				t.Errorf("%s: %d, want %d", o, n, want[o])
			}
		}
		if failed := want[simulator.Failed] + want[simulator.Rejected]; r.Failed != failed {
			t.Errorf("failed: %d, want %d", r.Failed, failed)
		}
		if r.Devices != devices || r.Devices != r.Confirmed+r.Failed+r.Silent+r.Skipped {
			t.Errorf("the outcomes do not add up: %+v", r)
		}
		if r.Acknowledged == 0 || uint64(r.Acknowledged) > r.Recorded {
			t.Errorf("%d reports acknowledged, %d recorded", r.Acknowledged, r.Recorded)
		}
		if r.Outcome != "succeeded" || r.Payload != 64<<10 || r.ChunkBytes < int64(r.Confirmed)*r.Payload || r.Campaign == "" || r.Elapsed <= 0 {
			t.Errorf("%+v", r)
		}
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "fleetbridge-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestDemoFails ends with the code for a campaign that did not succeed, and a summary that says why.
func TestDemoFails(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	code, stdout, stderr := runCommand(t, "demo", "--devices", "20", "--payload-size", "1KiB", "--faults", "signature=100%")
	if code != exitCampaign {
		t.Errorf("exit code %d, want %d", code, exitCampaign)
	}
	for _, want := range []string{"autostopped", "failed: signature-invalid"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the summary lacks %q:\n%s", want, stdout)
		}
	}
	if !strings.Contains(stderr, "did not succeed") {
		t.Errorf("stderr: %s", stderr)
	}
}

// TestDemoInterrupted stops the demo while it runs: it leaves nothing, and says so by its exit code.
func TestDemoInterrupted(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	signals := make(chan os.Signal, 1)
	words := &signalWriter{want: "campaign", signals: signals}
	e := env{stdin: strings.NewReader(""), stdout: new(bytes.Buffer), stderr: words, getenv: func(string) string { return "" }, interrupts: signals}
	if code := run(context.Background(), e, []string{"demo", "--devices", "50", "--payload-size", "1MiB"}); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// signalWriter interrupts the program when it says a certain word.
type signalWriter struct {
	want    string
	signals chan<- os.Signal
}

func (w *signalWriter) Write(b []byte) (int, error) {
	if strings.Contains(string(b), w.want) {
		select {
		case w.signals <- os.Interrupt:
		default:
		}
	}
	return len(b), nil
}
