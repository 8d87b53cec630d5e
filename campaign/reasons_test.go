package campaign_test

import (
	"fmt"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"fleetbridge/campaign"
)

func TestReasons(t *testing.T) {
	var n campaign.Counts
	n.AddReason(campaign.Confirmed, "x", 1)
	n.AddReason(campaign.Received, campaign.ReasonDeferred, 1)
	n.AddReason(campaign.Failed, "flash-error", 2)
	n.AddReason(campaign.Rejected, "flash-error", 1)
	n.AddReason(campaign.Silent, "deadline", 3)
	n.AddReason(campaign.Silent, "deadline", -1)
	n.AddReason(campaign.Failed, "", 1)
	n.AddReason(campaign.Skipped, "gone", 1)
	n.AddReason(campaign.Skipped, "gone", -1)
	want := []campaign.ReasonCount{{campaign.Failed, "flash-error", 2}, {campaign.Silent, "deadline", 2}, {campaign.Failed, "", 1},
		{campaign.Rejected, "flash-error", 1}}
	if diff := gocmp.Diff(want, n.Reasons.List()); diff != "" {
		t.Error(diff)
	}
	c := n.Clone()
	c.AddReason(campaign.Failed, "flash-error", 1)
	if n.Reasons["failed flash-error"] != 2 {
		t.Error("a clone shares the reasons")
	}
}

// TestReasonsAreBounded: what comes too late counts as other, and is taken from there, also when an earlier reason is
// gone meanwhile.
func TestReasonsAreBounded(t *testing.T) {
	var n campaign.Counts
	for i := range 100 {
		n.AddReason(campaign.Failed, fmt.Sprintf("r%02d", i), 1)
	}
	if len(n.Reasons) != campaign.MaxReasons+1 || n.Reasons["failed other"] != 68 {
		t.Errorf("%d reasons, other %d", len(n.Reasons), n.Reasons["failed other"])
	}
	n.AddReason(campaign.Failed, "r00", -1)
	n.AddReason(campaign.Failed, "r99", 1)
	for i := 1; i < 100; i++ {
		n.AddReason(campaign.Failed, fmt.Sprintf("r%02d", i), -1)
	}
	want := []campaign.ReasonCount{{campaign.Failed, campaign.OtherReason, 1}}
	if diff := gocmp.Diff(want, n.Reasons.List()); diff != "" {
		t.Error(diff)
	}
	n.AddReason(campaign.Failed, "r01", -1)
	if n.Reasons["failed r01"] != 0 {
		t.Error("a count went below 0")
	}
}
