package bridge

import (
	"fleetbridge/campaign"
	"fleetbridge/internal/failpoint"
)

// situation names where a campaign stands, for failpoints; "" in builds without them.
func situation(r campaign.Reader, j job) string {
	if !failpoint.Enabled {
		return ""
	}
	c, err := r.Campaign(j.tenant, j.campaign)
	if err != nil {
		return "gone"
	}
	wave := ""
	if c.Open > 0 {
		wave = "+"
	}
	return string(c.Phase) + "/" + string(c.Step) + wave
}
