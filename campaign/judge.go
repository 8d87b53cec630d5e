package campaign

import (
	"fmt"
	"maps"
	"time"
)

// Counts says how many assignments of a campaign stand in each state, wave by wave, how many reports are recorded, and why
// devices were not updated.
// The store keeps it in the same commit as the assignments; it always equals a scan of them.
type Counts struct {
	Waves   []map[State]uint64
	Reports uint64
	Reasons Reasons
	Holding map[string]uint64 // devices between permit and proof, by the value of the permit rule's label
	Charged uint64            // assignments that are
	Asking  map[string]uint64 // devices in line for a permit, by the value of the permit rule's label
	Unpaid  uint64            // assignments that are
	Spared  uint64            // assignments that are, see Assignment.Spared
}

// Permit counts a's permit n times: as held, as asked for, or not at all.
func (c *Counts) Permit(a Assignment, n int64) {
	if value, ok := a.Holds(); ok {
		tally(&c.Holding, value, n)
	}
	if value, ok := a.InLine(); ok {
		tally(&c.Asking, value, n)
	}
}

// tally adds n to what m has for value. What is 0 is not there.
func tally(m *map[string]uint64, value string, n int64) {
	if *m == nil {
		*m = map[string]uint64{}
	}
	if v := int64((*m)[value]) + n; v != 0 {
		(*m)[value] = uint64(v)
	} else {
		delete(*m, value)
	}
	if len(*m) == 0 {
		*m = nil
	}
}

// Add changes the count of state s in wave by n (which may be negative), growing Waves as needed.
func (c *Counts) Add(wave int, s State, n int64) {
	for len(c.Waves) <= wave {
		c.Waves = append(c.Waves, map[State]uint64{})
	}
	if v := int64(c.Waves[wave][s]) + n; v != 0 {
		c.Waves[wave][s] = uint64(v)
	} else {
		delete(c.Waves[wave], s)
	}
}

// Charge counts an assignment that was charged, or not, and now is, or is not.
func (c *Counts) Charge(was, is bool) {
	switch {
	case !was && is:
		c.Charged++
	case was && !is:
		c.Charged--
	}
}

// AddMarks counts n assignments more (or less) that are Unpaid, or Spared, as a is.
func (c *Counts) AddMarks(a Assignment, n int64) {
	if a.Unpaid {
		c.Unpaid = uint64(int64(c.Unpaid) + n)
	}
	if a.Spared() {
		c.Spared = uint64(int64(c.Spared) + n)
	}
}

// Of sums the given states over all waves.
func (c Counts) Of(states ...State) uint64 {
	var n uint64
	for i := range c.Waves {
		n += c.InWave(i, states...)
	}
	return n
}

// InWave sums the given states in one wave; a wave that has no assignment counts 0.
func (c Counts) InWave(wave int, states ...State) uint64 {
	if wave >= len(c.Waves) {
		return 0
	}
	var n uint64
	for _, s := range states {
		n += c.Waves[wave][s]
	}
	return n
}

// Total is the number of assignments.
func (c Counts) Total() uint64 { return c.Of(States...) }

// Clone returns a copy that shares nothing with c.
func (c Counts) Clone() Counts {
	w := make([]map[State]uint64, len(c.Waves))
	for i := range c.Waves {
		w[i] = maps.Clone(c.Waves[i])
	}
	return Counts{Waves: w, Reports: c.Reports, Charged: c.Charged, Reasons: maps.Clone(c.Reasons), Holding: maps.Clone(c.Holding),
		Asking: maps.Clone(c.Asking), Unpaid: c.Unpaid, Spared: c.Spared}
}

var (
	liveStates = []State{Offered, Received, Downloading, Downloaded, Installing, Rebooting}
	badStates  = []State{Failed, Rejected, Reverted}
)

// Decision is what a campaign's counts and the time mean for it. With an Outcome the campaign is to stop, for Reason;
// otherwise Open is the wave that is to be open.
type Decision struct {
	Outcome Outcome
	Reason  string
	Open    int
	Met     time.Time // since when the open wave is done and meets its gate; zero: it does not
	Hold    Step      // what keeps a wave that is done from being followed by the next; "": nothing
	At      time.Time // when time alone ends Hold; zero: it does not
}

