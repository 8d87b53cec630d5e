package campaign

import (
	"fmt"
	"time"

	"fleetbridge/ident"
)

// Rollout is the part of a policy that says when a campaign may go on. The zero value holds nothing back.
type Rollout struct {
	Manual  bool          // each wave after the first waits for Release
	Soak    time.Duration // so long a wave must meet its gate before the next opens
	StartAt time.Time     // the campaign stays scheduled until then; zero: starts at once
	EndAt   time.Time     // it expires then, or Within after its start, whichever is first; zero: no such time
	// WaveFailurePercent and WaveSilentPercent stop the campaign when passed in any one wave; 0: no such threshold.
	WaveFailurePercent float64
	WaveSilentPercent  float64
	Windows            []Window // offers go out only inside one of them; none: always
	Rate               Rate
	Priority           int // of campaigns that wait for the same device the highest has it first, then the one that was started first
}

// Pace is how far a campaign has come by its Rollout.
type Pace struct {
	Released  int       // the last wave, from 0, that may open under a manual policy
	MetAt     time.Time // since when the open wave is done and meets its gate; zero: it does not
	PaidUntil time.Time // until when the rate is used up
}

// Bounds of the moments that a policy names.
var (
	minMoment = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	maxMoment = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// check reports what makes no sense in r.
func (r Rollout) check(bad *InvalidError) {
	if r.Soak != 0 {
		checkDuration(bad, "/policy/soak", r.Soak)
	}
	checkMoment(bad, "/policy/start_at", r.StartAt)
	checkMoment(bad, "/policy/end_at", r.EndAt)
	if !r.EndAt.IsZero() && !r.EndAt.After(r.StartAt) {
		bad.add("/policy/end_at", "not after start_at")
	}
	checkPercent(bad, "/policy/wave_failure_percent", r.WaveFailurePercent)
	checkPercent(bad, "/policy/wave_silent_percent", r.WaveSilentPercent)
	r.checkWindows(bad)
	r.Rate.check(bad)
	if r.Priority < 0 || r.Priority > MaxPriority {
		bad.add("/policy/priority", "want 0 to %d", MaxPriority)
	}
}

func checkMoment(bad *InvalidError, at string, t time.Time) {
	if !t.IsZero() && (t.Before(minMoment) || !t.Before(maxMoment)) {
		bad.add(at, "want a time from %d to %d", minMoment.Year(), maxMoment.Year()-1)
	}
}

// current says whether a campaign may still start at now.
func (r Rollout) current(now time.Time) error {
	var bad InvalidError
	if !r.EndAt.IsZero() && !now.Before(r.EndAt) {
		bad.add("/policy/end_at", "has passed")
	}
	return bad.err()
}

// waveThresholds is thresholds for each wave on its own.
func (p Policy) waveThresholds(n Counts) Decision {
	for w := range n.Waves {
		settled := n.InWave(w, settledStates...)
		bad, silent := n.InWave(w, badStates...), n.InWave(w, Silent)
		if p.WaveFailurePercent != 0 && over(bad, settled, p.WaveFailurePercent, p.MinSample) {
			return stop(AutoStopped, "wave %d: %.1f %% of %d devices failed, at most %g %% allowed", w+1, share(bad, settled), settled, p.WaveFailurePercent)
		}
		if p.WaveSilentPercent != 0 && over(silent, settled, p.WaveSilentPercent, p.MinSample) {
			return stop(AutoStopped, "wave %d: %.1f %% of %d devices silent, at most %g %% allowed", w+1, share(silent, settled), settled, p.WaveSilentPercent)
		}
	}
	return Decision{}
}

// following decides on the wave after the open one, which is done and meets its gate. A wave that had nothing to do has
// nothing to soak.
func (c Campaign) following(n Counts, now time.Time) Decision {
	d := Decision{Open: c.Open, Met: c.MetAt}
	if d.Met.IsZero() || d.Met.After(now) {
		d.Met = now
	}
	soaked := d.Met.Add(c.Policy.Soak)
	worked := n.InWave(c.Open, States...) != n.InWave(c.Open, Skipped)
	switch {
	case c.Policy.Manual && c.Released <= c.Open:
		d.Hold = AwaitingRelease
	case worked && now.Before(soaked):
		d.Hold, d.At = Soaking, soaked
	default:
		return Decision{Open: c.Open + 1}
	}
	return d
}

// End is when a started campaign expires; zero before that.
func (c Campaign) End() time.Time {
	if c.Started.IsZero() {
		return time.Time{}
	}
	begin := c.Started
	if c.Policy.StartAt.After(begin) {
		begin = c.Policy.StartAt
	}
	end := begin.Add(c.Policy.Within)
	if at := c.Policy.EndAt; !at.IsZero() && at.Before(end) {
		return at
	}
	return end
}

// expired says whether c has expired.
func (c Campaign) expired(now time.Time) bool {
	end := c.End()
	return !end.IsZero() && !now.Before(end)
}

// late is the reason of a campaign that has expired.
func (c Campaign) late() string {
	if end := c.End(); end.Equal(c.Policy.EndAt) {
		return "not finished by " + end.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("not finished within %s", c.Policy.Within)
}

// scheduled waits for the start time.
func (e *engine) scheduled() error {
	switch {
	case e.c.expired(e.now):
		return e.c.end(e.now, Expired, e.c.late())
	case e.now.Before(e.c.Policy.StartAt):
		e.wake(e.c.Policy.StartAt)
		return nil
	}
	return e.c.enter(Starting, CheckingManifest)
}

// paused keeps time for what is already offered, and offers nothing, not even again.
func (e *engine) paused() error {
	if err := e.due(false, time.Time{}); err != nil {
		return err
	}
	if e.c.expired(e.now) {
		return e.c.end(e.now, Expired, e.c.late())
	}
	return nil
}

// Pause holds an active campaign: from this commit on nothing is offered, and no offer is repeated. Devices that have
// theirs go on, and their deadlines run. ErrPhase and ErrConflict are as with Stop.
func Pause(tx Tx, t ident.Tenant, id ident.Campaign, ifRevision uint64, by, reason string) (Campaign, Result, error) {
	return command(tx, t, id, ifRevision, func(c *Campaign) error {
		c.Reason = said("paused by "+by, reason)
		return c.enter(Paused, c.Step)
	})
}

// Resume lets a paused campaign go on. What went wrong meanwhile is judged before anything is offered.
func Resume(tx Tx, t ident.Tenant, id ident.Campaign, ifRevision uint64) (Campaign, Result, error) {
	return command(tx, t, id, ifRevision, func(c *Campaign) error {
		c.Reason = ""
		return c.enter(Active, c.Step)
	})
}

// Release lets the wave after the open one open, once its turn has come; again for the same wave changes nothing. A
// campaign that is neither active nor paused, opens its waves by itself or is at its last gives ErrPhase.
func Release(tx Tx, t ident.Tenant, id ident.Campaign, ifRevision uint64) (Campaign, Result, error) {
	return command(tx, t, id, ifRevision, func(c *Campaign) error {
		switch {
		case !c.running():
			return fmt.Errorf("campaign %s is %s: %w", c.ID, c.Phase, ErrPhase)
		case !c.Policy.Manual:
			return fmt.Errorf("campaign %s opens its waves by itself: %w", c.ID, ErrPhase)
		case c.Open >= len(c.Policy.Waves)-1:
			return fmt.Errorf("campaign %s is at its last wave: %w", c.ID, ErrPhase)
		case c.Released <= c.Open:
			c.Released = c.Open + 1
			c.Revision++
		}
		return nil
	})
}
