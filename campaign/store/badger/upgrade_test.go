package badger_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/campaign/store/storetest"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// TestUpgrade: a store of the first schema gets its indexes when it is opened, and is of the newest schema then.
func TestUpgrade(t *testing.T) {
	dir := t.TempDir()
	s := open(t, badger.Options{Dir: dir})
	vendor := uuid.UUID{1}
	err := s.Update(t.Context(), func(tx campaign.Tx) error {
		if err := tx.PutTenant(campaign.Tenant{ID: acme}); err != nil {
			return err
		}
		for i := range 100 {
			d := campaign.Device{ID: device(t, fmt.Sprint(i)), Vendor: vendor, Labels: map[string]string{"ring": fmt.Sprint(i % 3)}, Groups: []string{"g"}}
			if err := tx.PutDevice(acme, d); err != nil {
				return err
			}
		}
		for i, a := range []campaign.Assignment{{State: campaign.Withdrawn}, {State: campaign.Withdrawn}, {State: campaign.Withdrawn, Offers: 1}, {State: campaign.Skipped}} {
			a.Campaign, a.Device = spring, device(t, fmt.Sprint(i))
			if err := tx.PutAssignment(acme, a); err != nil {
				return err
			}
		}
		m := firmware.Manifest{Digest: ident.Digest{1}, Fetches: []firmware.Fetch{{Role: firmware.RoleImage, Digest: ident.Digest{2}, Size: 1}}}
		return errors.Join(tx.PutManifest(acme, m), tx.PutCampaign(acme, campaign.Campaign{ID: spring, Phase: campaign.Draft, Manifest: m.Digest}))
	})
	if err := errors.Join(err, s.Downgrade()); err != nil {
		t.Fatal(err)
	}
	if err := s.View(t.Context(), storetest.Audit); err == nil {
		t.Fatal("the older store has indexes: the test tests nothing")
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, badger.Options{Dir: dir})
		err := s.View(t.Context(), func(r campaign.Reader) error {
			ids, _, err := r.Narrow(acme, campaign.Narrow{Vendor: vendor, Labels: map[string]string{"ring": "1"}, Groups: []string{"g"}}, ident.Device{}, 1000)
			if len(ids) != 33 {
				t.Errorf("%d devices, want 33", len(ids))
			}
			n, err2 := r.DeviceCount(acme)
			if n != 100 {
				t.Errorf("%d devices counted, want 100", n)
			}
			counts, err3 := r.Counts(acme, spring)
			if counts.Spared != 2 {
				t.Errorf("%d spared, want 2", counts.Spared)
			}
			fetched, err4 := r.FetchedBy(acme, ident.Digest{2}, ident.Digest{}, 9)
			needed, err5 := r.NeededBy(acme, ident.Digest{1}, ident.Campaign{}, 9)
			if len(fetched) != 1 || len(needed) != 1 {
				t.Errorf("the payload is fetched by %v, the manifest is needed by %v", fetched, needed)
			}
			return errors.Join(err, err2, err3, err4, err5, storetest.Audit(r))
		})
		if err != nil {
			t.Error(err)
		}
	}
}
