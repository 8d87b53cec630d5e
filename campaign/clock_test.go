package campaign_test

import (
	"testing"
	"time"

	"fleetbridge/campaign"
)

// TestDeadlineAfterTheClockWasSetBack: a word that leaves its state as it is gives it a new deadline, which is earlier than
// the one before if the clock was set back since. The campaign must hear of it, or it sleeps until the old one.
func TestDeadlineAfterTheClockWasSetBack(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d1")
	c := w.create("c", m, policy())
	w.run(c)
	w.report("d1", m, "received")
	w.run(c)
	w.now = w.now.Add(-100 * time.Hour)
	w.run(c)
	delete(w.woken, c)
	w.report("d1", m, "deferred")
	w.want(c, "d1", campaign.Received)
	if !w.woken[c] {
		t.Error("nobody looks at the campaign before its old deadline")
	}
	if wake := w.run(c); !wake.At.Equal(w.assignment(c, "d1").Deadline) {
		t.Errorf("it looks again at %v, the deadline is %v", wake.At, w.assignment(c, "d1").Deadline)
	}
}
