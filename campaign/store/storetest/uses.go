package storetest

import (
	"errors"
	"slices"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// testUses: manifests are listed by what they fetch, campaigns by the manifest that they need, whatever both were before, and
// what is deleted nowhere.
func testUses(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	put := func(name string, fetches ...string) {
		t.Helper()
		m := firmware.Manifest{Digest: digest(name)}
		for _, f := range fetches {
			m.Fetches = append(m.Fetches, firmware.Fetch{Role: firmware.RoleImage, Digest: digest(f), Size: 1, URI: "u"})
		}
		update(t, s, func(tx campaign.Tx) error { return tx.PutManifest(tn, m) })
	}
	fetched := func(payload string, by ...string) {
		t.Helper()
		var want []ident.Digest
		for _, name := range by {
			want = append(want, digest(name))
		}
		slices.SortFunc(want, func(a, b ident.Digest) int { return slices.Compare(a[:], b[:]) })
		view(t, s, func(r campaign.Reader) error {
			got, err := all(func(after ident.Digest) ([]ident.Digest, error) { return r.FetchedBy(tn, digest(payload), after, 1) },
				func(d ident.Digest) ident.Digest { return d })
			other, err2 := r.FetchedBy(tenants[1], digest(payload), ident.Digest{}, 9)
			if !slices.Equal(got, want) || len(other) != 0 {
				t.Errorf("payload %s is fetched by %v, want %v; another tenant's: %v", payload, got, want, other)
			}
			return errors.Join(err, err2)
		})
	}
	put("m1", "p1", "p2")
	put("m2", "p2", "p2")
	fetched("p1", "m1")
	fetched("p2", "m1", "m2")
	fetched("p3")
	put("m1", "p2", "p3")
	fetched("p1")
	fetched("p3", "m1")
	for range 2 { // the second finds nothing
		update(t, s, func(tx campaign.Tx) error {
			if err := tx.DeleteManifest(tn, digest("m1")); err != nil {
				return err
			}
			left, err := tx.FetchedBy(tn, digest("p3"), ident.Digest{}, 9)
			if _, gone := tx.Manifest(tn, digest("m1")); !errors.Is(gone, campaign.ErrNotFound) || len(left) != 0 {
				t.Errorf("the transaction still reads it: %v, %v", gone, left)
			}
			return err
		})
	}
	fetched("p2", "m2")
	fetched("p3")

	for _, p := range []campaign.Phase{campaign.Draft, campaign.AwaitingApproval, campaign.Scheduled, campaign.Starting, campaign.Active,
		campaign.Paused, campaign.Stopping, campaign.Stopped, campaign.Archived, campaign.Deleting} {
		ends := p == campaign.Stopped || p == campaign.Archived || p == campaign.Deleting
		c := campaign.Campaign{ID: campaignID("c"), Phase: campaign.Draft, Manifest: digest("m2")}
		next := c
		next.Phase = p
		update(t, s, func(tx campaign.Tx) error { return errors.Join(tx.PutCampaign(tn, c), tx.PutCampaign(tn, next)) })
		view(t, s, func(r campaign.Reader) error {
			got, err := r.NeededBy(tn, digest("m2"), ident.Campaign{}, 9)
			if needed := len(got) == 1 && got[0] == c.ID; needed == ends || ends && len(got) > 0 {
				t.Errorf("%s: the manifest is needed by %v", p, got)
			}
			return errors.Join(err, AuditTenant(r, tn))
		})
	}
	needed := func(manifest string, want int) {
		t.Helper()
		view(t, s, func(r campaign.Reader) error {
			got, err := r.NeededBy(tn, digest(manifest), ident.Campaign{}, 9)
			if len(got) != want {
				t.Errorf("manifest %s is needed by %v, want %d", manifest, got, want)
			}
			return errors.Join(err, AuditTenant(r, tn))
		})
	}
	draft := campaign.Campaign{ID: campaignID("c"), Phase: campaign.Draft, Manifest: digest("m2")}
	update(t, s, func(tx campaign.Tx) error { return tx.PutCampaign(tn, draft) })
	needed("m2", 1)
	draft.Manifest = digest("m3")
	update(t, s, func(tx campaign.Tx) error { return tx.PutCampaign(tn, draft) })
	needed("m2", 0)
	needed("m3", 1)
	update(t, s, func(tx campaign.Tx) error { return tx.DeleteCampaign(tn, draft.ID) })
	needed("m3", 0)
}

// auditUses compares the indexes of what manifests fetch and of what campaigns need with all manifests and campaigns.
func auditUses(r campaign.Reader, t ident.Tenant, cs []campaign.Campaign) error {
	ms, err := all(func(after ident.Digest) ([]firmware.Manifest, error) { return r.Manifests(t, after, page) },
		func(m firmware.Manifest) ident.Digest { return m.Digest })
	if err != nil {
		return err
	}
	type use struct{ what, by string }
	fetched, needed := map[use]bool{}, map[use]bool{}
	errs := []error{}
	for _, m := range ms {
		for _, f := range m.Fetches {
			by, err := all(func(after ident.Digest) ([]ident.Digest, error) { return r.FetchedBy(t, f.Digest, after, page) },
				func(d ident.Digest) ident.Digest { return d })
			if !slices.Contains(by, m.Digest) {
				err = errors.Join(err, differ("fetches of "+f.Digest.String(), m.Digest, by))
			}
			errs, fetched[use{f.Digest.String(), m.Digest.String()}] = append(errs, err), true
		}
	}
	for _, c := range cs {
		if !c.Phase.NeedsManifest() || c.Manifest.IsZero() {
			continue
		}
		by, err := all(func(after ident.Campaign) ([]ident.Campaign, error) { return r.NeededBy(t, c.Manifest, after, page) },
			func(c ident.Campaign) ident.Campaign { return c })
		if !slices.Contains(by, c.ID) {
			err = errors.Join(err, differ("needs of "+c.Manifest.String(), c.ID, by))
		}
		errs, needed[use{c.Manifest.String(), c.ID.String()}] = append(errs, err), true
	}
	index, err := r.UseIndex(t)
	return errors.Join(append(errs, err, differ("entries of uses", campaign.UseIndex{Fetched: len(fetched), Needed: len(needed)}, index))...)
}
