package campaign_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("d%03d", i)
	}
	return out
}

// inState lists the devices of c in state s.
func (w *world) inState(c ident.Campaign, s campaign.State) []string {
	var out []string
	list, err := w.m.Assignments(acme, c, ident.Device{}, 1<<20)
	if err != nil {
		w.t.Fatalf("list: %v", err)
	}
	for _, a := range list {
		if a.State == s {
			out = append(out, a.Device.String())
		}
	}
	return out
}

// answer has every offered device of c report word.
func (w *world) answer(c campaignAnd, word string, change ...func(*campaign.Report)) int {
	list := w.inState(c.c, campaign.Offered)
	for _, d := range list {
		w.report(d, c.m, word, change...)
	}
	return len(list)
}

func TestWavesOpenOneAfterTheOther(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register(names(100)...)
	c := campaignAnd{w.create("c", m, policy(func(p *campaign.Policy) {
		p.Waves = []campaign.Wave{{Percent: 5}, {Count: 20}, {Percent: 100}}
	})), m}
	for _, want := range []int{5, 20, 75} {
		w.run(c.c)
		if have := w.answer(c, "installed", holding(m.Image)); have != want {
			t.Fatalf("wave of %d devices, want %d", have, want)
		}
	}
	w.run(c.c)
	w.wantEnd(c.c, campaign.Succeeded)
	if n := len(w.inState(c.c, campaign.Confirmed)); n != 100 {
		t.Errorf("%d confirmed", n)
	}
	if len(w.topic) != 0 {
		t.Errorf("topics that still show a manifest: %v", w.topic)
	}
	have := w.campaign(c.c)
	if have.Open != 2 || have.Step != campaign.ManifestRemoved || !have.StoppedAt.Equal(w.now) || have.StoppingAt.IsZero() || have.ActiveAt.IsZero() {
		t.Errorf("campaign: %+v", have)
	}
}

func TestGateStopsTheCampaign(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register(names(20)...)
	c := campaignAnd{w.create("c", m, policy(func(p *campaign.Policy) { p.Waves = []campaign.Wave{{Count: 10}, {Count: 1}} })), m}
	w.run(c.c)
	list := w.inState(c.c, campaign.Offered)
	for i, d := range list {
		if i < 7 {
			w.report(d, m, "installed", holding(m.Image))
		} else {
			w.report(d, m, "failed")
		}
	}
	w.run(c.c)
	w.wantEnd(c.c, campaign.AutoStopped)
	if have := w.campaign(c.c).Reason; have != "wave 1: 70.0 % confirmed, 90 % needed" {
		t.Errorf("reason %q", have)
	}
	if n := len(w.inState(c.c, campaign.Withdrawn)); n != 10 {
		t.Errorf("%d withdrawn, want the second wave", n)
	}
}

func TestFailureThresholdStopsBeforeTheNextOffer(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register(names(50)...)
	c := campaignAnd{w.create("c", m, policy(func(p *campaign.Policy) {
		p.InFlight, p.MinSample, p.FailurePercent = 10, 10, 10
	})), m}
	w.run(c.c)
	for i, d := range w.inState(c.c, campaign.Offered) {
		word, change := "installed", holding(m.Image)
		if i < 2 {
			word = "failed"
		}
		w.report(d, m, word, change)
	}
	w.run(c.c)
	w.wantEnd(c.c, campaign.AutoStopped)
	if n := len(w.inState(c.c, campaign.Withdrawn)); n != 40 {
		t.Errorf("%d withdrawn, want all that were not offered", n)
	}
	for _, a := range w.inState(c.c, campaign.Withdrawn) {
		if w.assignment(c.c, a).Offers != 0 {
			t.Errorf("%s was offered after the threshold was passed", a)
		}
	}
}

