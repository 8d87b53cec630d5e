package campaign_test

import (
	"time"

	"pgregory.net/rapid"

	"fleetbridge/campaign"
)

// somePolicy draws a policy; each of its rules is there in some of them.
func (m *model) somePolicy() campaign.Policy {
	rt := m.rt
	p := campaign.PolicyDefaults()
	p.InFlight = rapid.IntRange(0, 3).Draw(rt, "in flight")
	p.MinSample = rapid.IntRange(1, 4).Draw(rt, "sample")
	p.SuccessPercent = float64(rapid.SampledFrom([]int{0, 50, 100}).Draw(rt, "success"))
	p.FailurePercent = float64(rapid.SampledFrom([]int{40, 100}).Draw(rt, "failure"))
	p.SilentPercent = float64(rapid.SampledFrom([]int{40, 100}).Draw(rt, "silent"))
	p.Retry.Max = rapid.IntRange(0, 2).Draw(rt, "retries")
	if p.Retry.Max > 0 && rapid.Bool().Draw(rt, "retries flash errors") {
		p.Retry.Reasons = []string{"flash-error", "battery-low"}
	}
	if rapid.Bool().Draw(rt, "permits") {
		p.Permit = campaign.PermitRule{Required: true, Label: "site", Max: rapid.IntRange(1, 2).Draw(rt, "budget"), TTL: time.Minute}
	}
	p.Poison = rapid.IntRange(1, 4).Draw(rt, "poison")
	p.Deadlines[campaign.Offered] = 2 * time.Hour
	p.Waves = []campaign.Wave{{Count: rapid.IntRange(1, 5).Draw(rt, "first")}, {Percent: 50}}
	if rapid.IntRange(0, 4).Draw(rt, "stratify") == 0 {
		p.Stratify = "site"
	}
	if rapid.Bool().Draw(rt, "short") {
		p.Within = 20 * time.Hour
	}
	p.Approval = rapid.IntRange(0, 3).Draw(rt, "approval") == 0
	m.paced(&p)
	return p
}

// paced draws what of a policy says when the campaign may go on.
func (m *model) paced(p *campaign.Policy) {
	rt := m.rt
	p.Priority = rapid.IntRange(0, 2).Draw(rt, "priority")
	if rapid.Bool().Draw(rt, "at once") {
		return
	}
	p.Manual = rapid.IntRange(0, 2).Draw(rt, "manual") == 0
	if rapid.Bool().Draw(rt, "soak") {
		p.Soak = 3 * time.Hour
	}
	if rapid.IntRange(0, 3).Draw(rt, "start at") == 0 {
		p.StartAt = m.now.Add(5 * time.Hour)
	}
	if rapid.IntRange(0, 2).Draw(rt, "rated") == 0 {
		p.Rate = campaign.Rate{PerMinute: rapid.Float64Range(0.02, 0.1).Draw(rt, "rate"), Factor: 2, Every: 1, Max: 0.2}
	}
	if rapid.IntRange(0, 3).Draw(rt, "windows") == 0 {
		p.Windows = []campaign.Window{night.window, lunch.window}
	}
	p.WaveFailurePercent = float64(rapid.SampledFrom([]int{0, 60}).Draw(rt, "wave failure"))
	p.WaveSilentPercent = float64(rapid.SampledFrom([]int{0, 0, 60}).Draw(rt, "wave silent"))
}

// someSelection draws who is selected; only what is not a list can grow.
func (m *model) someSelection(p *campaign.Policy) (s campaign.Selection) {
	switch rapid.IntRange(0, 5).Draw(m.rt, "selection") {
	case 0:
		s.Devices = m.deviceIDs(rapid.SliceOfNDistinct(rapid.SampledFrom(m.devices), 1, 4, rapid.ID).Draw(m.rt, "listed"))
		return s
	case 1:
		s.Labels = map[string]string{"site": "north"}
	case 2:
		s.Filter = `labels.site != "south"`
	}
	if rapid.IntRange(0, 2).Draw(m.rt, "continuous") == 0 {
		p.Membership = campaign.Continuous
	}
	return s
}

// daily is a window, and once more what it says, for somebody who can't read cron.
type daily struct {
	window       campaign.Window
	hour, minute int
	weekdays     bool
}

var (
	night = daily{campaign.Window{Cron: "0 2 * * *", Duration: 4 * time.Hour, Zone: "Europe/Berlin"}, 2, 0, false}
	lunch = daily{campaign.Window{Cron: "30 14 * * 1-5", Duration: time.Hour, Zone: "UTC"}, 14, 30, true}
)

// openAt goes back minute by minute from t until it finds the moment at which w opened, or was shut.
func (d daily) openAt(t time.Time) bool {
	loc, err := time.LoadLocation(d.window.Zone)
	if err != nil {
		panic(err)
	}
	for at := t.Truncate(time.Minute); at.After(t.Add(-d.window.Duration)); at = at.Add(-time.Minute) {
		local := at.In(loc)
		workday := local.Weekday() != time.Saturday && local.Weekday() != time.Sunday
		if local.Hour() == d.hour && local.Minute() == d.minute && (workday || !d.weekdays) {
			return true
		}
	}
	return false
}

// mayTouch says whether a policy of the model lets devices be touched at t.
func mayTouch(p campaign.Policy, t time.Time) bool {
	return len(p.Windows) == 0 || night.openAt(t) || lunch.openAt(t)
}
