package campaign_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// grant gives the tenant n updates.
func (w *world) grant(change campaign.QuotaChange) {
	w.t.Helper()
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.SetQuota(tx, w.now, acme, change, "root")
		return res, err
	})
}

// sum is what the ledger says is free: grants and releases less what was reserved.
func (w *world) sum() (free int64) {
	for i, e := range w.m.ledger {
		switch e.Kind {
		case campaign.LedgerGrant, campaign.LedgerRelease:
			free += e.Amount
		case campaign.LedgerReserve:
			free -= e.Amount
		}
		if e.Free != free || e.Number != uint64(i+1) {
			w.t.Fatalf("entry %d: %+v, want %d free", i, e, free)
		}
	}
	return free
}

// TestQuotaIsReservedUsedAndReleased: five devices reserve five, two that said a word use two, three come back.
func TestQuotaIsReservedUsedAndReleased(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register(names(5)...)
	w.grant(campaign.QuotaChange{Grant: 7})
	c := w.create("c", m, policy())
	w.run(c)
	if q := w.m.quota; q.Free != 2 || q.Reserved != 5 || q.Used != 0 || w.campaign(c).Reserved != 5 {
		t.Errorf("running: %+v", q)
	}
	w.report("d000", m, "received")
	w.report("d000", m, "downloading")
	w.report("d001", m, "received")
	w.report("d001", m, "failed")
	w.stop(c)
	w.run(c)
	if q := w.m.quota; q.Free != 5 || q.Reserved != 0 || q.Used != 2 || w.sum() != 5 || w.campaign(c).Reserved != 0 {
		t.Errorf("stopped: %+v", q)
	}
	second := w.create("d", m, policy())
	w.run(second)
	if q := w.m.quota; q.Reserved != 5 || q.Free != 0 {
		t.Errorf("again: %+v", q)
	}
	third := w.create("e", m, policy())
	w.run(third)
	w.wantEnd(third, campaign.Refused)
	if got := w.campaign(third).Reason; got != "quota: 5 updates needed, 0 left" {
		t.Errorf("reason %q", got)
	}
	if q := w.m.quota; q.Reserved != 5 || q.Free != 0 || w.sum() != 0 {
		t.Errorf("refused: %+v", q)
	}
	w.grant(campaign.QuotaChange{Unlimited: true})
	w.run(w.create("f", m, policy()))
	if w.campaign(campaignID("f")).Phase != campaign.Active {
		t.Error("unlimited, and refused")
	}
}

func TestQuotaOfRunningCampaigns(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("a")
	one := 1
	w.grant(campaign.QuotaChange{Campaigns: &one})
	c := w.create("c", m, policy())
	spec := campaign.Spec{ID: campaignID("d"), Manifest: m.Digest, Policy: policy(), By: "op"}
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, err := campaign.Create(tx, w.now, acme, spec)
		return campaign.Result{}, err
	})
	begin := func() error {
		_, _, err := campaign.Start(w.m.clone(), w.now, acme, spec.ID, 0, "op")
		return err
	}
	if err := begin(); !errors.Is(err, campaign.ErrQuota) {
		t.Errorf("two at once: %v", err)
	}
	w.stop(c)
	w.run(c)
	if err := begin(); err != nil {
		t.Errorf("one at a time: %v", err)
	}
}

// TestLateJoinersUseTheQuota: who joins takes an update while there is one, waits with a reason when there is none, and
// comes in by itself when a grant, or a campaign that stops, makes room.
func TestLateJoinersUseTheQuota(t *testing.T) {
	w := newWorld(t)
	m, other := w.manifest("v2"), w.manifest("other")
	w.register("a")
	w.grant(campaign.QuotaChange{Grant: 4})
	hold := w.createFor("hold", other, campaign.Selection{Devices: []ident.Device{device("a")}}, policy())
	w.run(hold)
	c := w.createFor("c", m, campaign.Selection{Filter: `facts.ring == "a"`}, policy(continuous))
	w.run(c)
	for i, d := range names(6) {
		w.sayHello(d, campaign.Hello{Seq: uint64(i) + 1, Vendor: vendor, Class: class, Facts: map[string]string{"ring": "a"}})
	}
	wake := w.run(c)
	if wake.Again {
		t.Error("the campaign spins while it waits for the quota")
	}
	n, _ := w.m.Counts(acme, c)
	if n.Of(campaign.Offered) != 3 || n.Unpaid != 3 || w.campaign(c).Reserved != 3 || w.m.quota.Free != 0 {
		t.Fatalf("%v, %d unpaid, %+v", n.Waves, n.Unpaid, w.m.quota)
	}
	waits := w.unpaid(c)[0]
	if list, _, err := campaign.Why(w.m, w.now, acme, waits, c, false); err != nil || list[0].Code != campaign.WhyQuota || list[0].Reason != campaign.ReasonQuota {
		t.Errorf("%+v, %v", list, err)
	}
	if last := w.m.ledger[len(w.m.ledger)-1]; last.Kind != campaign.LedgerReserve || last.Amount != 3 || last.Campaign != c {
		t.Errorf("the ledger's last entry: %+v", last)
	}

	w.woken = map[ident.Campaign]bool{}
	w.stop(hold)
	w.run(hold)
	if !w.woken[c] {
		t.Error("an update was released, and nobody tells the campaign")
	}
	w.run(c)
	if left := w.unpaid(c); len(left) != 2 || slices.Contains(left, waits) {
		t.Errorf("%v still wait, %s came first", left, waits)
	}
	w.woken = map[ident.Campaign]bool{}
	w.grant(campaign.QuotaChange{Grant: 1})
	if !w.woken[c] {
		t.Error("an update was granted, and nobody tells the campaign")
	}
	w.run(c)
	w.grant(campaign.QuotaChange{Unlimited: true})
	w.run(c)
	if left := w.unpaid(c); len(left) != 0 {
		t.Errorf("%v wait for what is not counted", left)
	}
	w.report("d000", m, "received")
	w.stop(c)
	w.run(c)
	w.wantEnd(c, campaign.UserStopped)
	if q := w.m.quota; q.Used != 1 || q.Reserved != 0 || q.Free != w.sum() {
		t.Errorf("%+v, the ledger says %d", q, w.sum())
	}
}

