package bench_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"fleetbridge/internal/bench"
)

// testRoles run in children of the test binary.
var testRoles = map[string]bench.Role{
	"count":    count,
	"deaf":     func(context.Context, *bench.Worker) error { select {} },
	"stubborn": stubborn,
	"broken":   func(context.Context, *bench.Worker) error { return errors.New("this role is broken") },
	"fails":    failing,
	"dies":     dying,
	"parent":   parent,
}

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "bench" && os.Args[2] == "role" {
		if err := bench.Work(context.Background(), os.Stdin, os.Stdout, testRoles[os.Args[3]]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// count does a unit of work for each mark.
func count(_ context.Context, w *bench.Worker) error {
	var from uint64
	if err := w.Params(&from); err != nil {
		return err
	}
	if err := w.Ready(os.Getpid()); err != nil {
		return err
	}
	return w.Serve(func() { from += 1000 }, func() any { from++; return bench.Counts{Units: from, Bytes: 10 * from} })
}

func failing(_ context.Context, w *bench.Worker) error {
	if err := w.Params(new(any)); err != nil {
		return err
	}
	if err := w.Ready(nil); err != nil {
		return err
	}
	n := uint64(0)
	return w.Serve(nil, func() any { n++; return bench.Counts{Units: n, Failed: 2, Problem: "wrong bytes"} })
}

// dying ends in the middle of its work.
func dying(_ context.Context, w *bench.Worker) error {
	if err := w.Params(new(any)); err != nil {
		return err
	}
	if err := w.Ready(nil); err != nil {
		return err
	}
	return w.Serve(func() { time.AfterFunc(50*time.Millisecond, func() { os.Exit(3) }) }, func() any { return bench.Counts{} })
}

// stubborn does not end with its stdin, and has a child of its own.
func stubborn(_ context.Context, w *bench.Worker) error {
	c := exec.Command("sleep", "600")
	if err := c.Start(); err != nil {
		return err
	}
	if err := w.Ready([]int{os.Getpid(), c.Process.Pid}); err != nil {
		return err
	}
	select {}
}

// parent is a bench with a child, which says the child's process.
func parent(ctx context.Context, w *bench.Worker) error {
	b, err := bench.New(os.Args[0])
	if err != nil {
		return err
	}
	var pids []int
	if _, err := b.Role(ctx, "stubborn", nil, &pids, time.Minute); err != nil {
		return err
	}
	if err := w.Ready([]string{b.Dir, strconv.Itoa(pids[0])}); err != nil {
		return err
	}
	select {}
}

func open(t *testing.T) *bench.Bench {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	b, err := bench.New(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func TestMeasure(t *testing.T) {
	b := open(t)
	var pid int
	load, err := b.Role(t.Context(), "count", 5, &pid, time.Minute)
	if err != nil || pid == 0 || pid == os.Getpid() {
		t.Fatalf("process %d, %v", pid, err)
	}
	server, err := b.Start(bench.Command{Name: "spin", Path: "/bin/sh", Args: []string{"-c", "while :; do :; done"}})
	if err != nil {
		t.Fatal(err)
	}
	began, ended := false, false
	s, err := b.Measure(t.Context(), bench.Interval{Warmup: time.Millisecond, For: 300 * time.Millisecond,
		Around: func() func() { began = true; return func() { ended = true } }}, load, server)
	if err != nil {
		t.Fatal(err)
	}
	if s.Units != 1 || s.Bytes != 10 {
		t.Errorf("%d units, %d bytes in the interval; want what was done between the marks", s.Units, s.Bytes)
	}
	if s.Server.CPU <= s.Load.CPU || s.Seconds < 0.3 || s.Server.RSS <= 0 || s.Server.Peak < s.Server.RSS || s.Load.RSS <= 0 {
		t.Errorf("a process that spins and one that rests: %+v", s)
	}
	if !began || !ended {
		t.Errorf("around the interval: began %v, ended %v", began, ended)
	}
}

// What a load complains of, and a load or server that ends, fail the measurement.
func TestMeasureFails(t *testing.T) {
	for role, want := range map[string]string{"fails": "wrong bytes", "dies": "dies ended"} {
		b := open(t)
		load, err := b.Role(t.Context(), role, nil, nil, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Measure(t.Context(), bench.Interval{For: 200 * time.Millisecond}, load); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want something with %q", role, err, want)
		}
	}
	b := open(t)
	load, err := b.Role(t.Context(), "count", 0, nil, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	server, err := b.Start(bench.Command{Name: "short", Path: "/bin/sh", Args: []string{"-c", "echo no room >&2; exit 4"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Measure(t.Context(), bench.Interval{For: time.Minute}, load, server)
	if err == nil || !strings.Contains(err.Error(), "exit status 4") || !strings.Contains(err.Error(), "no room") {
		t.Errorf("a server that ends: %v", err)
	}
}

func TestRoleFails(t *testing.T) {
	bench.SetStopWithin(t, 10*time.Millisecond)
	b := open(t)
	if _, err := b.Role(t.Context(), "broken", nil, nil, time.Minute); err == nil || !strings.Contains(err.Error(), "this role is broken") {
		t.Errorf("a role that fails: %v", err)
	}
	if _, err := b.Role(t.Context(), "deaf", strings.Repeat("x", 1<<20), nil, 50*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a role that never answers: %v", err)
	}
	if p, err := b.Start(bench.Command{Name: "none", Path: "/nowhere/none"}); err == nil {
		t.Errorf("a program that is not there: %v", p)
	}
}

// Close leaves neither a process, nor a process of a process, nor a file.
func TestCloseLeavesNothing(t *testing.T) {
	b := open(t)
	var pids []int
	if _, err := b.Role(t.Context(), "stubborn", nil, &pids, time.Minute); err != nil {
		t.Fatal(err)
	}
	bench.SetStopWithin(t, 10*time.Millisecond)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		awaitGone(t, pid)
	}
	if _, err := os.Stat(b.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
}

// A bench that is killed takes its processes with it.
func TestKilledBenchTakesItsProcesses(t *testing.T) {
	cmd := exec.Command(os.Args[0], "bench", "role", "parent")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Split(line, `"`)[3])
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // it was killed
	awaitGone(t, pid)
}

// awaitGone polls: the process is no child of ours, so nothing tells us.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return
		}
	}
	t.Errorf("process %d lives", pid)
}
