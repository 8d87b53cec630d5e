package campaign_test

import (
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// TestOffersToThoseWhoAreAway: a device that is away is offered the manifest once, like any other, and nothing is repeated for
// it but at the longest back-off, until it says that it is back.
func TestOffersToThoseWhoAreAway(t *testing.T) {
	w := newWorld(t)
	w.register("near", "far")
	w.deaf = map[ident.Device]bool{device("far"): true}
	c := w.create("c", w.manifest("v2"), policy())
	w.run(c)
	wait := func(d string) time.Duration { return w.assignment(c, d).NextOffer.Sub(w.now) }
	if a := w.assignment(c, "far"); a.State != campaign.Offered || w.topic[a.Device] != a.Manifest {
		t.Fatalf("the device that is away: %s, its topic holds %v", a.State, w.topic[a.Device])
	}
	if near, far := wait("near"), wait("far"); near > 8*time.Second || far < 10*time.Minute || far > 15*time.Minute {
		t.Errorf("repeated after %v to the one that is there, after %v to the one that is away", near, far)
	}
	for range 6 {
		w.now = w.assignment(c, "far").NextOffer
		w.run(c)
		if a := w.assignment(c, "far"); a.Offers != 1 || wait("far") < 10*time.Minute {
			t.Fatalf("%d offers to a device that is away, the next after %v", a.Offers, wait("far"))
		}
	}
	if a := w.assignment(c, "near"); a.Offers < 5 {
		t.Errorf("%d offers to a device that is there", a.Offers)
	}
	w.deaf = nil
	w.hello("far", ident.SumDigest([]byte("v1")), 1)
	if far := wait("far"); far > 8*time.Second {
		t.Errorf("repeated %v after it is back", far)
	}
	w.now = w.assignment(c, "far").NextOffer
	w.run(c)
	if a := w.assignment(c, "far"); a.Offers != 2 {
		t.Errorf("%d offers after it is back, want 2", a.Offers)
	}
}
