package campaign

import (
	"math"
	"time"
)

// Forecast is the least time from a start at p.At, or at the policy's start time if that is later, until the last device
// is done, if each is done at once: the rate inside of the windows, and the soak time of each wave but the last. 0:
// nothing holds it back. late says that the campaign expires before.
func (p Plan) Forecast() (least time.Duration, late bool) {
	c := p.Campaign
	if c.Started.IsZero() {
		c.Started = p.At
	}
	begin := p.At
	if at := c.Policy.StartAt; at.After(begin) {
		begin = at
	}
	end := c.End()
	now, done := begin, 0
	for i, n := range p.Waves {
		if n == 0 {
			continue
		}
		now = c.Policy.pass(now, c.Policy.Rate.takes(done, n), end)
		done += n
		if i < len(p.Waves)-1 {
			now = now.Add(c.Policy.Soak)
		}
	}
	return now.Sub(begin).Round(time.Second), done > 0 && !now.Before(end)
}

// maxForecast bounds how many openings and closings of windows a forecast looks at: what is beyond is left out of it.
const maxForecast = 1000

// pass is when the windows have been open for need since from. The search ends at until.
func (r Rollout) pass(from time.Time, need time.Duration, until time.Time) time.Time {
	for range maxForecast {
		open, change := r.InWindow(from)
		switch {
		case open && (change.IsZero() || !from.Add(need).After(change)):
			return from.Add(need)
		case change.IsZero(): // it never opens
			return until
		case open:
			need -= change.Sub(from)
		}
		if from = change; !from.Before(until) {
			break
		}
	}
	return from
}

// takes is how long n offers take after done ones, when each is confirmed at once.
func (r Rate) takes(done, n int) time.Duration {
	if r.PerMinute == 0 {
		return 0
	}
	var minutes float64
	for end := done + n; done < end; {
		step := end - done
		now := r.At(uint64(done))
		if r.Factor != 0 && now < r.Max {
			step = min(r.Every-done%r.Every, step)
		}
		minutes += float64(step) / now
		done += step
	}
	return time.Duration(min(minutes*float64(time.Minute), math.MaxInt64/2)).Round(time.Second)
}
