package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// needTools skips the test where a program is missing, or fails it where services are required.
func needTools(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("FLEETBRIDGE_REQUIRE_SERVICES") != "" {
				t.Fatalf("%s is required and missing", name)
			}
			t.Skipf("%s is not installed", name)
		}
	}
}

// consoleLines returns the commands of the console blocks in one section of a Markdown file.
func consoleLines(text, section string) []string {
	var out []string
	var inSection, inBlock bool
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "## "):
			inSection = line == "## "+section
		case inSection && line == "```console":
			inBlock = true
		case line == "```":
			inBlock = false
		case inBlock && strings.HasPrefix(line, "$ "):
			out = append(out, line[2:])
		case inBlock && strings.HasPrefix(line, "> ") && len(out) > 0: // goes on
			out[len(out)-1] += "\n" + line[2:]
		}
	}
	return out
}

// TestReadmeByHand runs the commands of the README's "An update by hand", exactly those, and holds the server's last
// word on the device against what the README says.
func TestReadmeByHand(t *testing.T) {
	needTools(t, "bash", "mosquitto_sub", "mosquitto_pub", "mosquitto_rr")
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := consoleLines(string(readme), "An update by hand")
	if len(lines) < 20 {
		t.Fatalf("%d commands in the README's section: the extraction is wrong", len(lines))
	}
	dir, out := runLines(t, lines)
	last := ""
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "dev-1 ") {
			last = line
		}
	}
	if f := strings.Fields(last); len(f) < 3 || f[2] != "confirmed" {
		t.Errorf("the last word on the device is %q, want confirmed\n%s", last, out)
	}
	if err := sameFile(filepath.Join(dir, "got.bin"), builtBinary(t)); err != nil {
		t.Error(err)
	}
}

// runLines runs commands of a page in a shell, in a folder of their own, and returns what they said.
func runLines(t *testing.T, lines []string) (dir, said string) {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(addr, ":")
	dir = t.TempDir()
	script := "set -euo pipefail\ntrap 'kill %1; wait' EXIT\n" + strings.Join(lines, "\n") + "\n"
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PORT="+port, "PATH="+filepath.Dir(builtBinary(t))+":"+os.Getenv("PATH"))
	cmd.WaitDelay = 5 * time.Second
	timer := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() }) // hangs are seen as failures
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir, string(out)
}

// TestReadmeSign runs the commands of the README's "Sign your first update", exactly those, and holds what they print
// against the lines that the README shows of it.
func TestReadmeSign(t *testing.T) {
	needTools(t, "bash")
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const section = "Sign your first update"
	lines := consoleLines(string(readme), section)
	if len(lines) < 9 {
		t.Fatalf("%d commands in the README's section: the extraction is wrong", len(lines))
	}
	cmd := exec.Command("bash", "-c", "set -euo pipefail\n"+strings.Join(lines, "\n")+"\n")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(builtBinary(t))+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, shown, _ := strings.Cut(string(readme), "## "+section)
	_, shown, _ = strings.Cut(shown, "```text\n")
	shown, _, _ = strings.Cut(shown, "```")
	if strings.Count(shown, "\n") < 5 {
		t.Fatalf("the README shows %q", shown)
	}
	for line := range strings.Lines(shown) {
		line, _, _ = strings.Cut(strings.TrimRight(line, "\n"), "…")
		if !strings.Contains(string(out), line) {
			t.Errorf("the README shows %q, which is not in\n%s", line, out)
		}
	}
	for _, want := range []string{`("th-2" of "acme.example")`, "/ SUIT_Envelope / 107({", "changed.bin is not the manifest's payload"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

func sameFile(a, b string) error {
	da, na, err := digestFile(a)
	if err != nil {
		return err
	}
	db, nb, err := digestFile(b)
	if err != nil {
		return err
	}
	if da != db || na != nb {
		return fmt.Errorf("%s has %d bytes, %s has %d: not the same", a, na, b, nb)
	}
	return nil
}

// TestConsoleLines holds the extraction to account.
func TestConsoleLines(t *testing.T) {
	text := "## A\n```console\n$ one\nout\n```\n## B\n```console\n$ two\n> goes on\n```\n```text\n$ three\n```\n$ four\n"
	if got := consoleLines(text, "B"); len(got) != 1 || got[0] != "two\ngoes on" {
		t.Errorf("got %q", got)
	}
}
