package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"fleetbridge/campaign"
	"fleetbridge/internal/client"
)

// The variables that drive a build with failpoints (internal/failpoint, which this build has none of).
const (
	failpointEnv    = "FLEETBRIDGE_FAILPOINT"
	failpointLogEnv = "FLEETBRIDGE_FAILPOINT_LOG"
)

// TestReleaseHasNoFailpoints looks for the variables and the names of places in both builds.
func TestReleaseHasNoFailpoints(t *testing.T) {
	failing, err := failingBinary()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{builtBinary(t): false, failing: true} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{failpointEnv, "advance: before commit", "device: after PUBACK", "payload: renamed, not synced"} {
			if have := bytes.Contains(b, []byte(text)); have != want {
				t.Errorf("%s: holds %q: %v, want %v", filepath.Base(name), text, have, want)
			}
		}
	}
}

// doomed is a server that ends itself at a failpoint, and is then started again without one. If it ends in any other way
// the test fails.
type doomed struct {
	*victim
	bin    string
	struck chan struct{} // closed when the failpoint was reached
	gone   chan struct{} // closed when the last process has ended

	mu    sync.Mutex
	ended bool
}

// doom starts the server; place is PLACE#N, or "" for none.
func doom(t *testing.T, place, log string) *doomed {
	t.Helper()
	bin, err := failingBinary()
	if err != nil {
		t.Fatal(err)
	}
	d := &doomed{victim: newVictim(t), bin: bin, struck: make(chan struct{}), gone: make(chan struct{})}
	if err := d.launch(failpointEnv+"="+place, failpointLogEnv+"="+log); err != nil {
		t.Fatal(err)
	}
	go d.watch(place)
	t.Cleanup(d.end)
	return d
}

// insist dials until the server is there, which may die once while we do.
func (d *doomed) insist(dial func() (*client.Client, error)) *client.Client {
	d.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		cl, err := dial()
		if err == nil {
			return cl
		}
		if time.Now().After(deadline) {
			d.t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (d *doomed) launch(env ...string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return nil
	}
	d.cmd = exec.Command(d.bin, "serve", "--config", filepath.Join(d.home, "fleetbridge.toml"))
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.out
	return d.cmd.Start()
}

// watch starts the server again after the blow.
func (d *doomed) watch(place string) {
	defer close(d.gone)
	err := d.cmd.Wait()
	if d.over() {
		return
	}
	if place == "" || d.cmd.ProcessState.Exited() {
		d.t.Errorf("the server ended by itself: %v", err)
		return
	}
	close(d.struck)
	if err := d.launch(); err != nil {
		d.t.Errorf("start again: %v", err)
		return
	}
	if err := d.cmd.Wait(); !d.over() {
		d.t.Errorf("the server ended after its start: %v", err)
	}
}

func (d *doomed) over() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ended
}

// end kills the server, waits until it is gone, and may be called again.
func (d *doomed) end() {
	d.mu.Lock()
	first := !d.ended
	d.ended = true
	if first {
		// It may have ended by itself, which watch reports.
		_ = d.cmd.Process.Kill()
	}
	d.mu.Unlock()
	<-d.gone
	if first && d.t.Failed() {
		d.t.Logf("server: %s", d.out.String())
	}
}

// places reads the log of an unbroken run: how often it got to each place.
func places(t *testing.T, log string) map[string]int {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for line := range strings.Lines(string(b)) {
		out[strings.TrimSuffix(line, "\n")]++
	}
	return out
}

// mustHave are places that a run must get to, or the test would prove less than it says: a crash in every phase, at
// every step of the engine, of a report, of a command and of an upload.
var mustHave = []string{
	"start: after sweep", "store: before write", "store: after write", "topic: before publish", "fetch: before commit", "fetch: after commit",
	"payload: begun without record", "payload: appended", "payload: renamed, not synced", "payload: committed without record", "payload: file without record",
	"device: before commit@report", "device: after commit@report", "device: after PUBACK@report",
	"device: before commit@hello", "device: after commit@hello", "device: after PUBACK@hello",
	"command: before commit@campaign/start", "command: after commit@campaign/pause", "command: before reply@campaign/stop",
	"command: after commit@campaign/approve", "command: after commit@campaign/reject", "command: after commit@campaign/archive",
	"command: after commit@campaign/retry", "command: after commit@campaign/delete", "command: after commit@quota/set",
}

// mustPass are the phases and steps in which the engine must be struck, before the commit, after it, and after what it
// published.
var mustPass = []string{"scheduled/>", "starting/checkingmanifest>", "starting/devicecopy>", "active/deploying>",
	"active/awaitingrelease>", "paused/", "active/deploying+>", "stopping/", ">stopped/manifestremoved"}