func TestInFlightIsNeverPassed(t *testing.T) {
	w := newWorld(t)
	w.slice = 7
	m := w.manifest("v2")
	w.register(names(50)...)
	c := campaignAnd{w.create("c", m, policy(func(p *campaign.Policy) { p.InFlight = 10 })), m}
	rounds := 0
	for ; w.campaign(c.c).Phase != campaign.Stopped; rounds++ {
		w.run(c.c)
		if n := len(w.inState(c.c, campaign.Offered)); n > 10 {
			t.Fatalf("%d live at once", n)
		}
		w.answer(c, "installed", holding(m.Image))
	}
	if rounds != 6 {
		t.Errorf("took %d rounds, want 5 of 10 devices and the end", rounds)
	}
}

func TestSelection(t *testing.T) {
	strange := uuid.MustParse("33333333-3333-4333-8333-333333333333")
	tests := []struct {
		name    string
		sel     campaign.Selection
		pending []string
		skipped map[string]string
	}{
		{"by vendor and class", campaign.Selection{}, []string{"a", "b"}, map[string]string{"has-it": campaign.ReasonAlreadyInstalled}},
		{"by labels", campaign.Selection{Labels: map[string]string{"site": "x"}}, []string{"a"},
			map[string]string{"has-it": campaign.ReasonAlreadyInstalled}},
		{"by filter", campaign.Selection{Filter: `labels.site == "x" && !(labels.floor == "")`}, []string{"a"}, map[string]string{}},
		{"by short filter and labels", campaign.Selection{Filter: "floor in (1,2)", Labels: map[string]string{"site": "x"}}, []string{"a"}, map[string]string{}},
		{"by labels that contradict", campaign.Selection{Filter: "site=y", Labels: map[string]string{"site": "x"}}, nil, map[string]string{}},
		{"by facts", campaign.Selection{Filter: `facts.site == "x"`}, []string{"b"}, map[string]string{}},
		{"by list", campaign.Selection{Devices: []ident.Device{device("nobody"), device("b"), device("b"), device("blank"), device("a")}}, []string{"a", "b"},
			map[string]string{"blank": campaign.ReasonNotEligible, "nobody": campaign.ReasonNotRegistered}},
	}
	for _, slice := range []int{1, 2, 100} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s in slices of %d", tt.name, slice), func(t *testing.T) {
				w := newWorld(t)
				w.slice = slice
				m := w.manifest("v2")
				w.register("a", "b", "alien", "has-it", "blank")
				for id, change := range map[string]func(*campaign.Device){
					"a":      func(d *campaign.Device) { d.Labels = map[string]string{"site": "x", "floor": "1"} },
					"b":      func(d *campaign.Device) { d.Facts = map[string]string{"site": "x"} }, // a device's claim selects nothing
					"alien":  func(d *campaign.Device) { d.Class, d.Labels = strange, map[string]string{"site": "x"} },
					"has-it": func(d *campaign.Device) { d.Labels = map[string]string{"site": "x"} },
					"blank":  func(d *campaign.Device) { d.Class = uuid.Nil },
				} {
					d := w.m.devices[device(id)]
					change(&d)
					w.m.devices[d.ID] = d
				}
				w.hello("has-it", m.Image, 1)
				c := campaignID("c")
				w.update(func(tx campaign.Tx) (campaign.Result, error) {
					_, err := campaign.Create(tx, w.now, acme, campaign.Spec{ID: c, Manifest: m.Digest, Selection: tt.sel, Policy: policy()})
					return campaign.Result{}, err
				})
				w.update(func(tx campaign.Tx) (campaign.Result, error) {
					_, res, err := campaign.Start(tx, w.now, acme, c, 1, "op")
					return res, err
				})
				w.run(c)
				if diff := gocmp.Diff(tt.pending, w.inState(c, campaign.Offered)); diff != "" {
					t.Errorf("offered: %s", diff)
				}
				skipped := map[string]string{}
				for _, d := range w.inState(c, campaign.Skipped) {
					skipped[d] = w.assignment(c, d).Reason
				}
				if diff := gocmp.Diff(tt.skipped, skipped); diff != "" {
					t.Errorf("skipped: %s", diff)
				}
				if n := len(w.m.assignments); n != len(tt.pending)+len(tt.skipped) {
					t.Errorf("%d assignments", n)
				}
			})
		}
	}
}

