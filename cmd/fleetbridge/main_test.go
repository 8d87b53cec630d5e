package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(withCleanup{m}, map[string]func(){"fleetbridge": main})
}

// withCleanup removes the built binary after the tests.
type withCleanup struct{ m *testing.M }

func (w withCleanup) Run() int {
	defer removeBinary()
	return w.m.Run()
}

// TestScripts runs the sessions of testdata/script, each in a folder of its own.
func TestScripts(t *testing.T) {
	if n, err := filepath.Glob("testdata/script/*.txtar"); err != nil || len(n) == 0 {
		t.Fatalf("no script found: %v", err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=0") // a program with the detector waits a second at its end, and scripts run hundreds
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "freeport": freePort, "listening": listening, "capture": capture, "fill": fillIn,
		},
	})
}

// exits CODE COMMAND… runs a command that must end with CODE.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s\nstdout: %sstderr: %s", code, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// freeport VAR… sets each variable to a loopback address that nobody listens on.
func freePort(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		addr, err := freeAddr()
		ts.Check(err)
		ts.Setenv(name, addr)
	}
}

// listening ADDR waits until somebody does.
func listening(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(awaitListener(args[0], 20*time.Second))
}

// capture VAR FILE ROW sets VAR to the value beside ROW in a table of one object.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: capture VAR FILE ROW")
	}
	value, err := cellOf(ts.ReadFile(args[1]), args[2])
	ts.Check(err)
	ts.Setenv(args[0], value)
}

// fillIn replaces, for fill FILE…, the variables in files by their values.
func fillIn(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		path := ts.MkAbs(name)
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(path, []byte(text), 0o600))
	}
}

func cellOf(table, row string) (string, error) {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == row {
			return f[1], nil
		}
	}
	return "", fmt.Errorf("no row %q in %q", row, table)
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// awaitListener polls: what it waits for is another process, which has nothing to wake us with.
func awaitListener(addr string, within time.Duration) error {
	deadline := time.Now().Add(within)
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nobody listens on %s after %v: %w", addr, within, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// binaryDir is where binary built, "" if it has not.
var binaryDir string

func removeBinary() {
	if binaryDir != "" {
		os.RemoveAll(binaryDir)
	}
}

// binary builds the program, once.
var binary = sync.OnceValues(func() (string, error) { return buildBinary("fleetbridge") })

// failingBinary builds the program with failpoints, once.
var failingBinary = sync.OnceValues(func() (string, error) { return buildBinary("failing", "-tags", "failpoint") })

// binaryFolder is where they are built.
var binaryFolder = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "fleetbridge-test-")
	binaryDir = dir
	return dir, err
})

func buildBinary(name string, flags ...string) (string, error) {
	dir, err := binaryFolder()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, name)
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", bin, ".")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
}

// builtBinary is the program as users have it. Short runs under the race detector pass over its tests, since it is built
// without.
func builtBinary(t *testing.T) string {
	t.Helper()
	if raceDetector && testing.Short() {
		t.Skip("the built binary has no race detector")
	}
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}
