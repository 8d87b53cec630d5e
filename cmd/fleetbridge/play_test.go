package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleetbridge/campaign"
	"fleetbridge/simulator/scenario"
)

// TestScenarios runs each scenario of the library against a server of its own.
func TestScenarios(t *testing.T) {
	names := scenario.Names()
	if len(names) < 17 {
		t.Fatalf("%d scenarios found", len(names))
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && name == "window-closes-before-install" {
				t.Skip("a window opens with a full minute")
			}
			code, stdout, stderr := runCommand(t, "sim", "run", "--local", "--scenario", name, "-o", "json")
			var r playResult
			if err := json.Unmarshal([]byte(stdout), &r); err != nil {
				t.Fatalf("exit code %d: %v\n%s%s", code, err, stdout, stderr)
			}
			if code != exitOK || !r.Passed || r.Scenario != name || len(r.Checks) < 4 {
				t.Errorf("exit code %d\n%s", code, stderr)
			}
			for _, c := range r.Checks {
				if !c.OK {
					t.Errorf("%s: %s: %s, want %s", c.Campaign, c.What, c.Got, c.Want)
				}
			}
		})
	}
}

const wrongScenario = `summary = "An expectation that is not met"
payload = 100
[[group]]
name = "fleet"
devices = 3
[[campaign]]
name = "release"
version = "2.0.0"
[[expect]]
campaign = "release"
outcome = "succeeded"
counts = { confirmed = 2 }
`

func TestScenarioThatIsNotMet(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	file := filepath.Join(t.TempDir(), "wrong.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(wrongScenario)
	code, stdout, stderr := runCommand(t, "sim", "run", "--local", "--scenario", file)
	if code != exitCampaign || !strings.Contains(stdout, "✖ release: confirmed 3, want 2") || !strings.Contains(stderr, "not as expected") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	// A run that does not end in time is not as expected either.
	write(strings.Replace(wrongScenario, "payload = 100", "within = \"1s\"\n[[action]]\ncampaign = \"release\"\nwhen = \"paused\"\ndo = \"wait\"\n", 1) + "[campaign.policy]\nwaves = [{ count = 1 }, { count = 2 }]\nmanual = true\n")
	code, stdout, stderr = runCommand(t, "sim", "run", "--local", "--scenario", file)
	if code != exitCampaign || !strings.Contains(stdout, "✖ all: run time was up after 1s, want to its end") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	// Nor is one with a moment that can't come any more.
	write(wrongScenario + "[[action]]\ncampaign = \"release\"\nwhen = \"paused\"\ndo = \"resume\"\n")
	code, stdout, stderr = runCommand(t, "sim", "run", "--local", "--scenario", file)
	if code != exitCampaign || !strings.Contains(stdout, "✖ all: run action 1, resume release") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	for change, want := range map[string][2]string{
		"an unknown name":  {"devices = 3\n", "device = 3\n"},
		"a moment":         {"[[expect]]", "[[action]]\ncampaign = \"release\"\nwhen = \"soon\"\ndo = \"stop\"\n[[expect]]"},
		"a bad policy":     {"[[expect]]", "policy = { in_flight = -1 }\n[[expect]]"},
		"no expectation":   {"outcome = \"succeeded\"\ncounts = { confirmed = 2 }\n", ""},
		"an unknown fault": {"devices = 3\n", "devices = 3\nfaults = \"magic=1%\"\n"},
	} {
		write(strings.Replace(wrongScenario, want[0], want[1], 1))
		if code, _, stderr := runCommand(t, "sim", "run", "--local", "--scenario", file); code != exitUsage || !strings.Contains(stderr, "wrong.toml:") || !strings.Contains(stderr, "^") {
			t.Errorf("%s: exit code %d\n%s", change, code, stderr)
		}
	}
	if code, _, stderr := runCommand(t, "sim", "run", "--local", "--scenario", "nothing"); code != exitUsage || !strings.Contains(stderr, "canary-stops-bad-release") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestScenarioWords: a scenario knows the states that there are.
func TestScenarioWords(t *testing.T) {
	var want []string
	for _, s := range campaign.States {
		want = append(want, string(s))
	}
	if diff := cmp.Diff(want, scenario.States); diff != "" {
		t.Error(diff)
	}
}

func TestScenarioList(t *testing.T) {
	code, stdout, stderr := runCommand(t, "sim", "scenarios")
	if lines := strings.Split(strings.TrimSpace(stdout), "\n"); code != exitOK || len(lines) != len(scenario.Names())+1 {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = runCommand(t, "sim", "scenarios", "silent-tenth")
	if _, _, err := scenario.Parse("printed", []byte(stdout)); code != exitOK || err != nil {
		t.Errorf("exit code %d: what is printed is no scenario: %v", code, err)
	}
	if code, _, _ := runCommand(t, "sim", "scenarios", "nothing"); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
}