func TestNoDeviceMatches(t *testing.T) {
	w := newWorld(t)
	c := w.create("c", w.manifest("v2"), policy())
	w.run(c)
	w.wantEnd(c, campaign.Refused)
}

func TestEveryDeviceSkippedIsSuccess(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d")
	w.hello("d", m.Image, 1)
	c := w.create("c", m, policy())
	w.run(c)
	w.wantEnd(c, campaign.Succeeded)
	w.want(c, "d", campaign.Skipped)
}

func TestNothingConfirmedIsNoSuccess(t *testing.T) {
	w, d, c := offered(t)
	cp := w.m.campaigns[c.c]
	cp.Policy.SuccessPercent = 0 // no gate at all
	w.m.campaigns[c.c] = cp
	w.report(d, c.m, "failed")
	w.run(c.c)
	w.wantEnd(c.c, campaign.AutoStopped)
}

func TestCheckAtStart(t *testing.T) {
	transient := []error{campaign.ErrClosed, context.Canceled, fmt.Errorf("read: %w", context.DeadlineExceeded)}
	for _, err := range transient {
		w := newWorld(t)
		w.register("d")
		c := w.create("c", w.manifest("v2"), policy())
		w.advance(c)
		_, _, have := campaign.Advance(w.m.clone(), w.now, acme, c, campaign.Outside{Check: func(campaign.Reader, firmware.Manifest) error { return err }}, 1)
		if !errors.Is(have, err) {
			t.Errorf("%v gave %v: it says nothing about the manifest", err, have)
		}
	}
	for _, err := range []error{firmware.ErrUntrusted, firmware.ErrNoPayload, campaign.ErrNotFound, errors.New(strings.Repeat("ü", 500))} {
		w := newWorld(t)
		w.register("d")
		w.check = func(campaign.Reader, firmware.Manifest) error { return err }
		c := w.create("c", w.manifest("v2"), policy())
		w.run(c)
		w.wantEnd(c, campaign.Refused)
		if r := w.campaign(c).Reason; len(r) > 256 || !strings.HasPrefix(r, "manifest check: ") {
			t.Errorf("reason %q", r)
		}
		if len(w.m.assignments) != 0 {
			t.Error("devices were enrolled")
		}
	}
	t.Run("manifest gone", func(t *testing.T) {
		w := newWorld(t)
		w.register("d")
		m := w.manifest("v2")
		c := w.create("c", m, policy())
		delete(w.m.manifests, m.Digest)
		w.run(c)
		w.wantEnd(c, campaign.Refused)
	})
}

func TestStopWithdrawsAndClearsInEveryPhase(t *testing.T) {
	for steps := range 12 {
		w := newWorld(t)
		w.slice = 2
		m := w.manifest("v2")
		w.register(names(6)...)
		c := w.create("c", m, policy(func(p *campaign.Policy) { p.InFlight = 3 }))
		for range steps {
			w.advance(c)
		}
		w.stop(c)
		if w.campaign(c).Phase != campaign.Stopping {
			t.Fatalf("after %d steps: phase %s", steps, w.campaign(c).Phase)
		}
		w.run(c)
		w.wantEnd(c, campaign.UserStopped)
		if len(w.topic) != 0 {
			t.Errorf("after %d steps: topics that still show a manifest: %v", steps, w.topic)
		}
		for k, a := range w.m.assignments {
			if a.State != campaign.Withdrawn {
				t.Errorf("after %d steps: %s is %s", steps, k.d, a.State)
			}
		}
		if wake := w.advance(c); wake.Again || !wake.At.IsZero() {
			t.Errorf("a stopped campaign wants %+v", wake)
		}
	}
}

