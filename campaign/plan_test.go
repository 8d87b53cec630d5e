package campaign_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

func (w *world) plan(c ident.Campaign) campaign.Plan {
	w.t.Helper()
	p, err := campaign.MakePlan(w.m, w.now, acme, c)
	if err != nil {
		w.t.Fatalf("plan: %v", err)
	}
	return p
}

func (w *world) draft(id string, m firmware.Manifest, p campaign.Policy, devices ...string) ident.Campaign {
	w.t.Helper()
	s := campaign.Spec{ID: campaignID(id), Manifest: m.Digest, Policy: p, Seed: [16]byte{1}, By: "op"}
	for _, d := range devices {
		s.Selection.Devices = append(s.Selection.Devices, device(d))
	}
	if _, err := campaign.Create(w.m, w.now, acme, s); err != nil {
		w.t.Fatalf("create: %v", err)
	}
	return s.ID
}

func (w *world) startPlanned(c ident.Campaign, by string, plan ident.Digest) campaign.Campaign {
	w.t.Helper()
	var started campaign.Campaign
	w.update(func(tx campaign.Tx) (res campaign.Result, err error) {
		started, res, err = campaign.StartPlanned(tx, w.now, acme, c, 0, by, plan)
		return res, err
	})
	return started
}

// tag sets an operator's label of a device.
func (w *world) tag(d, name, value string) {
	w.t.Helper()
	dev := w.m.devices[device(d)]
	dev.Labels = map[string]string{name: value}
	w.m.devices[device(d)] = dev
}

// TestPlanIsWhatRuns: the devices of each wave and their order are those that the campaign then has.
func TestPlanIsWhatRuns(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register(names(60)...)
	for i, n := range names(60) {
		w.tag(n, "site", fmt.Sprintf("s%d", i%7))
	}
	w.tag(names(60)[3], "ring", "canary")
	p := policy(func(p *campaign.Policy) {
		p.Waves = []campaign.Wave{{Percent: 5}, {Filter: `labels.ring == "canary"`}, {Count: 10}, {Percent: 100}}
		p.Stratify = "site"
	})
	c := w.draft("c", m, p)
	plan := w.plan(c)
	w.startPlanned(c, "op", plan.Digest)
	w.run(c)
	if got := w.campaign(c); got.Phase != campaign.Active {
		t.Fatalf("%s: %s", got.Phase, got.Reason)
	}
	var want, have []string
	for after := (campaign.Place{}); ; {
		list := plan.Page(after, 7)
		for _, d := range list {
			want = append(want, fmt.Sprintf("%d %d %s", d.Wave, d.Order, d.Device))
			after = campaign.Place{Wave: d.Wave, Order: d.Order, Device: d.Device}
		}
		if len(list) < 7 {
			break
		}
	}
	all, err := w.m.Assignments(acme, c, ident.Device{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b campaign.Assignment) int { return byPlace(a.Place(), b.Place()) })
	for _, a := range all {
		have = append(have, fmt.Sprintf("%d %d %s", a.Wave, a.Order, a.Device))
	}
	if !slices.Equal(want, have) || len(want) != 60 {
		t.Errorf("planned\n%s\nran\n%s", strings.Join(want, "\n"), strings.Join(have, "\n"))
	}
	if plan.Waves[0] != 7 || plan.Waves[1] != 1 || plan.Waves[2] != 10 { // one of each of the seven sites
		t.Errorf("waves %v", plan.Waves)
	}
}

// TestPlanDigest: it stays where nothing that runs has changed, and moves with everything that does.
func TestPlanDigest(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register(names(5)...)
	c := w.draft("c", m, policy())
	first := w.plan(c).Digest
	w.now = w.now.Add(time.Hour)
	w.hello(names(5)[0], ident.Digest{}, 7)
	if again := w.plan(c).Digest; again != first || again.IsZero() {
		t.Errorf("%s, then %s, and nothing has changed", first, again)
	}
	seen := map[ident.Digest]string{first: "before"}
	for name, change := range map[string]func(*world){
		"a device more":     func(w *world) { w.register("z") },
		"a device has it":   func(w *world) { w.hello(names(5)[1], m.Image, 1) },
		"another policy":    func(w *world) { edit(w, c, func(c *campaign.Campaign) { c.Policy.InFlight = 2 }) },
		"another seed":      func(w *world) { edit(w, c, func(c *campaign.Campaign) { c.Seed[3]++ }) },
		"another manifest":  func(w *world) { edit(w, c, func(c *campaign.Campaign) { c.Manifest[3]++ }) },
		"in the other wave": func(w *world) { edit(w, c, func(c *campaign.Campaign) { c.Policy.Waves[0].Filter = `id == "x"` }) },
	} {
		next := *w
		next.m = w.m.clone()
		change(&next)
		d := next.plan(c).Digest
		if was, ok := seen[d]; ok {
			t.Errorf("%s: the plan is that of %s", name, was)
		}
		seen[d] = name
	}
}