// TestCrashAtEveryPlace lets the server end itself at every place that an unbroken run gets to, the first time and in the
// middle of the run. Started again, it must come to the same end.
func TestCrashAtEveryPlace(t *testing.T) {
	log := filepath.Join(t.TempDir(), "places")
	want, _ := tell(t, "", log)
	if t.Failed() {
		t.Fatal("the unbroken run failed")
	}
	t.Logf("%v", want)
	reached := places(t, log)
	list := blows(t, reached)
	var mu sync.Mutex
	struckIn := map[string]int{} // campaign states, by how many blows struck there
	missed, start := 0, time.Now()
	room := make(chan struct{}, 14) // a run mostly waits for disks and timers
	t.Run("at", func(t *testing.T) {
		for _, place := range list {
			t.Run(place, func(t *testing.T) {
				t.Parallel()
				room <- struct{}{}
				defer func() { <-room }()
				have, struck := tell(t, place, "")
				if diff := gocmp.Diff(want, have); diff != "" {
					t.Errorf("it came to another end than the unbroken run:\n%s", diff)
				}
				mu.Lock()
				defer mu.Unlock()
				if !struck {
					t.Logf("did not get there")
					missed++
					return
				}
				struckIn[standsIn(place)]++
			})
		}
	})
	t.Logf("%d blows of %d struck in %v, in the states %v", len(list)-missed, len(list), time.Since(start), struckIn)
	for _, p := range campaignStates {
		if struckIn[string(p)] == 0 && !testing.Short() {
			t.Errorf("no blow struck while a campaign was %s", p)
		}
	}
	if missed*5 > len(list) {
		t.Errorf("%d of %d blows were missed: runs differ too much", missed, len(list))
	}
}

// campaignStates are those in which a campaign must have stood when a blow struck.
var campaignStates = []campaign.Phase{campaign.Draft, campaign.AwaitingApproval, campaign.Scheduled, campaign.Starting, campaign.Active,
	campaign.Paused, campaign.Stopping, campaign.Stopped, campaign.Archived, campaign.Deleting}

// standsIn is the state in which a place finds its campaign: the one before a commit that did not come, else the one
// after it; "" for places that are about none.
func standsIn(place string) string {
	moment, where, _ := strings.Cut(place, "@")
	from, to, ok := strings.Cut(where, ">")
	switch {
	case !ok:
		return ""
	case strings.HasSuffix(moment, "before commit"):
		to = from
	}
	to, _, _ = strings.Cut(to, "#")
	to, _, _ = strings.Cut(to, "/")
	return to
}

// TestStandsIn: the table of states is worth what this reading of places is.
func TestStandsIn(t *testing.T) {
	for place, want := range map[string]string{
		"advance: before commit@scheduled/>starting/checkingmanifest#1": "scheduled",
		"advance: after publish@starting/devicecopy>active/deploying#7": "active",
		"command: after commit@campaign/create>draft#1":                 "draft",
		"command: before commit@campaign/create#1":                      "",
		"device: after PUBACK@hello#2":                                  "",
	} {
		if have := standsIn(place); have != want {
			t.Errorf("%s: %q, want %q", place, have, want)
		}
	}
}

// blows are the places at which to strike, as PLACE#N: each for the first time, and those that are passed often in the
// middle too. In short mode they are every sixth.
func blows(t *testing.T, reached map[string]int) []string {
	t.Helper()
	for _, place := range mustHave {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(reached)), func(p string) bool {
			return p == place || strings.HasPrefix(p, place+">")
		}) {
			t.Errorf("the unbroken run does not get to %q", place)
		}
	}
	for _, step := range mustPass {
		for _, moment := range []string{"before commit", "after commit", "after publish"} {
			if !slices.ContainsFunc(slices.Collect(maps.Keys(reached)), func(p string) bool {
				return strings.HasPrefix(p, "advance: "+moment+"@") && strings.Contains(p, step)
			}) {
				t.Errorf("the engine does not come by %s, %s", step, moment)
			}
		}
	}
	var list []string
	for _, place := range slices.Sorted(maps.Keys(reached)) {
		list = append(list, place+"#1")
		if n := reached[place]; n >= 6 {
			list = append(list, fmt.Sprintf("%s#%d", place, n/2))
		}
	}
	if !testing.Short() {
		return list
	}
	var few []string
	for i := 0; i < len(list); i += 6 {
		few = append(few, list[i])
	}
	return few
}
