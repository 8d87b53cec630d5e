package campaign_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// retry makes and starts a campaign of the devices of c in the given states.
func (w *world) retry(c ident.Campaign, id string, states ...campaign.State) ident.Campaign {
	w.t.Helper()
	again := campaignID(id)
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, err := campaign.CreateRetry(tx, w.now, acme, campaign.RetryOf{Source: c, States: states,
			Spec: campaign.Spec{ID: again, Seed: [16]byte{2}, By: "op"}})
		return campaign.Result{}, err
	})
	return again
}

func (w *world) start(c ident.Campaign) {
	w.t.Helper()
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.Start(tx, w.now, acme, c, 0, "op")
		return res, err
	})
}

func TestRetryTakesUpWhatFailed(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("a", "b", "c", "d")
	c := w.create("c", m, policy(func(p *campaign.Policy) {
		p.EndAt, p.MinSample, p.Membership = w.now.Add(time.Hour), 50, campaign.Continuous
	}))
	w.run(c)
	w.report("a", m, "failed", because("flash-error"))
	w.report("b", m, "rejected")
	w.report("c", m, "installed", holding(m.Image))
	w.now = w.now.Add(2 * time.Hour)
	w.run(c)
	w.wantEnd(c, campaign.Expired)

	again := w.retry(c, "again")
	draft := w.campaign(again)
	if draft.Phase != campaign.Draft || draft.Manifest != m.Digest || draft.Policy.MinSample != 50 || !draft.Policy.EndAt.IsZero() {
		t.Errorf("draft %+v", draft)
	}
	w.start(again)
	w.run(again)
	w.want(again, "a", campaign.Offered)
	if n := len(w.inState(again, campaign.Offered)); n != 1 {
		t.Errorf("%d offered, want the failed one", n)
	}
	w.stop(again)
	w.run(again)

	more := w.retry(c, "more", campaign.Rejected, campaign.Withdrawn)
	w.start(more)
	w.run(more)
	w.want(more, "b", campaign.Offered)
	w.want(more, "d", campaign.Offered)
	if n := len(w.inState(more, campaign.Offered)); n != 2 {
		t.Errorf("%d offered, want the rejected and the withdrawn one", n)
	}
}

// TestRetryOfManySelectsByReference fails more devices than a draft lists. They are those that stand there at the start, not
// at the making.
func TestRetryOfManySelectsByReference(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	c := w.create("c", m, policy(), "none")
	for i := range campaign.MaxSelected + 1 {
		id := device(fmt.Sprintf("d%05d", i))
		w.m.devices[id] = campaign.Device{ID: id, Vendor: vendor, Class: class}
		w.m.assignments[key{c, id}] = campaign.Assignment{Campaign: c, Device: id, State: campaign.Failed, Order: uint64(i + 1)}
	}
	again := w.retry(c, "again")
	if s := w.campaign(again).Selection; len(s.Devices) != 0 || s.From.Campaign != c {
		t.Fatalf("%d devices listed, from %v", len(s.Devices), s.From)
	}
	for i := range campaign.MaxSelected + 1 {
		if id := device(fmt.Sprintf("d%05d", i)); i%1000 != 7 {
			delete(w.m.assignments, key{c, id})
		}
	}
	a := w.m.assignments[key{c, device("d00007")}]
	a.State = campaign.Confirmed
	w.m.assignments[key{c, a.Device}] = a
	w.slice = 3
	w.start(again)
	w.run(again)
	if n := len(w.inState(again, campaign.Offered)); n != 9 {
		t.Errorf("%d offered, want the nine that are still failed", n)
	}
}

func TestRetryThatCanNotBe(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("a")
	c := w.create("c", m, policy())
	w.run(c)
	w.report("a", m, "failed")
	for name, v := range map[string]struct {
		of   campaign.RetryOf
		want func(error) bool
	}{
		"nobody": {campaign.RetryOf{Source: c, States: []campaign.State{campaign.Silent}}, isInvalid},
		"state":  {campaign.RetryOf{Source: c, States: []campaign.State{campaign.Confirmed}}, isInvalid},
		"twice":  {campaign.RetryOf{Source: c, States: []campaign.State{campaign.Failed, campaign.Failed}}, isInvalid},
		"policy": {campaign.RetryOf{Source: c, Policy: &campaign.Policy{InFlight: -1}}, isInvalid},
		"gone":   {campaign.RetryOf{Source: campaignID("gone")}, func(err error) bool { return errors.Is(err, campaign.ErrNotFound) }},
	} {
		v.of.Spec.ID = campaignID("again")
		if _, err := campaign.CreateRetry(w.m.clone(), w.now, acme, v.of); !v.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	of := campaign.RetryOf{Source: c, Spec: campaign.Spec{ID: c}}
	if _, err := campaign.CreateRetry(w.m.clone(), w.now, acme, of); !errors.Is(err, campaign.ErrExists) {
		t.Errorf("a name that is taken: %v", err)
	}
}

func isInvalid(err error) bool {
	_, ok := errors.AsType[*campaign.InvalidError](err)
	return ok
}

func TestSelectionFromACampaignStandsAlone(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	from := campaign.From{Campaign: campaignID("c"), States: []campaign.State{campaign.Failed}}
	for name, s := range map[string]campaign.Selection{
		"devices":  {From: from, Devices: []ident.Device{device("d")}},
		"labels":   {From: from, Labels: map[string]string{"a": "b"}},
		"states":   {From: campaign.From{Campaign: from.Campaign}},
		"campaign": {From: campaign.From{States: from.States}},
	} {
		_, err := campaign.Create(w.m.clone(), w.now, acme, campaign.Spec{ID: campaignID("x"), Manifest: m.Digest, Policy: policy(), Selection: s})
		if !isInvalid(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