func edit(w *world, id ident.Campaign, change func(*campaign.Campaign)) {
	c := w.campaign(id)
	c.Policy.Waves = slices.Clone(c.Policy.Waves)
	change(&c)
	w.m.campaigns[id] = c
}

func TestPlanSaysWhoIsLeftOutAndWhy(t *testing.T) {
	w := newWorld(t)
	m, other := w.manifest("v2"), w.manifest("v3")
	w.register("a", "b", "c", "d")
	w.hello("b", m.Image, 1)
	busy := w.draft("busy", other, policy(), "c")
	w.startPlanned(busy, "op", ident.Digest{})
	w.run(busy)
	if err := w.m.PutWork(acme, device("d"), campaign.Work{Failures: []campaign.Failure{{Image: m.Image, Count: 3}}}); err != nil {
		t.Fatal(err)
	}
	id := w.draft("c", m, policy(), "a", "b", "c", "d", "nobody")
	p := w.plan(id)
	if p.Devices != 3 || p.Poisoned != 1 || len(p.Busy) != 1 || p.Busy[0] != (campaign.Blocked{Campaign: busy, Devices: 1}) || p.Bytes() != 3*m.Download() {
		t.Errorf("%d devices, %d poisoned, busy %v, %d bytes", p.Devices, p.Poisoned, p.Busy, p.Bytes())
	}
	left := map[string]int{}
	for _, e := range p.Excluded {
		left[e.Reason] = e.Devices
		if len(e.Examples) != 1 {
			t.Errorf("%s: examples %v", e.Reason, e.Examples)
		}
	}
	if len(left) != 2 || left[campaign.ReasonAlreadyInstalled] != 1 || left[campaign.ReasonNotRegistered] != 1 {
		t.Errorf("excluded %v", left)
	}
	w.now = w.now.Add(100 * time.Hour)
	if p := w.plan(id); p.Unseen != 3 {
		t.Errorf("unseen %d", p.Unseen)
	}
	w.startPlanned(id, "op", ident.Digest{})
	if _, err := campaign.MakePlan(w.m, w.now, acme, id); !errors.Is(err, campaign.ErrPhase) {
		t.Errorf("plan of a started campaign: %v", err)
	}
}

// TestChangedPlanIsRefused: what was agreed on runs, or nothing does.
func TestChangedPlanIsRefused(t *testing.T) {
	w := newWorld(t)
	w.register("a", "b")
	c := w.draft("c", w.manifest("v2"), policy())
	w.startPlanned(c, "op", w.plan(c).Digest)
	w.register("late")
	w.run(c)
	w.wantEnd(c, campaign.Refused)
	if got := w.campaign(c).Reason; !strings.Contains(got, "plan has changed") {
		t.Errorf("reason %q", got)
	}
}

func TestApprovalNeedsAnother(t *testing.T) {
	w := newWorld(t)
	w.register("a")
	c := w.draft("c", w.manifest("v2"), policy(func(p *campaign.Policy) { p.Approval = true }))
	if _, _, err := campaign.Start(w.m.clone(), w.now, acme, c, 0, "op"); err == nil {
		t.Error("started without a plan")
	}
	words := "x"
	for range 2 {
		w.update(func(tx campaign.Tx) (campaign.Result, error) {
			_, res, err := campaign.Update(tx, acme, c, 0, campaign.Change{Description: &words, By: "editor"})
			return res, err
		})
	}
	plan := w.plan(c).Digest
	if got := w.startPlanned(c, "starter", plan); got.Phase != campaign.AwaitingApproval || got.Plan != plan {
		t.Fatalf("%+v", got)
	}
	if w.run(c); w.campaign(c).Phase != campaign.AwaitingApproval {
		t.Error("it ran before its approval")
	}
	for by, want := range map[string]error{w.campaign(c).CreatedBy: campaign.ErrOwnCampaign, "editor": campaign.ErrOwnCampaign, "starter": campaign.ErrOwnCampaign} {
		if _, _, err := campaign.Approve(w.m.clone(), w.now, acme, c, 0, by, plan); !errors.Is(err, want) {
			t.Errorf("approved by %s: %v", by, err)
		}
	}
	if _, _, err := campaign.Approve(w.m.clone(), w.now, acme, c, 0, "boss", ident.SumDigest(nil)); !errors.Is(err, campaign.ErrPlanChanged) {
		t.Errorf("approved another plan: %v", err)
	}
	back, _, err := campaign.Reject(w.m.clone(), acme, c, 0, "boss", "too wide")
	if err != nil || back.Phase != campaign.Draft || back.Reason != "rejected by boss: too wide" || !back.Plan.IsZero() || back.StartedBy != "" || !back.Started.IsZero() {
		t.Errorf("rejected: %v, %+v", err, back)
	}
	w.now = w.now.Add(time.Hour)
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.Approve(tx, w.now, acme, c, 0, "boss", plan)
		return res, err
	})
	if got := w.campaign(c); got.ApprovedBy != "boss" || !got.ApprovedAt.Equal(w.now) || !got.Started.Equal(w.now) {
		t.Errorf("approved: %+v", got)
	}
	if w.run(c); w.campaign(c).Phase != campaign.Active {
		t.Errorf("after the approval: %s", w.campaign(c).Phase)
	}
	for name, err := range map[string]error{
		"approve": third(campaign.Approve(w.m.clone(), w.now, acme, c, 0, "other", plan)),
		"reject":  third(campaign.Reject(w.m.clone(), acme, c, 0, "other", "")),
	} {
		if !errors.Is(err, campaign.ErrPhase) {
			t.Errorf("%s of an active campaign: %v", name, err)
		}
	}
}

