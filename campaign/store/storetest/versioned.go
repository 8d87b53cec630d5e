package storetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"fleetbridge/campaign"
)

// testVersioned: what was read under a version is what is there for as long as the version stays.
func testVersioned(t *testing.T, s campaign.Store) {
	v, ok := s.(campaign.Versioned)
	if !ok {
		t.Skip("the store has no versions")
	}
	tn, d := tenants[0], device("d")
	work := func(n uint64) campaign.Work { return campaign.Work{Failures: []campaign.Failure{{Count: int(n)}}} }
	for _, step := range []struct {
		what string
		put  func(campaign.Tx) error
	}{
		{"work", func(tx campaign.Tx) error { return tx.PutWork(tn, d, work(1)) }},
		{"no more work", func(tx campaign.Tx) error { return tx.PutWork(tn, d, campaign.Work{}) }},
		{"device", func(tx campaign.Tx) error { return tx.PutDevice(tn, campaign.Device{ID: d}) }},
		{"device again", func(tx campaign.Tx) error { return tx.PutDevice(tn, campaign.Device{ID: d, MaxChunk: 1}) }},
	} {
		before := v.Version(tn, d)
		update(t, s, step.put)
		if v.Version(tn, d) == before {
			t.Errorf("%s: the commit left the version as it was", step.what)
		}
	}
	testKept(t, s, v, work)
}

// testKept: readers keep what they read and the version that they asked for before; no commit that has returned may leave one
// with an old record under the version of now.
func testKept(t *testing.T, s campaign.Store, v campaign.Versioned, work func(uint64) campaign.Work) {
	tn, d := tenants[0], device("d")
	type kept struct{ version, count uint64 }
	var cache [4]atomic.Pointer[kept]
	var stop atomic.Bool
	var readers sync.WaitGroup
	for i := range cache {
		cache[i].Store(&kept{})
		readers.Go(func() {
			for !stop.Load() {
				k := kept{version: v.Version(tn, d)}
				err := s.View(context.Background(), func(r campaign.Reader) error {
					w, err := r.Work(tn, d)
					if err == nil && len(w.Failures) == 1 {
						k.count = uint64(w.Failures[0].Count)
					}
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
				cache[i].Store(&k)
			}
		})
	}
	for n := uint64(1); n <= 300; n++ {
		update(t, s, func(tx campaign.Tx) error { return tx.PutWork(tn, d, work(n)) })
		for i := range cache {
			if k := cache[i].Load(); k.version == v.Version(tn, d) && k.count != n {
				t.Errorf("commit %d has returned, and a reader of its version has kept %d", n, k.count)
			}
		}
	}
	stop.Store(true)
	readers.Wait()
}
