package main

import (
	"bytes"
	"context"
	"errors"
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
	"fleetbridge/campaign/store/badger"
	"fleetbridge/campaign/store/storetest"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/simulator"
	"fleetbridge/topics"
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
func (d *doomed) insist() *client.Client {
	d.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		cl, err := d.tryDial()
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

// tale is what a run of the story came to: what must be the same wherever the server crashed.
type tale struct {
	Outcomes map[string]string // of each campaign
	Counts   map[string]map[string]uint64
	States   map[string]string // of each device, in both campaigns
	Commands []string          // of campaigns, from the audit log
}

// story is a small fleet, and two campaigns that between them stand in every phase: one in two waves that is scheduled,
// waits for its release, is paused and resumed, soaks and succeeds, and one that is stopped while its devices are absent.
type story struct {
	t       *testing.T
	d       *doomed
	log     string // of places, "" for none
	setup   *fleetSetup
	fleet   *simulator.Fleet
	here    []ident.Device
	absent  []ident.Device
	waves   ident.Campaign
	stopped ident.Campaign
}

// storySeed gives each kind of fault to some device (checked below).
const storySeed = 117

var storyMix = simulator.Mix{simulator.PowerLoss: 12, simulator.BadFlash: 10, simulator.BadSignature: 8, simulator.Duplicate: 12,
	simulator.Late: 12, simulator.Absent: 14, simulator.Rollback: 10, simulator.Current: 10}

// tell runs the story on a server that ends itself at place. struck says whether it did.
func tell(t *testing.T, place, log string) (_ tale, struck bool) {
	s := &story{t: t, d: doom(t, place, log), log: log}
	s.set()
	off := powerOn(t, s.fleet)
	defer off()
	if err := waitReady(t.Context(), s.fleet); err != nil {
		t.Fatal(err)
	}
	s.inWaves()
	s.stop()
	out := s.end()
	off()
	s.d.end()
	s.audit(&out)
	select {
	case <-s.d.struck:
		struck = true
	default:
	}
	return out, struck
}

// set makes keys, payload, manifest, credentials and devices.
func (s *story) set() {
	ctx := s.t.Context()
	s.setup = &fleetSetup{cl: s.d.insist(), name: "story", devices: 14, seed: storySeed, mix: storyMix, size: 24 << 10}
	if err := s.setup.publish(ctx); err != nil {
		s.t.Fatal(err)
	}
	s.throwAway(ctx)
	ids, err := s.setup.provision(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	kinds := map[simulator.Kind]bool{}
	for _, id := range ids {
		kind := simulator.Plan(storySeed, id.Tenant.String()+"/"+id.Device.String(), storyMix).Kind
		if kinds[kind] = true; kind == simulator.Absent {
			s.absent = append(s.absent, id.Device)
		} else {
			s.here = append(s.here, id.Device)
		}
	}
	if len(kinds) != len(storyMix)+1 {
		s.t.Fatalf("seed %d gives only %v: choose another", storySeed, slices.Collect(maps.Keys(kinds)))
	}
	s.fleet, err = simulator.New(simulator.Config{
		Server: "mqtt://" + s.d.addr, Devices: ids, Seed: storySeed, Faults: storyMix, PahoEvery: 5, ChunkSize: 2048, Window: 4,
		Model:  simulator.Model{Vendor: s.setup.vendor, Class: s.setup.class, Anchors: []firmware.Anchor{s.setup.anchor}},
		Target: topics.Installed{Digest: s.setup.manifest.Payload, Sequence: s.setup.manifest.Sequence, Version: simVersion},
		Timing: simulator.Timing{Spread: 20 * time.Millisecond, BackoffMin: 20 * time.Millisecond, BackoffMax: 200 * time.Millisecond,
			Install: 20 * time.Millisecond, Reboot: 20 * time.Millisecond, Late: 50 * time.Millisecond},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// throwAway uploads a payload that nobody needs and deletes it.
func (s *story) throwAway(ctx context.Context) {
	data := []byte("nobody needs this payload")
	d := ident.SumDigest(data)
	_, err := pushPayload(ctx, s.setup.cl, bytes.NewReader(data), topics.PayloadBegin{Digest: d, Size: int64(len(data))}, func(int64) {})
	if err == nil {
		err = s.setup.cl.Do(ctx, "payload", "delete", topics.PayloadRef{Digest: d}, nil)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// do sends a command on a campaign; the client sends it again while the server is away.
func (s *story) do(verb string, c ident.Campaign, req any) {
	s.t.Helper()
	if req == nil {
		req = topics.CampaignRef{Campaign: c}
	}
	if err := s.setup.cl.Do(s.t.Context(), "campaign", verb, req, nil); err != nil {
		s.t.Fatalf("%s: %v", verb, err)
	}
}

// await polls: a server that dies can't tell of itself.
func (s *story) await(c ident.Campaign, what string, ok func(topics.CampaignView) bool) topics.CampaignView {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		v, err := campaignDo(s.t.Context(), s.setup.cl, "get", c.String(), "")
		if err != nil {
			s.t.Fatalf("get: %v", err)
		}
		if ok(v) {
			return v
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not %s in a minute: %s %s, %s", c, what, v.State, v.Step, countsText(v.Progress))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func hasStopped(v topics.CampaignView) bool { return v.State == string(campaign.Stopped) }

func (s *story) inWaves() {
	s.waves = mustCampaign(s.t, "waves")
	never, always, rest := 0.0, 100.0, topics.Duration(10*time.Minute)
	p := topics.Policy{Waves: []topics.Wave{{Count: 4}, {Percent: 100}}, InFlight: 3, Manual: true,
		StartAt: time.Now().Add(300 * time.Millisecond), Soak: topics.Duration(100 * time.Millisecond),
		SuccessPercent: &never, FailurePercent: &always, SilentPercent: &always,
		Deadlines: topics.Deadlines{Offered: rest, Received: rest, Downloading: rest, Downloaded: rest, Installing: rest, Rebooting: rest}}
	s.do("create", s.waves, topics.CampaignCreate{Campaign: s.waves, Manifest: s.setup.manifest.Digest, Policy: p,
		Selection: topics.Selection{Devices: s.here}})
	s.do("start", s.waves, nil)
	s.await(s.waves, "waiting for its release", func(v topics.CampaignView) bool { return v.Step == string(campaign.AwaitingRelease) })
	s.do("pause", s.waves, nil)
	s.letEngineLook()
	s.do("next", s.waves, nil)
	s.do("resume", s.waves, nil)
	s.await(s.waves, "stopped", hasStopped)
}

// letEngineLook waits until the engine has looked at the paused campaign, which changes nothing that one could ask for: the
// log of an unbroken run shows it, and in the others it takes about as long.
func (s *story) letEngineLook() {
	deadline := time.Now().Add(20 * time.Second)
	for {
		time.Sleep(100 * time.Millisecond)
		if s.log == "" || time.Now().After(deadline) {
			return
		}
		for place := range places(s.t, s.log) {
			if strings.HasPrefix(place, "advance: after publish@paused/") {
				return
			}
		}
	}
}

func (s *story) stop() {
	s.stopped = mustCampaign(s.t, "stopped")
	s.do("create", s.stopped, topics.CampaignCreate{Campaign: s.stopped, Manifest: s.setup.manifest.Digest,
		Selection: topics.Selection{Devices: s.absent}})
	s.do("start", s.stopped, nil)
	s.await(s.stopped, "offered", func(v topics.CampaignView) bool {
		return v.Progress.Counts[string(campaign.Offered)] == uint64(len(s.absent))
	})
	s.do("stop", s.stopped, nil)
	s.await(s.stopped, "stopped", hasStopped)
}

func mustCampaign(t *testing.T, name string) ident.Campaign {
	t.Helper()
	c, err := ident.ParseCampaign(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// end compares the counts with a scan, and the records with what the devices know.
func (s *story) end() tale {
	out := tale{Outcomes: map[string]string{}, Counts: map[string]map[string]uint64{}, States: map[string]string{}}
	ledger := map[ident.Device]simulator.Entry{}
	for _, e := range s.fleet.Ledger() {
		ledger[e.Device] = e
	}
	for _, c := range []ident.Campaign{s.waves, s.stopped} {
		p := progressOf(s.t, s.setup.cl, c)
		scan := map[string]uint64{}
		for a := range assignments(s.t, s.setup, c) {
			scan[a.State]++
			out.States[a.Device.String()] = a.State
			err := checkAcknowledged(a, ledger[a.Device], s.setup.manifest.Digest)
			if c == s.waves {
				err = errors.Join(err, checkEnded(a, ledger[a.Device]))
			} else if a.State != string(campaign.Withdrawn) {
				err = errors.Join(err, fmt.Errorf("is %s", a.State))
			}
			if err != nil {
				s.t.Errorf("%s: %v", a.Device, err)
			}
		}
		counts := maps.Clone(p.Counts)
		maps.DeleteFunc(counts, func(_ string, n uint64) bool { return n == 0 })
		if !maps.Equal(counts, scan) {
			s.t.Errorf("%s: counts %v, scan %v", c, counts, scan)
		}
		out.Outcomes[c.String()], out.Counts[c.String()] = p.Outcome, counts
	}
	return out
}

// audit looks into the store of the dead server: whatever it derives equals a scan, no slot is left, and the audit log is
// whole.
func (s *story) audit(out *tale) {
	store, err := badger.Open(badger.Options{Dir: filepath.Join(s.d.home, "data", "store")})
	if err != nil {
		s.t.Fatal(err)
	}
	tenant := s.setup.cl.Tenant()
	err = store.View(s.t.Context(), func(r campaign.Reader) error {
		works, err := r.Works(tenant, ident.Device{}, 100)
		if len(works) > 0 {
			s.t.Errorf("slots that nobody lives in: %v", works)
		}
		check, err2 := campaign.VerifyAudit(r, tenant, 0, ident.Digest{}, 10_000)
		if check.Fault != "" || !check.Done {
			s.t.Errorf("audit log: %+v", check)
		}
		entries, err3 := r.Audits(tenant, 0, 10_000)
		for _, e := range entries {
			if strings.HasPrefix(e.Command, "campaign/") {
				out.Commands = append(out.Commands, e.Command+" "+e.Campaign.String())
			}
		}
		return errors.Join(storetest.Audit(r), err, err2, err3)
	})
	if err := errors.Join(err, store.Close()); err != nil {
		s.t.Error(err)
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
				if !struck {
					t.Logf("did not get there")
					mu.Lock()
					missed++
					mu.Unlock()
				}
			})
		}
	})
	t.Logf("%d blows of %d struck in %v", len(list)-missed, len(list), time.Since(start))
	if missed*5 > len(list) {
		t.Errorf("%d of %d blows were missed: runs differ too much", missed, len(list))
	}
}

// blows are the places at which to strike, as PLACE#N: each for the first time, and those that are passed often in the
// middle too. In short mode they are every sixth.
func blows(t *testing.T, reached map[string]int) []string {
	t.Helper()
	for _, place := range mustHave {
		if reached[place] == 0 {
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
