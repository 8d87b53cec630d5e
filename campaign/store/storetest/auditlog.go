package storetest

import (
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// testAuditLog: every member survives, entries are numbered without a gap and never replaced, and both lists page in
// their order within one tenant.
func testAuditLog(t *testing.T, open Open) {
	s := open(t)
	vs, err := variants(func(*campaign.AuditEntry) {})
	if err != nil {
		t.Fatal(err)
	}
	for i := range vs {
		vs[i].Number = uint64(i + 1)
		update(t, s, func(tx campaign.Tx) error { return tx.PutAudit(tenants[0], vs[i]) })
	}
	view(t, s, func(r campaign.Reader) error {
		got, err := r.Audits(tenants[0], 0, len(vs)+1)
		if d := compare(vs, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		head, err2 := r.AuditHead(tenants[0])
		if d := compare(vs[len(vs)-1], head); d != "" || err2 != nil {
			t.Errorf("head %v (-want +got):\n%s", err2, d)
		}
		return err
	})
	for _, n := range []uint64{0, 1, uint64(len(vs)), uint64(len(vs)) + 2} {
		if err := s.Update(t.Context(), func(tx campaign.Tx) error { return tx.PutAudit(tenants[0], campaign.AuditEntry{Number: n}) }); err == nil {
			t.Errorf("entry %d was taken after %d", n, len(vs))
		}
	}
	testAuditPages(t, s, tenants[1])
	view(t, s, func(r campaign.Reader) error {
		head, err := r.AuditHead(tenants[2])
		list, err2 := r.Audits(tenants[2], 0, 10)
		if head != (campaign.AuditEntry{}) || len(list) != 0 || err2 != nil {
			t.Errorf("a tenant without a log: %v, %v, %v", head, list, err2)
		}
		return err
	})
}

func testAuditPages(t *testing.T, s campaign.Store, tn ident.Tenant) {
	const n = 300 // numbers of more than one byte
	about := []ident.Campaign{{}, campaignID("a"), campaignID("a:"), campaignID("ab")}
	update(t, s, func(tx campaign.Tx) error {
		for i := range uint64(n) {
			if err := tx.PutAudit(tn, campaign.AuditEntry{Number: i + 1, Campaign: about[i%4]}); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, s, func(r campaign.Reader) error {
		for which, c := range about {
			var got []uint64
			for after := uint64(0); ; {
				page, err := r.Audits(tn, after, 7)
				if !c.IsZero() {
					page, err = r.CampaignAudits(tn, c, after, 7)
				}
				if err != nil {
					return err
				}
				if len(page) == 0 {
					break
				}
				for _, e := range page {
					got = append(got, e.Number)
				}
				after = got[len(got)-1]
			}
			want, step := 1, 1
			if which > 0 {
				want, step = which+1, 4
			}
			for _, have := range got {
				if have != uint64(want) {
					t.Fatalf("campaign %q: entry %d, want %d", c, have, want)
				}
				want += step
			}
			if len(got) != n/step {
				t.Errorf("campaign %q: %d entries, want %d", c, len(got), n/step)
			}
		}
		return nil
	})
}
