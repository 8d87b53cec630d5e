package campaign_test

import (
	"testing"
	"time"

	"fleetbridge/campaign"
)

// TestForecast plans on a Tuesday at noon, UTC.
func TestForecast(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	nights := []campaign.Window{{Cron: "0 2 * * *", Duration: 2 * time.Hour}}
	const hour, moment = time.Hour, 400 * time.Millisecond // plans are made at any moment, and forecast in seconds
	for name, tt := range map[string]struct {
		rollout campaign.Rollout
		want    time.Duration
		late    bool
	}{
		"nothing holds it back": {campaign.Rollout{}, 0, false},
		"soak of the one wave":  {campaign.Rollout{Soak: hour}, hour, false},
		"constant rate":         {campaign.Rollout{Rate: campaign.Rate{PerMinute: 100}}, 10 * time.Minute, false},
		"growing rate":          {campaign.Rollout{Rate: campaign.Rate{PerMinute: 10, Factor: 2, Every: 100, Max: 40}}, 10*time.Minute + 5*time.Minute + 20*time.Minute, false},
		"the next window":       {campaign.Rollout{Windows: nights}, 14 * hour, false},
		"three nights":          {campaign.Rollout{Windows: nights, Rate: campaign.Rate{PerMinute: 1000. / 300}}, 14*hour + 48*hour + hour, false},
		"soak over a window":    {campaign.Rollout{Windows: nights, Soak: 3 * hour}, 14*hour + 24*hour, false},
		"counts from its start": {campaign.Rollout{Windows: nights, StartAt: at.Add(13 * hour)}, hour, false},
		"ends before a window":  {campaign.Rollout{Windows: nights, EndAt: at.Add(2 * hour)}, 14 * hour, true},
		"too slow for its end":  {campaign.Rollout{Rate: campaign.Rate{PerMinute: 10}, EndAt: at.Add(hour)}, 100 * time.Minute, true},
		"just in time":          {campaign.Rollout{Rate: campaign.Rate{PerMinute: 10}, EndAt: at.Add(101 * time.Minute)}, 100 * time.Minute, false},
		"no window in its time": {campaign.Rollout{Windows: []campaign.Window{{Cron: "0 0 29 2 *", Duration: hour}}}, time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC).Sub(at), true},
		"never opens":           {campaign.Rollout{Windows: []campaign.Window{{Cron: "broken", Duration: hour}}}, campaign.MaxWithin, true},
	} {
		p := campaign.Plan{At: at.Add(moment), Devices: 1000, Waves: []int{10, 0, 990}}
		p.Campaign.Policy = campaign.PolicyDefaults()
		p.Campaign.Policy.Rollout = tt.rollout
		if got, late := p.Forecast(); got != tt.want || late != tt.late {
			t.Errorf("%s: %s, late %t, want %s, %t", name, got, late, tt.want, tt.late)
		}
	}
}
