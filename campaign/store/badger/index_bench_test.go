package badger_test

import (
	"fmt"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/ident"
)

// benchFleet is a campaign of n assignments of which all but a hundredth have passed through downloading.
func benchFleet(b *testing.B, n int) (*badger.Store, ident.Campaign) {
	b.Helper()
	const slice = 500
	s := open(b, badger.Options{Dir: b.TempDir(), NoSync: true})
	c, err := ident.ParseCampaign("c")
	if err != nil {
		b.Fatal(err)
	}
	for _, state := range []campaign.State{campaign.Pending, campaign.Downloading, campaign.Confirmed} {
		for from := 0; from < n; from += slice {
			err := s.Update(b.Context(), func(tx campaign.Tx) error {
				for i := from; i < from+slice; i++ {
					a := campaign.Assignment{Campaign: c, Device: device(b, fmt.Sprintf("device-%07d", i)), State: state, Order: uint64(i) * 0x9e3779b97f4a7c15}
					if state == campaign.Confirmed && i%100 == 0 {
						continue
					}
					if err := tx.PutAssignment(acme, a); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	return s, c
}

// BenchmarkInState lists ten devices that are in a state through which many have passed, and looks for those in one
// that all have left: from the index and from the set in memory. BenchmarkInState/commit is what a set adds to a commit of
// one assignment, and of 500.
func BenchmarkInState(b *testing.B) {
	const devices = 100_000
	s, c := benchFleet(b, devices)
	list := func(b *testing.B, state campaign.State) {
		for b.Loop() {
			err := s.View(b.Context(), func(r campaign.Reader) error {
				_, err := r.InState(acme, c, state, campaign.Place{}, 10)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	commit := func(b *testing.B, n int) {
		states := []campaign.State{campaign.Downloading, campaign.Downloaded}
		for turn := 0; b.Loop(); turn++ {
			err := s.Update(b.Context(), func(tx campaign.Tx) error {
				for i := range n {
					i *= devices / n
					a := campaign.Assignment{Campaign: c, Device: device(b, fmt.Sprintf("device-%07d", i)), State: states[turn%2], Order: uint64(i) * 0x9e3779b97f4a7c15}
					if err := tx.PutAssignment(acme, a); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	all := func(b *testing.B) {
		b.Run("few of many", func(b *testing.B) { list(b, campaign.Downloading) })
		b.Run("none", func(b *testing.B) { list(b, campaign.Pending) })
		b.Run("commit 1", func(b *testing.B) { commit(b, 1) })
		b.Run("commit 500", func(b *testing.B) { commit(b, 500) })
	}
	s.MakeSets(time.Hour)
	b.Run("index", all)
	s.MakeSets(0)
	if err := s.View(b.Context(), func(r campaign.Reader) error {
		_, err := r.InState(acme, c, campaign.Pending, campaign.Place{}, 1)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	b.Run("set", all)
}
