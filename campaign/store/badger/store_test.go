package badger_test

import (
	"context"
	"errors"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/ident"
)

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s, err := badger.Open(badger.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	acme := ident.MustTenant("acme")
	if err := s.Update(t.Context(), func(tx campaign.Tx) error { return tx.PutTenant(campaign.Tenant{ID: acme}) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.View(context.Background(), func(campaign.Reader) error { return nil }); !errors.Is(err, campaign.ErrClosed) {
		t.Fatalf("View after Close: %v", err)
	}
	if s, err = badger.Open(badger.Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	if err := s.View(t.Context(), func(r campaign.Reader) error { _, err := r.Tenant(acme); return err }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
