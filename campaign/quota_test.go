package campaign_test

import (
	"errors"
	"testing"

	"fleetbridge/campaign"
)

// grant gives the tenant n updates.
func (w *world) grant(change campaign.QuotaChange) {
	w.t.Helper()
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, err := campaign.SetQuota(tx, w.now, acme, change, "root")
		return campaign.Result{}, err
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
