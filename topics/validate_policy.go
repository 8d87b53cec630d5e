package topics

import "fmt"

// Window is a recurring span of time: from each moment that Cron names, in Zone, for Duration.
type Window struct {
	Cron     string   `json:"cron" cbor:"1,keyasint"` // minute hour day month weekday: 0 2 * * 1-5
	Duration Duration `json:"duration" cbor:"2,keyasint"`
	Zone     string   `json:"zone,omitempty" cbor:"3,keyasint,omitempty"` // IANA name (UTC)
}

// Rate bounds the offers per minute. With Factor it is multiplied by that each time Every more devices are confirmed, up
// to Max.
type Rate struct {
	PerMinute float64 `json:"per_minute" cbor:"1,keyasint"`
	Factor    float64 `json:"factor,omitempty" cbor:"2,keyasint,omitempty"` // (constant)
	Every     int     `json:"every,omitempty" cbor:"3,keyasint,omitempty"`
	Max       float64 `json:"max,omitempty" cbor:"4,keyasint,omitempty"` // per minute
}

// Bounds of a policy's windows; lengths are in bytes.
const (
	MaxWindows  = 16
	MaxPriority = 100
	MaxCron     = 128
	MaxZone     = 64
)

// rollout checks the members of a policy that say when a campaign may go on. What cron and zone mean is the domain's
// rule.
func (f *faults) rollout(p Policy) {
	f.span(p.Soak, "/policy/soak")
	f.check(p.Membership == "" || p.Membership == "one-shot" || p.Membership == "continuous", "/policy/membership", "one-shot or continuous")
	f.check(isPercent(p.WaveFailurePercent), "/policy/wave_failure_percent", "above 0 to 100; absent: never")
	f.check(isPercent(p.WaveSilentPercent), "/policy/wave_silent_percent", "above 0 to 100; absent: never")
	f.check(p.Priority >= 0 && p.Priority <= MaxPriority, "/policy/priority", "from 0 to 100")
	f.check(len(p.Windows) <= MaxWindows, "/policy/windows", "at most 16")
	for i, w := range p.Windows[:min(len(p.Windows), MaxWindows)] {
		at := fmt.Sprintf("/policy/windows/%d", i)
		f.text(w.Cron, MaxCron, at+"/cron")
		f.text(w.Zone, MaxZone, at+"/zone")
		f.span(w.Duration, at+"/duration")
	}
	f.check(p.Rate == Rate{} || p.Rate.PerMinute > 0, "/policy/rate/per_minute", "above 0")
	f.check(p.Rate.Factor == 0 || p.Rate.Factor > 1, "/policy/rate/factor", "above 1; absent: constant")
	f.check(p.Rate.Every >= 0, "/policy/rate/every", "from 1")
	f.check(p.Rate.Max >= 0, "/policy/rate/max", "from per_minute")
}