func TestWithinEndsACampaign(t *testing.T) {
	for _, paused := range []bool{false, true} {
		w, d, c := offered(t)
		w.report(d, c.m, "downloading")
		cp := w.m.campaigns[c.c]
		cp.Policy.Within = time.Hour
		if paused {
			cp.Phase = campaign.Paused
		}
		w.m.campaigns[c.c] = cp
		if wake := w.run(c.c); !wake.At.Equal(start.Add(time.Hour)) {
			t.Errorf("wants to look at %v", wake.At)
		}
		w.now = w.now.Add(time.Hour)
		w.run(c.c)
		w.wantEnd(c.c, campaign.Expired)
		w.want(c.c, d, campaign.Withdrawn)
	}
}

func TestPausedOffersNothingAndKeepsTime(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register(names(4)...)
	c := w.create("c", m, policy(func(p *campaign.Policy) { p.InFlight = 2 }))
	w.run(c)
	cp := w.m.campaigns[c]
	cp.Phase = campaign.Paused
	w.m.campaigns[c] = cp
	before := w.inState(c, campaign.Offered)
	w.now = w.now.Add(72 * time.Hour)
	w.run(c)
	if len(w.inState(c, campaign.Offered)) != 0 || !slices.Equal(w.inState(c, campaign.Silent), before) {
		t.Errorf("offered %v, silent %v, want %v silent", w.inState(c, campaign.Offered), w.inState(c, campaign.Silent), before)
	}
}

// TestEveryStepSurvivesAStoreThatFails makes each read of each step fail: the step must say so, and not go on with less.
func TestEveryStepSurvivesAStoreThatFails(t *testing.T) {
	broken := errors.New("broken")
	w, d, c := offered(t)
	w.m.fail = broken
	steps := map[string]func(campaign.Tx) error{
		"advance": func(tx campaign.Tx) error {
			_, _, err := campaign.Advance(tx, w.now, acme, c.c, w.outside(), 10)
			return err
		},
		"report": func(tx campaign.Tx) error {
			_, err := campaign.ApplyReport(tx, w.now, acme, device(d), campaign.Report{Seq: 99, Manifest: c.m.Digest, State: "received"})
			return err
		},
		"hello": func(tx campaign.Tx) error {
			_, err := campaign.ApplyHello(tx, w.now, acme, device(d), campaign.Hello{Seq: 99})
			return err
		},
		"create": func(tx campaign.Tx) error {
			_, err := campaign.Create(tx, w.now, acme, campaign.Spec{ID: c.c, Manifest: c.m.Digest, Policy: policy()})
			return err
		},
		"sweep needed": func(tx campaign.Tx) error {
			_, _, err := campaign.SweepNeeded(tx, acme, ident.Device{}, 10)
			return err
		},
		"sweep": func(tx campaign.Tx) error {
			_, _, err := campaign.Sweep(tx, acme, ident.Device{}, 10)
			return err
		},
	}
	for name, step := range steps {
		if err := step(w.m.clone()); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A device that holds the image of a later manifest would refuse an older one: it is not asked.
func TestOlderManifestIsNotOffered(t *testing.T) {
	for _, tt := range []struct {
		held uint64
		want campaign.State
	}{{8, campaign.Skipped}, {7, campaign.Offered}, {0, campaign.Offered}} {
		w := newWorld(t)
		m := w.manifest("v2") // number 7
		w.register("d")
		d := w.m.devices[device("d")]
		d.Installed = []campaign.Image{{Component: component, Digest: factory, Sequence: tt.held}}
		w.m.devices[device("d")] = d
		c := w.create("c", m, policy())
		w.run(c)
		w.want(c, "d", tt.want)
		if a := w.assignment(c, "d"); tt.want == campaign.Skipped && a.Reason != campaign.ReasonNewerInstalled {
			t.Errorf("reason %q", a.Reason)
		}
	}
}
