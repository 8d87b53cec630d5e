package bridge

import (
	"fmt"
	"strings"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/topics"
)

// A disk that is too full for an upload is no outage: nothing was taken, which the client may know, and sending it again
// at once does not help. How full it is, is not every tenant's to know.
func TestNoRoomIsNoOutage(t *testing.T) {
	full := fmt.Errorf("%w: 331 MiB free, 1072 MiB needed", campaign.ErrUnavailable)
	p := problemOf(fmt.Errorf("begin upload: %w: %w", firmware.ErrNoRoom, full))
	if p.Type != topics.ProblemQuota || !strings.Contains(p.Detail, "none of them was taken") || strings.Contains(p.Detail, "MiB") {
		t.Errorf("%s: %s", p.Type, p.Detail)
	}
}