// TestEditorsAreBounded: a draft that so many have changed that one could be forgotten takes no more.
func TestEditorsAreBounded(t *testing.T) {
	w := newWorld(t)
	c := w.draft("c", w.manifest("v2"), policy())
	for i := range campaign.MaxEditors + 1 {
		_, _, err := campaign.Update(w.m, acme, c, 0, campaign.Change{By: fmt.Sprint("editor ", i)})
		if _, invalid := errors.AsType[*campaign.InvalidError](err); invalid != (i == campaign.MaxEditors) {
			t.Errorf("editor %d: %v", i, err)
		}
	}
}

func TestPolicyOfFiltersAndStrata(t *testing.T) {
	for pointer, change := range map[string]func(*campaign.Policy){
		"/policy/waves/0/filter": func(p *campaign.Policy) { p.Waves = []campaign.Wave{{Filter: "nonsense("}, {Percent: 100}} },
		"/policy/waves/1/filter": func(p *campaign.Policy) { p.Waves = []campaign.Wave{{Percent: 5}, {Filter: `id == "a"`}} },
		"/policy/waves/0":        func(p *campaign.Policy) { p.Waves = []campaign.Wave{{Percent: 5, Filter: `id == "a"`}, {Percent: 100}} },
		"/policy/stratify": func(p *campaign.Policy) {
			p.Waves, p.Stratify = []campaign.Wave{{Filter: `id == "a"`}, {Percent: 100}}, "site"
		},
	} {
		_, err := policy(change).Complete()
		if invalid, ok := errors.AsType[*campaign.InvalidError](err); !ok || len(invalid.Fields) != 1 || invalid.Fields[0].Pointer != pointer {
			t.Errorf("%s: %v", pointer, err)
		}
	}
}

// TestTooManyStrata: a first wave that can't cover the label starts nothing.
func TestTooManyStrata(t *testing.T) {
	w := newWorld(t)
	w.slice = 500
	for i, n := range names(campaign.MaxStrata + 1) {
		w.register(n)
		w.tag(n, "serial", fmt.Sprint(i))
	}
	c := w.draft("c", w.manifest("v2"), policy(func(p *campaign.Policy) { p.Stratify = "serial" }))
	if p := w.plan(c); p.Refused == "" {
		t.Error("the plan does not say so")
	}
	w.startPlanned(c, "op", ident.Digest{})
	w.run(c)
	w.wantEnd(c, campaign.Refused)
}

// TestCoveringFirstWave compares with the plain rule: the first wave holds must and as many of the lowest others as it
// has room for; no order is in two waves, none is lost.
func TestCoveringFirstWave(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n, count := 1+r.IntN(40), 1+r.IntN(20)
		var orders, must []uint64
		for i := range n {
			orders = append(orders, uint64(i)*3+1)
		}
		for _, o := range orders {
			if r.IntN(6) == 0 {
				must = append(must, o)
			}
		}
		out, first := campaign.CoverOf([]campaign.Wave{{Count: count}, {Count: 5}, {Percent: 100}}, orders, 0, must)
		c := campaign.Campaign{Bounds: out, First: first}
		var have, want [3]int
		for _, o := range orders {
			wave := c.WaveOf(o)
			have[wave]++
			if slices.Contains(must, o) && wave != 0 {
				t.Fatalf("%d of %v is in wave %d", o, must, wave)
			}
		}
		want[0] = min(n, max(count, len(must)))
		want[1] = min(n-want[0], 5)
		want[2] = n - want[0] - want[1]
		if have != want {
			t.Fatalf("%d devices, must %v, count %d: waves %v, want %v", n, must, count, have, want)
		}
	}
}
