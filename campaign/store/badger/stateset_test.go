package badger

import (
	"fmt"
	"runtime"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// TestSetIsSmall: what is kept of a campaign in memory is bounded, and so is one that is too large for it.
func TestSetIsSmall(t *testing.T) {
	const n, most = 200_000, 40 // bytes
	entries := func() []listed {
		all := make([]listed, n)
		for i := range all {
			d, err := ident.ParseDevice(fmt.Sprintf("device-%07d", i))
			if err != nil {
				t.Fatal(err)
			}
			all[i] = listed{campaign.Place{Wave: i % 3, Order: uint64(i) * 0x9e3779b97f4a7c15, Device: d}, campaign.States[i%len(campaign.States)]}
		}
		return all
	}
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	s := fill(entries())
	if per := float64(used()-before) / n; per > most {
		t.Errorf("%.1f bytes per assignment, at most %d", per, most)
	}
	sum := 0
	for _, k := range s.counts() {
		sum += k
	}
	if sum != n {
		t.Errorf("%d assignments in all states, want %d", sum, n)
	}
	if fill(make([]listed, maxRoster+1)) != nil {
		t.Error("a set was made of more than it may hold")
	}
}
