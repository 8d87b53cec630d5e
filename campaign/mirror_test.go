package campaign_test

import (
	"context"
	"errors"
	"maps"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/campaign/store/storetest"
)

// TestModelOnTheStore runs histories of the model on the real store as well, step by step: it must give the same results,
// and its counts, which it keeps with each commit, must equal a scan.
func TestModelOnTheStore(t *testing.T) {
	if testing.Short() {
		t.Skip("a store for every history takes a minute under the race detector")
	}
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(rt)
		m.lose, m.stays = nil, true // what a crash loses is about the engine; a device that goes leaves the store's registry by no step
		store, err := badger.Open(badger.Options{InMemory: true})
		if err != nil {
			rt.Fatalf("open: %v", err)
		}
		defer func() {
			if err := store.Close(); err != nil {
				rt.Fatalf("close: %v", err)
			}
		}()
		m.mirror = func(before *memory, step func(campaign.Tx) (campaign.Result, error), want campaign.Result) {
			m.copyTo(store, before)
			var have campaign.Result
			err := store.Update(context.Background(), func(tx campaign.Tx) error {
				var err error
				have, err = step(tx)
				return err
			})
			if diff := gocmp.Diff(want, have, equate, cmpopts.EquateEmpty()); err != nil || diff != "" {
				rt.Fatalf("the store gives something else: %v\n%s", err, diff)
			}
		}
		m.someCampaign()
		for range rapid.IntRange(5, 20).Draw(rt, "steps") {
			m.act()
			m.settle()
			m.inspect()
			m.compare(store)
		}
	})
}

// copyTo has the store know the tenant, and what was registered in the model without a step.
func (m *model) copyTo(store campaign.Store, before *memory) {
	err := store.Update(context.Background(), func(tx campaign.Tx) error {
		errs := []error{tx.PutTenant(campaign.Tenant{ID: acme})}
		for _, man := range m.manifests {
			errs = append(errs, tx.PutManifest(acme, man))
		}
		for _, d := range before.devices {
			if _, err := tx.Device(acme, d.ID); errors.Is(err, campaign.ErrNotFound) {
				errs = append(errs, tx.PutDevice(acme, d))
			}
		}
		return errors.Join(errs...)
	})
	if err != nil {
		m.rt.Fatalf("copy: %v", err)
	}
}

// compare holds the store's counts against a scan of its own, and against the model's.
func (m *model) compare(store campaign.Store) {
	err := store.View(context.Background(), func(r campaign.Reader) error {
		for _, c := range m.ids {
			want, err := m.m.Counts(acme, c)
			if err != nil {
				return err
			}
			have, err := r.Counts(acme, c)
			if err != nil {
				return err
			}
			// A reason that counted once stays with 0 in the store.
			maps.DeleteFunc(have.Reasons, func(_ string, n uint64) bool { return n == 0 })
			maps.DeleteFunc(want.Reasons, func(_ string, n uint64) bool { return n == 0 })
			if diff := gocmp.Diff(want, have, cmpopts.EquateEmpty()); diff != "" {
				m.rt.Fatalf("counts of %s (-model +store):\n%s", c, diff)
			}
		}
		return storetest.Audit(r)
	})
	if err != nil {
		m.rt.Fatalf("%v", err)
	}
}
