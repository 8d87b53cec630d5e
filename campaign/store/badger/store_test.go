package badger_test

import (
	"errors"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/campaign/store/storetest"
)

// open opens a store that ends with the test.
func open(t testing.TB, o badger.Options) *badger.Store {
	t.Helper()
	s, err := badger.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, campaign.ErrClosed) {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) campaign.Store { return open(t, badger.Options{InMemory: true}) })
}

func TestContractOnDisk(t *testing.T) {
	storetest.Run(t, func(t *testing.T) campaign.Store { return open(t, badger.Options{Dir: t.TempDir(), NoSync: true}) })
}

func TestContractTwice(t *testing.T) {
	storetest.RunTwice(t, func(t *testing.T) campaign.Store { return open(t, badger.Options{InMemory: true}) })
}
