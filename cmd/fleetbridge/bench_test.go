package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleetbridge/internal/bench"
)

func linuxOnly(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip(bench.ErrUnsupported)
	}
}

// runBenchCommand runs a bench of the built binary, and returns its records; it leaves nothing behind.
func runBenchCommand(t *testing.T, args ...string) []bench.Record {
	t.Helper()
	linuxOnly(t)
	tmp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), builtBinary(t), append([]string{"bench", "-o", "json"}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, problems.String())
	}
	records, err := bench.ReadRecords(bytes.NewReader(out))
	if err != nil || len(records) == 0 || bytes.Count(out, []byte("\n")) != len(records) {
		t.Fatalf("%d records, an object a line; %v in\n%s", len(records), err, out)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for _, r := range records {
		if r["missing"] == true && os.Getenv("FLEETBRIDGE_REQUIRE_SERVICES") != "" {
			t.Errorf("%s is required and not installed", r.Text("peer"))
		}
		if !strings.Contains(problems.String(), r.Text("peer")) && r["missing"] == true {
			t.Errorf("nothing is said about %s on stderr", r.Text("peer"))
		}
	}
	return records
}

// checkMembers holds a record against the struct that it is made from: every member is there, and finite where a number.
func checkMembers(t *testing.T, r bench.Record, form reflect.Type) {
	t.Helper()
	for i := range form.NumField() {
		name, _, _ := strings.Cut(form.Field(i).Tag.Get("json"), ",")
		v, ok := r[name]
		if n, isNumber := v.(float64); !ok || isNumber && (math.IsNaN(n) || math.IsInf(n, 0) || n < 0) {
			t.Errorf("%s is %v, %v in %v", name, v, ok, r)
		}
	}
	if len(r) != form.NumField() {
		t.Errorf("%d members in %v, want %d", len(r), r, form.NumField())
	}
}

