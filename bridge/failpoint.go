package bridge

import (
	"fleetbridge/campaign"
	"fleetbridge/internal/failpoint"
	"fleetbridge/topics"
)

// outcome names a command, and the state in which it left its campaign, for failpoints; "" in builds without them.
func (c *call) outcome(reply any) string {
	if !failpoint.Enabled {
		return ""
	}
	name := c.spec.Noun + "/" + c.spec.Verb
	if v, ok := reply.(topics.CampaignView); ok {
		name += ">" + v.State
	}
	return name
}

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