// unpaid lists the devices that wait for the quota.
func (w *world) unpaid(c ident.Campaign) (out []ident.Device) {
	list, _ := w.m.Unpaid(acme, c, 1000)
	for _, a := range list {
		out = append(out, a.Device)
	}
	return out
}

// TestStopOfUnpaid: what waits for the quota is withdrawn like what waits for anything else, and nothing stays behind.
func TestStopOfUnpaid(t *testing.T) {
	w := newWorld(t)
	w.grant(campaign.QuotaChange{Grant: 1})
	c := w.createFor("c", w.manifest("v2"), campaign.Selection{}, policy(continuous))
	w.run(c)
	for _, d := range names(3) {
		w.hello(d, factory, 1)
	}
	w.run(c)
	w.stop(c)
	w.run(c)
	n, _ := w.m.Counts(acme, c)
	if n.Unpaid != 0 || n.Of(campaign.Withdrawn) != 3 || w.m.quota.Free != 1 || w.m.quota.Reserved != 0 || w.sum() != 1 {
		t.Errorf("%v, %d unpaid, %+v", n.Waves, n.Unpaid, w.m.quota)
	}
	if s := w.campaign(c).StopCounts(n); s != (campaign.StopCounts{NotStarted: 2, InTime: 1}) {
		t.Errorf("%+v", s)
	}
}

// TestUncountedCampaignStaysSo: who started while updates were not counted uses none up, its late devices neither.
func TestUncountedCampaignStaysSo(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	c := w.createFor("c", m, campaign.Selection{}, policy(continuous))
	w.run(c)
	w.grant(campaign.QuotaChange{Grant: 1})
	for _, d := range names(3) {
		w.hello(d, factory, 1)
	}
	w.run(c)
	w.report("d000", m, "received")
	w.stop(c)
	w.run(c)
	if q := w.m.quota; q.Free != 1 || q.Used != 0 || len(w.m.ledger) != 1 {
		t.Errorf("%+v", q)
	}
}

// TestLedgerAddsUp: whatever happens in whatever order, the ledger's sums are the quota: what is free; reserved and used
// are what was reserved and not released.
func TestLedgerAddsUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		m := w.manifest("v2")
		w.register(names(3)...)
		var all []ident.Campaign
		act := map[string]func(){
			"grant":     func() { w.grant(campaign.QuotaChange{Grant: int64(rapid.IntRange(-2, 6).Draw(rt, "n"))}) },
			"unlimited": func() { w.grant(campaign.QuotaChange{Unlimited: true}) },
			"start": func() {
				if len(all) < 4 {
					change := []func(*campaign.Policy){continuous}[:rapid.IntRange(0, 1).Draw(rt, "continuous")]
					all = append(all, w.createFor(fmt.Sprintf("c%d", len(all)), m, campaign.Selection{}, policy(change...)))
				}
			},
			"join": func() { w.hello(fmt.Sprintf("n%d", rapid.IntRange(0, 9).Draw(rt, "device")), factory, 1) },
			"report": func() {
				w.report(rapid.SampledFrom(names(3)).Draw(rt, "device"), m, rapid.SampledFrom([]string{"received", "failed"}).Draw(rt, "word"))
			},
			"stop": func() {
				for _, c := range all {
					if p := w.campaign(c).Phase; p == campaign.Active && rapid.Bool().Draw(rt, "stop") {
						w.stop(c)
					}
				}
			},
		}
		for range rapid.IntRange(5, 25).Draw(rt, "steps") {
			act[rapid.SampledFrom(slices.Sorted(maps.Keys(act))).Draw(rt, "act")]()
			for _, c := range all {
				w.run(c)
			}
			w.addsUp()
		}
	})
}

func (w *world) addsUp() {
	w.t.Helper()
	q := w.m.quota
	var reserved, used int64
	for _, e := range w.m.ledger {
		switch e.Kind {
		case campaign.LedgerReserve:
			reserved += e.Amount
		case campaign.LedgerRelease:
			reserved -= e.Amount
		case campaign.LedgerUse:
			reserved -= e.Amount
			used += e.Amount
		}
	}
	var held uint64
	for _, c := range w.m.campaigns {
		held += c.Reserved
		if n, _ := w.m.Counts(acme, c.ID); c.Reserved > n.Total()-n.Unpaid {
			w.t.Fatalf("%s has reserved %d for %d devices", c.ID, c.Reserved, n.Total()-n.Unpaid)
		}
	}
	if q.Reserved != uint64(reserved) || q.Used != uint64(used) || q.Reserved != held || q.Free != w.sum() {
		w.t.Fatalf("%+v; the ledger: %d reserved, %d used; campaigns hold %d", q, reserved, used, held)
	}
}
