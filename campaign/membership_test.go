package campaign_test

import (
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

func continuous(p *campaign.Policy) { p.Membership = campaign.Continuous }

// createFor makes a campaign of a selection and starts it.
func (w *world) createFor(id string, m firmware.Manifest, sel campaign.Selection, p campaign.Policy) ident.Campaign {
	w.t.Helper()
	c := campaignID(id)
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, err := campaign.Create(tx, w.now, acme, campaign.Spec{ID: c, Manifest: m.Digest, Selection: sel, Policy: p, Seed: [16]byte{1}, By: "op"})
		return campaign.Result{}, err
	})
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.Start(tx, w.now, acme, c, 0, "op")
		return res, err
	})
	return c
}

// TestContinuousJoins: a device joins by its first hello, by a label, and by a fact; a one-shot campaign beside it gets
// nobody; a device of another class, or one that is part of it already, changes nothing.
func TestContinuousJoins(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("first", "later")
	sel := campaign.Selection{Filter: `labels.ring == "a" || facts.ring == "a"`}
	w.label("", campaign.LabelChange{Set: map[string]string{"ring": "a"}}, "first")
	c := w.createFor("c", m, sel, policy(continuous))
	other := w.createFor("other", w.manifest("other"), sel, policy())
	w.run(c)
	w.run(other)
	w.want(c, "first", campaign.Offered)

	w.woken = map[ident.Campaign]bool{}
	w.label("", campaign.LabelChange{Set: map[string]string{"ring": "a"}}, "later")
	w.sayHello("new", campaign.Hello{Seq: 1, Vendor: vendor, Class: class, Facts: map[string]string{"ring": "a"}})
	w.sayHello("alien", campaign.Hello{Seq: 1, Vendor: vendor, Class: vendor, Facts: map[string]string{"ring": "a"}})
	w.sayHello("has-it", campaign.Hello{Seq: 1, Vendor: vendor, Class: class, Facts: map[string]string{"ring": "a"},
		Installed: []campaign.Image{{Component: component, Digest: m.Image}}})
	if !w.woken[c] {
		t.Error("nobody looks at the campaign that was joined")
	}
	w.run(c)
	w.run(other)
	w.want(c, "later", campaign.Offered)
	w.want(c, "new", campaign.Offered)
	w.want(c, "has-it", campaign.Skipped)
	for id, n := range map[ident.Campaign]int{c: 4, other: 1} {
		counts, err := w.m.Counts(acme, id)
		if err != nil || counts.Total() != uint64(n) {
			t.Errorf("%s has %d devices, want %d", id, counts.Total(), n)
		}
	}
	w.label("", campaign.LabelChange{Join: []string{"g"}}, "first")
	w.want(c, "first", campaign.Offered)
}

// TestContinuousEnds: it starts with nobody, does not end when all are done, ends well by its time, and by a stop.
func TestContinuousEnds(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	p := policy(continuous, func(p *campaign.Policy) { p.Within = time.Hour })
	c := w.createFor("c", m, campaign.Selection{}, p)
	w.run(c)
	w.hello("d", factory, 1)
	w.run(c)
	w.report("d", m, "installed", holding(m.Image))
	w.run(c)
	w.want(c, "d", campaign.Confirmed)
	if have := w.campaign(c); have.Phase != campaign.Active {
		t.Fatalf("campaign is %s %s", have.Phase, have.Outcome)
	}
	stopped := w.createFor("stopped", w.manifest("v3"), campaign.Selection{}, p)
	w.run(stopped)
	w.stop(stopped)
	w.hello("late", factory, 1)
	w.run(stopped)
	w.wantEnd(stopped, campaign.UserStopped)
	if w.assignment(stopped, "late").State != "" {
		t.Error("a device joined a campaign that stops")
	}
	w.run(c)
	w.report("late", m, "installed", holding(m.Image))
	w.now = w.now.Add(time.Hour)
	w.run(c)
	w.wantEnd(c, campaign.Succeeded)
}

// TestContinuousWhileStarting: a device that registers while assignments are written is in the campaign once, whichever
// side of the cursor it is on.
func TestContinuousWhileStarting(t *testing.T) {
	w := newWorld(t)
	w.slice = 1
	m := w.manifest("v2")
	w.register("b", "d", "f")
	c := w.createFor("c", m, campaign.Selection{}, policy(continuous))
	news := []string{"a", "c", "e", "g"}
	for i := 0; w.campaign(c).Phase != campaign.Active; i++ {
		w.advance(c)
		if i > 3 && len(news) > 0 {
			w.hello(news[0], factory, 1)
			news = news[1:]
		}
		if i > 100 {
			t.Fatal("never active")
		}
	}
	for _, d := range news {
		w.hello(d, factory, 1)
	}
	w.run(c)
	counts, err := w.m.Counts(acme, c)
	if err != nil || counts.Total() != 7 || counts.Of(campaign.Offered) != 7 {
		t.Errorf("counts %v, %v, want 7 offered", counts, err)
	}
}

// TestContinuousJoinsTheOpenWave, and is held to its cap.
func TestContinuousJoinsTheOpenWave(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("a", "b", "c", "d")
	c := w.createFor("c", m, campaign.Selection{}, policy(continuous, func(p *campaign.Policy) {
		p.Waves, p.InFlight = []campaign.Wave{{Count: 2}, {Percent: 100}}, 2
	}))
	w.run(c)
	w.hello("late", factory, 1)
	w.run(c)
	if a := w.assignment(c, "late"); a.State != campaign.Pending || a.Wave != 0 {
		t.Errorf("late is %s in wave %d", a.State, a.Wave)
	}
}

// TestContinuousCrowd: as many as run at one time are held against every hello, no more.
func TestContinuousCrowd(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	for i := range campaign.MaxContinuous + 1 {
		c := w.createFor(string(rune('a'+i%26))+string(rune('a'+i/26)), m, campaign.Selection{}, policy(continuous))
		w.run(c)
		if full := i == campaign.MaxContinuous; full != (w.campaign(c).Outcome == campaign.Refused) {
			t.Fatalf("campaign %d is %s %s (%s)", i, w.campaign(c).Phase, w.campaign(c).Outcome, w.campaign(c).Reason)
		}
	}
}

// TestMembershipRefuses what makes no sense.
func TestMembershipRefuses(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	for _, s := range []campaign.Spec{
		{Policy: policy(func(p *campaign.Policy) { p.Membership = "club" })},
		{Policy: policy(continuous), Selection: campaign.Selection{Devices: []ident.Device{device("a")}}},
	} {
		s.ID, s.Manifest = campaignID("c"), m.Digest
		if _, err := campaign.Create(w.m, w.now, acme, s); err == nil {
			t.Errorf("%v was taken", s.Policy.Membership)
		}
	}
}
