package campaign_test

import (
	"errors"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func (w *world) archive(c ident.Campaign) {
	w.t.Helper()
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.Archive(tx, w.now, acme, c, 0, "op")
		return res, err
	})
}

func (w *world) delete(c ident.Campaign) {
	w.t.Helper()
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.Delete(tx, acme, c, 0)
		return res, err
	})
	w.run(c)
}

func (w *world) retain(keep campaign.Retention) (more bool) {
	w.t.Helper()
	w.update(func(tx campaign.Tx) (res campaign.Result, err error) {
		res, more, err = campaign.Retain(tx, w.now, acme, keep, 2)
		return res, err
	})
	return more
}

// TestDeletedCampaignLeavesNothing: no assignment, no trace at the devices, and one that takes its name is not taken for
// it by a late report.
func TestDeletedCampaignLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.slice = 3
	old, next := w.manifest("v2"), w.manifest("v3")
	w.register(names(10)...)
	c := w.create("c", old, policy())
	w.run(c)
	w.report("d000", old, "downloading")
	w.stop(c)
	w.run(c)
	w.archive(c)
	if got := w.campaign(c); got.Phase != campaign.Archived || got.ArchivedBy != "op" || !got.ArchivedAt.Equal(w.now) {
		t.Errorf("%+v", got)
	}
	w.delete(c)
	if len(w.m.campaigns)+len(w.m.assignments) != 0 {
		t.Errorf("left: %v, %v", w.m.campaigns, w.m.assignments)
	}
	for d, work := range w.m.works {
		if len(work.Live)+len(work.Waiting)+len(work.Recent) != 0 {
			t.Errorf("%s: %+v", d, work)
		}
	}
	w.run(w.create("c", next, policy()))
	if res := w.report("d000", old, "failed"); res.Verdict != campaign.Unknown {
		t.Errorf("a late report: %+v", res)
	}
	w.want(c, "d000", campaign.Offered)
	if c := w.verify(100); !c.Done {
		t.Errorf("%+v", c)
	}
}

func TestOnlyEndedCampaignsAreArchivedOrDeleted(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("a")
	c := w.create("c", m, policy())
	for range 3 { // scheduled, starting, active
		for name, f := range map[string]func(campaign.Tx) error{
			"archive": func(tx campaign.Tx) error {
				_, _, err := campaign.Archive(tx, w.now, acme, c, 0, "op")
				return err
			},
			"delete": func(tx campaign.Tx) error {
				_, _, err := campaign.Delete(tx, acme, c, 0)
				return err
			},
		} {
			if err := f(w.m.clone()); !errors.Is(err, campaign.ErrPhase) {
				t.Errorf("%s of a campaign that is %s: %v", name, w.campaign(c).Phase, err)
			}
		}
		w.advance(c)
	}
	spec := campaign.Spec{ID: campaignID("draft"), Manifest: m.Digest, Policy: policy(), By: "op"}
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, err := campaign.Create(tx, w.now, acme, spec)
		return campaign.Result{}, err
	})
	w.delete(spec.ID)
	if _, there := w.m.campaigns[spec.ID]; there {
		t.Error("the draft is still there")
	}
}

func TestRetention(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("a")
	w.m.devices[device("a")] = campaign.Device{ID: device("a"), Vendor: vendor, Class: class,
		Installed: []campaign.Image{{Component: component, Digest: m.Image}}}
	var cs []ident.Campaign
	for _, id := range []string{"c1", "c2", "c3"} {
		c := w.create(id, m, policy())
		w.run(c)
		w.wantEnd(c, campaign.Succeeded)
		cs = append(cs, c)
	}
	keep := campaign.Retention{ArchiveAfter: time.Hour, DeleteAfter: 3 * time.Hour}
	if w.retain(keep); w.campaign(cs[0]).Phase != campaign.Stopped {
		t.Error("archived before its time")
	}
	w.now = w.now.Add(2 * time.Hour)
	if !w.retain(keep) || w.retain(keep) {
		t.Error("three campaigns, two at a time: want more once")
	}
	for _, c := range cs {
		if got := w.campaign(c); got.Phase != campaign.Archived || got.ArchivedBy != "" {
			t.Errorf("%s is %s", c, got.Phase)
		}
	}
	w.now = w.now.Add(2 * time.Hour)
	for w.retain(keep) {
	}
	for _, c := range cs {
		if !w.woken[c] {
			t.Errorf("%s is not woken", c)
		}
		w.run(c)
	}
	if len(w.m.campaigns)+len(w.m.assignments) != 0 {
		t.Errorf("left: %v, %v", w.m.campaigns, w.m.assignments)
	}
	if w.retain(campaign.Retention{}) {
		t.Error("without retention there is nothing to do")
	}
}
