package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/internal/config"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// victim is a server process that is killed and started again on the same data and address.
type victim struct {
	t    *testing.T
	home string
	addr string
	cmd  *exec.Cmd
	out  bytes.Buffer // of all its lives
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(t.TempDir(), "home")
	c := config.Defaults()
	c.Data, c.MQTT.Listen, c.HTTP.Listen = "data", addr, ""
	if err := makeHome(t.Context(), home, ident.MustTenant("acme"), c); err != nil {
		t.Fatal(err)
	}
	v := &victim{t: t, home: home, addr: addr}
	t.Cleanup(func() { // a test that failed leaves no process
		if v.cmd != nil && v.cmd.ProcessState == nil {
			_, _ = v.cmd.Process.Kill(), v.cmd.Wait() // it may just have ended
		}
	})
	return v
}

// start runs the built binary and waits until it listens.
func (v *victim) start() {
	v.t.Helper()
	v.cmd = exec.Command(builtBinary(v.t), "serve", "--config", filepath.Join(v.home, "fleetbridge.toml"))
	v.cmd.Stdout, v.cmd.Stderr = &v.out, &v.out
	if err := v.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	if err := awaitListener(v.addr, 30*time.Second); err != nil {
		v.t.Fatalf("%v\n%s", err, v.out.String())
	}
}

// kill is kill -9.
func (v *victim) kill() {
	v.t.Helper()
	if err := v.cmd.Process.Kill(); err != nil {
		v.t.Fatalf("the server had ended by itself: %v\n%s", err, v.out.String())
	}
	// The error says that it was killed, which we know.
	_ = v.cmd.Wait()
	if s := v.cmd.ProcessState; s.Exited() {
		v.t.Fatalf("the server ended by itself, exit code %d\n%s", s.ExitCode(), v.out.String())
	}
}

func (v *victim) dial() *client.Client {
	v.t.Helper()
	cl, err := v.tryDial()
	if err != nil {
		v.t.Fatal(err)
	}
	return cl
}

func (v *victim) tryDial() (*client.Client, error) { return v.tryContext("operator.toml") }

// tryContext dials with a context that init made.
func (v *victim) tryContext(name string) (*client.Client, error) {
	c, err := config.ReadContext(filepath.Join(v.home, name))
	if err != nil {
		return nil, err
	}
	return v.tryUser(c.Server, c.User, string(c.Token))
}

func (v *victim) tryUser(server, user, token string) (*client.Client, error) {
	cl, err := client.Dial(v.t.Context(), client.Context{Server: server, User: user, Token: token, Timeout: time.Minute})
	if err != nil {
		return nil, err
	}
	v.t.Cleanup(cl.Close)
	return cl, nil
}