// TestBenchChunks runs every case on a few devices: no figure is judged, but that there are all, of all peers.
func TestBenchChunks(t *testing.T) {
	records := runBenchCommand(t, "chunks", "--devices", "8", "--duration", "200ms", "--warmup", "50ms", "--runs", "1", "--payload-size", "1MiB", "--noisy")
	var got, want []string
	for _, r := range records {
		got = append(got, r.Text("case")+" "+r.Text("peer"))
		if r["missing"] == true {
			continue
		}
		checkMembers(t, r, reflect.TypeFor[chunkResult]())
		for _, positive := range []string{"ours_gb_per_s", "peer_gb_per_s", "goal", "ours_rss_bytes", "peer_rss_bytes"} {
			if r.Number(positive) <= 0 {
				t.Errorf("%s is %v in %v", positive, r[positive], r)
			}
		}
	}
	for _, c := range chunkCases {
		for _, g := range c.goals {
			want = append(want, c.name+" "+g.peer)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("results of %q, want %q", got, want)
	}
}

// TestBenchProfiles: with --profile the server leaves a pair of profiles for each run.
func TestBenchProfiles(t *testing.T) {
	prefix := t.TempDir() + "/p"
	runBenchCommand(t, "chunks", "--devices", "4", "--duration", "200ms", "--warmup", "10ms", "--runs", "2", "--noisy", "--case", "16KiB-w1", "--profile", prefix)
	for _, name := range []string{".1.cpu", ".1.heap", ".2.cpu", ".2.heap"} {
		if s, err := os.Stat(prefix + name); err != nil || s.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBenchInterrupted: a bench that is interrupted ends its processes and removes its files.
func TestBenchInterrupted(t *testing.T) {
	linuxOnly(t)
	tmp := t.TempDir()
	cmd := exec.Command(builtBinary(t), "bench", "chunks", "--devices", "4", "--duration", "5m", "--runs", "1", "--case", "16KiB-w1", "--noisy")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := said.Read(make([]byte, 1)); err != nil { // it says what it measures once all processes run
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(said)
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitInterrupted {
		t.Errorf("exit is %v, want %d\n%s", err, exitInterrupted, text)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBenchRefuses: mistakes in the command are of usage, and nothing is started.
func TestBenchRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"chunks", "--devices", "0"}, {"chunks", "--runs", "0"}, {"chunks", "--duration", "0s"}, {"chunks", "--case", "none"},
		{"chunks", "--payload-size", "1000"}, {"chunks", "--payload-size", "x"}, {"reports", "--devices", "0"}, {"reports", "--case", "w2"}, {"role", "none"}, {"campaign", "--devices", "0"},
		{"campaign", "--runs", "0"}, {"campaign", "--watch", "0s"}, {"campaign", "--canary", "0"}, {"campaign", "--canary", "101"}, {"campaign", "--canary", "NaN"},
		{"endtoend", "--devices", "0"}, {"endtoend", "--growth-to", "0"}, {"endtoend", "--payload-size", "0"}, {"endtoend", "--chunk-size", "1"},
		{"connect", "--in-flight", "0"}, {"connect", "--devices", "0"}, {"idle", "--duration", "0s"}, {"storm", "--runs", "0"}, {"storm", "--devices", "100000000"},
		{"endtoend", "--window", "0"}, {"endtoend", "--window", "1024"}, {"endtoend", "--case", "none"}, {"endtoend", "--devices", "100000000"},
	} {
		var stdout, stderr bytes.Buffer
		e := env{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, getenv: func(string) string { return "" }}
		if code := run(t.Context(), e, append([]string{"bench"}, args...)); code != exitUsage {
			t.Errorf("%q: exit code %d, want %d: %s", args, code, exitUsage, stderr.String())
		}
	}
}

// TestBenchPage holds the page against the sheets: each has its markers, and what is written once is not written otherwise
// the second time.
func TestBenchPage(t *testing.T) {
	const file = "../../docs/performance.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	records := []bench.Record{bench.Machine(time.Unix(0, 0), "abc")}
	for _, s := range sheets {
		records = append(records, bench.Record{"bench": s.Bench, "case": "x", "peer": "y", "ratio": 0.5}, bench.Missing(s.Bench, "x", "z"))
		if !strings.Contains(string(text), "`fleetbridge bench "+s.Bench+"`") {
			t.Errorf("%s does not say what `fleetbridge bench %s` measures", file, s.Bench)
		}
	}
	once, err := bench.Fill(string(text), sheets, records)
	if err != nil {
		t.Fatal(err)
	}
	if twice, err := bench.Fill(once, sheets, records); err != nil || twice != once || once == string(text) {
		t.Errorf("written a second time it is another page: %v", err)
	}
	script, err := os.ReadFile("../../scripts/bench")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(script), "for bench in ")
	list, _, _ = strings.Cut(list, ";")
	for _, s := range sheets {
		if !slices.Contains(strings.Fields(list), s.Bench) {
			t.Errorf("make bench does not run %s", s.Bench)
		}
	}
}

// TestBenchOutput: what is missing or refused is said in words and in the results, and a refusal fails the command.
func TestBenchOutput(t *testing.T) {
	var stdout, stderr bytes.Buffer
	a := &app{env: env{stdout: &stdout, stderr: &stderr}, output: "json"}
	err := a.runBench(t.Context(), chunkSheet, func(_ context.Context, out *benchOutput) error {
		return errors.Join(out.put(bench.Missing("chunks", "a", "nginx")), out.put(bench.Refused("chunks", "b", bench.ErrNoisy)))
	})
	if !errors.Is(err, bench.ErrNoisy) {
		t.Errorf("a refused case ends the command with %v", err)
	}
	var missing, refused map[string]any
	dec := json.NewDecoder(&stdout)
	if err := errors.Join(dec.Decode(&missing), dec.Decode(&refused)); err != nil {
		t.Fatal(err)
	}
	if missing["peer"] != "nginx" || missing["missing"] != true || refused["case"] != "b" || refused["refused"] == "" {
		t.Errorf("%v, %v", missing, refused)
	}
	if s := stderr.String(); !strings.Contains(s, "nginx is not installed") || !strings.Contains(s, "chunks b") {
		t.Errorf("said %q", s)
	}
}
