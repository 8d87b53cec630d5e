package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// testStopped: stopped and archived campaigns are listed by when they stopped, whatever they were before, and a deleted one
// nowhere.
func testStopped(t *testing.T, open Open) {
	s := open(t)
	tn := tenants[0]
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Hour) }
	put := func(id string, p campaign.Phase, stopped int) {
		update(t, s, func(tx campaign.Tx) error {
			return tx.PutCampaign(tn, campaign.Campaign{ID: campaignID(id), Phase: p, StoppedAt: at(stopped)})
		})
	}
	want := func(p campaign.Phase, until, limit int, ids ...string) {
		t.Helper()
		view(t, s, func(r campaign.Reader) error {
			list, err := r.Ended(tn, p, at(until), limit)
			var got []string
			for _, c := range list {
				got = append(got, c.ID.String())
			}
			if !slices.Equal(got, ids) {
				t.Errorf("%s until %d: %v, want %v", p, until, got, ids)
			}
			return err
		})
	}
	put("b", campaign.Stopped, 1)
	put("a", campaign.Stopped, 3)
	put("c", campaign.Stopped, 2)
	put("d", campaign.Active, 0)
	put("e", campaign.Archived, 1)
	want(campaign.Stopped, 0, 9)
	want(campaign.Stopped, 2, 9, "b", "c")
	want(campaign.Stopped, 9, 9, "b", "c", "a")
	want(campaign.Stopped, 9, 2, "b", "c")
	want(campaign.Archived, 9, 9, "e")
	want(campaign.Active, 9, 9)
	put("b", campaign.Archived, 1)
	put("c", campaign.Deleting, 2)
	want(campaign.Stopped, 9, 9, "a")
	want(campaign.Archived, 9, 9, "b", "e")
	for _, id := range []string{"a", "c", "e", "none"} {
		update(t, s, func(tx campaign.Tx) error { return tx.DeleteCampaign(tn, campaignID(id)) })
	}
	want(campaign.Stopped, 9, 9)
	want(campaign.Archived, 9, 9, "b")
	view(t, s, func(r campaign.Reader) error {
		if _, err := r.Campaign(tn, campaignID("a")); !errors.Is(err, campaign.ErrNotFound) {
			t.Errorf("deleted campaign: %v", err)
		}
		list, err := r.Running(tn, ident.Campaign{}, 9)
		if len(list) != 1 || list[0].ID != campaignID("d") {
			t.Errorf("running: %v", list)
		}
		return errors.Join(err, AuditTenant(r, tn))
	})
}

// testDeleteAssignments: a deleted assignment leaves no entry in any index and no count; a campaign with assignments is
// not deleted.
func testDeleteAssignments(t *testing.T, open Open) {
	s := open(t)
	tn, c := tenants[0], campaignID("c")
	update(t, s, func(tx campaign.Tx) error {
		for i, name := range names {
			a := campaign.Assignment{Campaign: c, Device: device(name), State: campaign.States[i%len(campaign.States)], Wave: i % 3,
				Order: uint64(i), Reports: 2, Deadline: epoch.Add(time.Duration(i) * time.Minute), Waiting: i%4 == 0}
			if err := tx.PutAssignment(tn, a); err != nil {
				return err
			}
		}
		return tx.PutCampaign(tn, campaign.Campaign{ID: c, Phase: campaign.Deleting})
	})
	if err := s.Update(t.Context(), func(tx campaign.Tx) error { return tx.DeleteCampaign(tn, c) }); err == nil {
		t.Error("a campaign was deleted from under its assignments")
	}
	for _, name := range names {
		update(t, s, func(tx campaign.Tx) error {
			return errors.Join(tx.DeleteAssignment(tn, c, device(name)), tx.DeleteAssignment(tn, c, device("none")), AuditCampaign(tx, tn, c))
		})
		view(t, s, func(r campaign.Reader) error { return AuditCampaign(r, tn, c) })
	}
	view(t, s, func(r campaign.Reader) error {
		n, err := r.Counts(tn, c)
		if n.Total() != 0 || n.Reports != 0 || len(n.Waves) != 0 {
			t.Errorf("counts of nothing: %+v", n)
		}
		return err
	})
	update(t, s, func(tx campaign.Tx) error { return tx.DeleteCampaign(tn, c) })
}

// auditEnded compares the index of ended campaigns with all campaigns of a tenant.
func auditEnded(r campaign.Reader, t ident.Tenant, cs []campaign.Campaign) error {
	var errs []error
	for _, p := range []campaign.Phase{campaign.Stopped, campaign.Archived} {
		ended, err := r.Ended(t, p, time.Unix(1<<33, 0), len(cs)+1)
		if err != nil {
			return err
		}
		want := slices.DeleteFunc(slices.Clone(cs), func(c campaign.Campaign) bool { return c.Phase != p })
		slices.SortStableFunc(want, func(a, b campaign.Campaign) int { return a.StoppedAt.Compare(b.StoppedAt) })
		errs = append(errs, differ(string(p)+" campaigns", want, ended))
	}
	return errors.Join(errs...)
}