// TestKilledAtAnyMoment kills the server twenty times while a fleet of 300 is being updated. After each start the
// campaign goes on by itself; in the end every device has its outcome, no report that a device saw acknowledged is
// missing, the counts equal a scan of the assignments, and no assignment has ended twice.
func TestKilledAtAnyMoment(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	const kills = 20
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))

	v := newVictim(t)
	v.start()
	s := &fleetSetup{cl: v.dial(), name: "crash", devices: 300, seed: seed, size: 64 << 10, paho: 30,
		mix: simulator.Mix{simulator.PowerLoss: 5, simulator.Duplicate: 5, simulator.Late: 5, simulator.BadFlash: 1, simulator.Current: 1}}
	if err := s.publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	ids, err := s.provision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.fleet("mqtt://"+v.addr, ids)
	if err != nil {
		t.Fatal(err)
	}
	off := powerOn(t, f)
	t.Cleanup(func() { off() })
	if err := waitReady(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	policy := simPolicy([]topics.Wave{{Percent: 10}, {Percent: 50}, {Percent: 100}}, time.Hour)
	policy.InFlight = 12 // so that the campaign outlives its server twenty times
	id, err := s.campaign(t.Context(), policy)
	if err != nil {
		t.Fatal(err)
	}
	for n := range kills {
		time.Sleep(time.Duration(50+chance.IntN(350)) * time.Millisecond) // the moment of the blow, not a wait for something
		if p := progressOf(t, s.cl, id); over(p) {
			t.Fatalf("the campaign ended before kill %d: %s %s, %s; it must be slower to be tested", n+1, p.Outcome, p.Reason, countsText(p))
		}
		if n%2 == 0 {
			v.kill()
			v.start()
			continue
		}
		// With the fleet switched off too nothing can be sent again that would cover for a loss.
		awaitAck(f)
		v.kill()
		off()
		v.start()
		checkRecorded(t, s, f, id)
		off = powerOn(t, f)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	last, err := watch(ctx, s.cl, id, func(topics.Progress) {})
	if err != nil {
		t.Fatalf("%v; %s\n%s", err, countsText(last), v.out.String())
	}
	checkEnd(t, s, f, id)
	v.kill()
}

// powerOn runs the fleet; the function that it returns cuts its power and may be called again.
func powerOn(t *testing.T, f *simulator.Fleet) func() {
	running, cut := context.WithCancel(context.Background())
	off := make(chan error, 1)
	go func() { off <- f.Run(running) }()
	return sync.OnceFunc(func() {
		cut()
		if err := <-off; err != nil {
			t.Errorf("fleet: %v", err)
		}
	})
}

// awaitAck returns as soon as a device has seen one more PUBACK, or after a second without one.
func awaitAck(f *simulator.Fleet) {
	before, until := f.Stats().Acknowledged, time.Now().Add(time.Second)
	for f.Stats().Acknowledged == before && time.Now().Before(until) {
		runtime.Gosched()
	}
}

func progressOf(t *testing.T, cl *client.Client, id ident.Campaign) topics.Progress {
	t.Helper()
	c, err := campaignDo(t.Context(), cl, "get", id.String(), "")
	if err != nil {
		t.Fatal(err)
	}
	return c.Progress
}

// checkEnd compares what the devices know with what the server has.
func checkEnd(t *testing.T, s *fleetSetup, f *simulator.Fleet, id ident.Campaign) {
	t.Helper()
	ledger := map[ident.Device]simulator.Entry{}
	for _, e := range f.Ledger() { // first what devices know: the server may learn more while we look
		ledger[e.Device] = e
	}
	p := progressOf(t, s.cl, id)
	if p.Outcome != string(campaign.Succeeded) {
		t.Errorf("outcome %s, %s", p.Outcome, p.Reason)
	}
	scan, seen := map[string]uint64{}, 0
	for a := range assignments(t, s, id) {
		seen++
		scan[a.State]++
		if err := errors.Join(checkAcknowledged(a, ledger[a.Device], s.manifest.Digest), checkEnded(a, ledger[a.Device])); err != nil {
			t.Errorf("%s: %v", a.Device, err)
		}
	}
	if seen != s.devices || p.Total != uint64(s.devices) {
		t.Errorf("%d assignments, progress says %d, want %d", seen, p.Total, s.devices)
	}
	for _, state := range campaign.States {
		if scan[string(state)] != p.Counts[string(state)] {
			t.Errorf("%s: %d by scan, %d by count", state, scan[string(state)], p.Counts[string(state)])
		}
	}
	t.Logf("%s; %d reports recorded", countsText(p), p.Reports)
}

// assignments lists a campaign's.
func assignments(t *testing.T, s *fleetSetup, id ident.Campaign) iter.Seq[topics.AssignmentView] {
	return func(yield func(topics.AssignmentView) bool) {
		for a, err := range client.List[topics.AssignmentView](t.Context(), s.cl, "campaign", "devices",
			func(page topics.Page) any { return topics.CampaignDevices{Page: page, Campaign: id} }) {
			if err != nil {
				t.Fatal(err)
			}
			if !yield(a) {
				return
			}
		}
	}
}

// checkRecorded compares, while the fleet is switched off, every device's acknowledged reports with the records.
func checkRecorded(t *testing.T, s *fleetSetup, f *simulator.Fleet, id ident.Campaign) {
	t.Helper()
	records := map[ident.Device]topics.AssignmentView{}
	for a := range assignments(t, s, id) {
		records[a.Device] = a
	}
	for _, e := range f.Ledger() {
		if err := checkAcknowledged(records[e.Device], e, s.manifest.Digest); err != nil {
			t.Errorf("%s: %v", e.Device, err)
		}
	}
}

// checkAcknowledged: what a device saw acknowledged is recorded.
func checkAcknowledged(a topics.AssignmentView, e simulator.Entry, manifest ident.Digest) error {
	for _, m := range e.Manifests {
		if m.Manifest == manifest && (a.Seq < m.MaxSeq || a.Reports < m.Count) {
			return fmt.Errorf("recorded up to seq %d, %d in all; acknowledged up to %d, %d in all", a.Seq, a.Reports, m.MaxSeq, m.Count)
		}
	}
	return nil
}

// checkEnded: the assignment has the outcome that the device's fault calls for, and got there once.
func checkEnded(a topics.AssignmentView, e simulator.Entry) error {
	if want := string(e.Fault.Expect()); a.State != want {
		return fmt.Errorf("state %s, want %s for a device with fault %s", a.State, want, e.Fault.Kind)
	}
	ends := 0
	for _, step := range a.Path {
		if s := campaign.State(step.State); s.Settled() {
			ends++
		}
	}
	if len(a.Path) == 0 || ends != 1 {
		return fmt.Errorf("ended %d times: %+v", ends, a.Path)
	}
	return nil
}