// Judge decides on an active campaign. exhausted says that no device of the open wave can be offered: what is pending
// in it waits for another campaign. A share of nothing passes no threshold, and a wave of nothing meets its gate.
func Judge(c Campaign, n Counts, exhausted bool, now time.Time) Decision {
	p := c.Policy
	if d := thresholds(p, n); d.Outcome != "" {
		return d
	}
	left := n.Of(Pending, Retrying) + n.Of(liveStates...)
	if c.expired(now) {
		if p.Membership == Continuous && left == 0 {
			return finish(p, n) // its end is what it was made for
		}
		return stop(Expired, "%s", c.late())
	}
	if n.InWave(c.Open, liveStates...)+n.InWave(c.Open, Retrying) != 0 || !exhausted {
		return Decision{Open: c.Open}
	}
	if c.Open < len(p.Waves)-1 {
		if d, ok := gate(p, n, c.Open); !ok {
			return d
		}
		return c.following(n, now)
	}
	if left != 0 || p.Membership == Continuous {
		return Decision{Open: c.Open} // devices that another campaign holds, late ones of an earlier wave, or still to come
	}
	return finish(p, n)
}

// thresholds stops a campaign of which too much went wrong, over all or in one wave.
func thresholds(p Policy, n Counts) Decision {
	settled := n.Of(settledStates...)
	if over(n.Of(badStates...), settled, p.FailurePercent, p.MinSample) {
		return stop(AutoStopped, "%.1f %% of %d devices failed, at most %g %% allowed", share(n.Of(badStates...), settled), settled, p.FailurePercent)
	}
	if over(n.Of(Silent), settled, p.SilentPercent, p.MinSample) {
		return stop(AutoStopped, "%.1f %% of %d devices silent, at most %g %% allowed", share(n.Of(Silent), settled), settled, p.SilentPercent)
	}
	return p.waveThresholds(n)
}

// finish judges every wave again, now that all are settled: an update that was undone since counts against its gate.
func finish(p Policy, n Counts) Decision {
	for w := range p.Waves {
		if d, ok := gate(p, n, w); !ok {
			return d
		}
	}
	// Devices that had the image before are as good as updated; those that could not have it are not.
	if n.Of(Confirmed) == 0 && n.Reasons[reasonOf(Skipped, ReasonAlreadyInstalled)] == 0 {
		return stop(AutoStopped, "no device has the update")
	}
	return Decision{Outcome: Succeeded}
}

// gate says whether wave w met its gate; if not, with the decision that follows: stop, or, while devices that wait for
// another campaign can still decide it, hold the wave open. A wave that proved nothing yet opens nothing.
func gate(p Policy, n Counts, w int) (Decision, bool) {
	var total uint64
	for _, s := range States {
		if s != Skipped {
			total += n.InWave(w, s)
		}
	}
	done, waiting := n.InWave(w, Confirmed), n.InWave(w, Pending)
	needed := p.SuccessPercent * float64(total)
	switch {
	case float64(done)*100 >= needed:
		return Decision{}, true
	case float64(done+waiting)*100 >= needed:
		return Decision{Open: w}, false
	}
	return stop(AutoStopped, "wave %d: %.1f %% confirmed, %g %% needed", w+1, share(done, total), p.SuccessPercent), false
}

// settledStates are what thresholds are a share of: devices that were offered something and are done with it.
var settledStates = []State{Confirmed, Failed, Rejected, Silent, Withdrawn, Deregistered, Reverted}

// over says whether part is more than percent of whole, once whole is a sample.
func over(part, whole uint64, percent float64, sample int) bool {
	if whole == 0 || whole < uint64(max(sample, 0)) {
		return false
	}
	return !(float64(part)*100 <= percent*float64(whole)) // written so that a NaN stops
}

func share(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) * 100 / float64(whole)
}

func stop(o Outcome, format string, args ...any) Decision {
	return Decision{Outcome: o, Reason: fmt.Sprintf(format, args...)}
}
