package storetest

import (
	"testing"

	"fleetbridge/campaign"
)

// testQuota: every member survives, a tenant's only; ledger entries are listed by number and never replaced.
func testQuota(t *testing.T, open Open) {
	s := open(t)
	vs, err := variants(func(*campaign.Quota) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range vs {
		update(t, s, func(tx campaign.Tx) error { return tx.PutQuota(tenants[0], want) })
		view(t, s, func(r campaign.Reader) error {
			got, err := r.Quota(tenants[0])
			if d := compare(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if other, err := r.Quota(tenants[1]); err != nil || other != (campaign.Quota{}) {
				t.Errorf("of another tenant: %v, %v", other, err)
			}
			return err
		})
	}
	turned, err := variants(func(*campaign.TurnedAway) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range turned {
		update(t, s, func(tx campaign.Tx) error { return tx.PutTurnedAway(tenants[0], want) })
		view(t, s, func(r campaign.Reader) error {
			got, err := r.TurnedAway(tenants[0])
			if d := compare(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if other, err := r.TurnedAway(tenants[1]); err != nil || other.Hellos != 0 || len(other.Latest) != 0 {
				t.Errorf("of another tenant: %v, %v", other, err)
			}
			return err
		})
	}
	entries, err := variants(func(*campaign.LedgerEntry) {})
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		entries[i].Number = uint64(i + 1)
		update(t, s, func(tx campaign.Tx) error { return tx.PutLedger(tenants[0], entries[i]) })
	}
	for _, n := range []uint64{0, 1, uint64(len(entries))} {
		if err := s.Update(t.Context(), func(tx campaign.Tx) error { return tx.PutLedger(tenants[0], campaign.LedgerEntry{Number: n}) }); err == nil {
			t.Errorf("entry %d was replaced", n)
		}
	}
	view(t, s, func(r campaign.Reader) error {
		var got []campaign.LedgerEntry
		for {
			page, err := r.Ledger(tenants[0], uint64(len(got)), 3)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
		}
		if d := compare(entries, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		return nil
	})
}
