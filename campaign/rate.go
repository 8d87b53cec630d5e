package campaign

import (
	"fmt"
	"math"
	"time"
)

// Rate bounds how many devices are offered per minute. The zero value sets no bound.
type Rate struct {
	PerMinute float64
	// With a Factor the rate is multiplied by it each time Every more devices are confirmed, up to Max per minute.
	Factor float64
	Every  int
	Max    float64
}

// Bounds of a rate.
const (
	MinRate   = 0.01      // per minute
	MaxRate   = 1_000_000 // per minute
	MaxFactor = 10
)

// burst is the time for which a campaign that could not offer may catch up.
const burst = time.Second

// rateBeat is how often a campaign that is held by its rate alone is looked at: less than burst, so that nothing is
// lost, and long enough that a commit offers more than one device.
const rateBeat = burst / 2

func (r Rate) check(bad *InvalidError) {
	if r == (Rate{}) {
		return
	}
	if !(r.PerMinute >= MinRate && r.PerMinute <= MaxRate) { // written so that NaN fails, here and below
		bad.add("/policy/rate/per_minute", "want %g to %d", MinRate, MaxRate)
	}
	if r.Factor == 0 {
		if r.Every != 0 || r.Max != 0 {
			bad.add("/policy/rate", "every and max go with a factor")
		}
		return
	}
	if !(r.Factor > 1 && r.Factor <= MaxFactor) {
		bad.add("/policy/rate/factor", "want more than 1, at most %d", MaxFactor)
	}
	if r.Every < 1 || r.Every > maxCount {
		bad.add("/policy/rate/every", "want 1 to %d", maxCount)
	}
	if !(r.Max >= r.PerMinute && r.Max <= MaxRate) {
		bad.add("/policy/rate/max", "want per_minute to %d", MaxRate)
	}
}

// At is the rate per minute once so many devices are confirmed; 0: no bound.
func (r Rate) At(confirmed uint64) float64 {
	if r.Factor == 0 || r.Every < 1 {
		return r.PerMinute
	}
	return min(r.PerMinute*math.Pow(r.Factor, float64(confirmed/uint64(r.Every))), r.Max)
}

// interval is the time that one offer costs; 0: none.
func (r Rate) interval(confirmed uint64) time.Duration {
	if v := r.At(confirmed); v > 0 {
		return time.Duration(math.Ceil(float64(time.Minute) / v))
	}
	return 0
}

// paid is until when c has used up its rate: PaidUntil, but no more than burst ago.
func (c Campaign) paid(now time.Time) time.Time {
	if first := now.Add(-burst); c.PaidUntil.Before(first) {
		return first
	}
	return c.PaidUntil
}

// mendRate sees to it that c has paid for one offer ahead at most: not for more because its clock was set back, nor by
// the interval of a rate that has grown since.
func (c *Campaign) mendRate(confirmed uint64, now time.Time) {
	interval := c.Policy.Rate.interval(confirmed)
	if last := now.Add(interval); interval != 0 && c.PaidUntil.After(last) {
		c.PaidUntil = last
	}
}

// allowance is how many devices the rate lets c offer at now.
func (c Campaign) allowance(confirmed uint64, now time.Time) int {
	interval := c.Policy.Rate.interval(confirmed)
	if interval == 0 {
		return maxCount
	}
	from := c.paid(now)
	if from.After(now) {
		return 0
	}
	return int(now.Sub(from)/interval) + 1
}

// spend pays for one offer.
func (c *Campaign) spend(confirmed uint64, now time.Time) {
	if interval := c.Policy.Rate.interval(confirmed); interval != 0 {
		c.PaidUntil = c.paid(now).Add(interval)
	}
}

// refill is when a campaign that is held by its rate is looked at again.
func (c Campaign) refill(now time.Time) time.Time {
	next := c.paid(now)
	if beat := now.Add(rateBeat); next.Before(beat) {
		return beat
	}
	return next
}

// room is how many devices a campaign may be offering at a moment.
type room struct {
	n    int
	step Step      // that of a campaign which has more to offer
	at   time.Time // when time alone changes that; zero: it does not
}

// room is what c's windows, cap and rate leave.
func (c Campaign) room(n Counts, now time.Time) room {
	open, change := c.Policy.InWindow(now)
	if !open {
		return room{0, OutsideWindow, change}
	}
	r := room{maxCount, Publishing, change}
	if c.Policy.InFlight > 0 {
		r.n = max(0, c.Policy.InFlight-int(n.Of(liveStates...)))
	}
	confirmed := n.Of(Confirmed)
	if left := c.allowance(confirmed, now); left < r.n {
		r.n = left
		if at := c.refill(now); r.at.IsZero() || at.Before(r.at) {
			r.at = at
		}
	}
	return r
}

// whyNoRoom says what of its pace keeps c from offering, and until when.
func (c Campaign) whyNoRoom(n Counts, now time.Time) (code, detail string, until time.Time) {
	switch r := c.room(n, now); {
	case r.n > 0:
		return WhyNext, "nothing stands in its way", time.Time{}
	case r.step == OutsideWindow:
		return WhyOutsideWindow, "none of the campaign's windows is open", r.at
	default:
		return WhyRate, fmt.Sprintf("the campaign offers to %g devices a minute", c.Policy.Rate.At(n.Of(Confirmed))), r.at
	}
}
