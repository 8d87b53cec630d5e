package campaign

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Defaults and bounds of a policy.
const (
	DefaultSuccessPercent  = 90
	DefaultFailurePercent  = 10
	DefaultSilentPercent   = 100 // never stops
	DefaultMinSample       = 20
	DefaultOfferedDeadline = 72 * time.Hour
	DefaultDeadline        = 24 * time.Hour // of the other live states
	MaxWithin              = 90 * 24 * time.Hour
	MaxWaves               = 32
	maxCount               = 1 << 30
)

// InvalidError says what of a draft can't be taken, member by member.
type InvalidError struct{ Fields []FieldError }

// FieldError is one member that can't be taken. Pointer is a JSON pointer into the draft, as a backend writes it.
type FieldError struct{ Pointer, Detail string }

// Error lists the members.
func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Pointer + ": " + f.Detail
	}
	return "invalid request: " + strings.Join(parts, "; ")
}

func (e *InvalidError) add(pointer, format string, args ...any) {
	e.Fields = append(e.Fields, FieldError{pointer, fmt.Sprintf(format, args...)})
}

// err is e, or nil when nothing was found.
func (e *InvalidError) err() error {
	if len(e.Fields) == 0 {
		return nil
	}
	return e
}

// PolicyDefaults is the policy of a draft that says nothing. Percentages have no other way to be absent: 0 is a value
// (a FailurePercent of 0 stops at the first failure), so whoever fills a Policy starts from here.
func PolicyDefaults() Policy {
	p := Policy{
		Waves:          []Wave{{Percent: 100}},
		SuccessPercent: DefaultSuccessPercent,
		FailurePercent: DefaultFailurePercent,
		SilentPercent:  DefaultSilentPercent,
		MinSample:      DefaultMinSample,
		Deadlines:      map[State]time.Duration{},
		Within:         MaxWithin,
		Recovery:       Recovery{Poison: DefaultPoison, StopWithin: DefaultStopWithin},
	}
	for _, s := range liveStates {
		p.Deadlines[s] = DefaultDeadline
	}
	p.Deadlines[Offered] = DefaultOfferedDeadline
	return p
}

// Complete fills in what is absent (waves, sample, deadlines, Within; not the percentages, see PolicyDefaults) and
// checks the whole. Anything that makes no sense means no: the error is an *InvalidError.
func (p Policy) Complete() (Policy, error) {
	d := PolicyDefaults()
	if len(p.Waves) == 0 {
		p.Waves = d.Waves
	}
	p.Waves = slices.Clone(p.Waves)
	if p.MinSample == 0 {
		p.MinSample = d.MinSample
	}
	if p.Within == 0 {
		p.Within = d.Within
	}
	maps.Copy(d.Deadlines, p.Deadlines)
	for _, s := range liveStates {
		if d.Deadlines[s] == 0 {
			d.Deadlines[s] = PolicyDefaults().Deadlines[s]
		}
	}
	p.Deadlines = d.Deadlines

	var bad InvalidError
	p.checkWaves(&bad)
	checkCount(&bad, "/policy/in_flight", p.InFlight)
	checkCount(&bad, "/policy/min_sample", p.MinSample)
	checkPercent(&bad, "/policy/success_percent", p.SuccessPercent)
	checkPercent(&bad, "/policy/failure_percent", p.FailurePercent)
	checkPercent(&bad, "/policy/silent_percent", p.SilentPercent)
	checkDuration(&bad, "/policy/within", p.Within)
	switch p.Membership {
	case "", OneShot, Continuous:
	default:
		bad.add("/policy/membership", "want %s or %s", OneShot, Continuous)
	}
	p.Rollout.check(&bad)
	p.Recovery.complete(&bad)
	for _, s := range slices.Sorted(maps.Keys(p.Deadlines)) {
		if !s.Live() {
			bad.add("/policy/deadlines/"+string(s), "not a state that has a deadline")
			continue
		}
		checkDuration(&bad, "/policy/deadlines/"+string(s), p.Deadlines[s])
	}
	if err := bad.err(); err != nil {
		return Policy{}, err
	}
	return p, nil
}

// checkWaves wants of each wave a percent or a count. The last wave takes the rest whatever it says, so the percents
// before it may add up to 100 at most.
func (p Policy) checkWaves(bad *InvalidError) {
	if len(p.Waves) > MaxWaves {
		bad.add("/policy/waves", "%d waves, at most %d", len(p.Waves), MaxWaves)
		return
	}
	var sum float64
	for i, w := range p.Waves {
		at := fmt.Sprintf("/policy/waves/%d", i)
		switch {
		case w.Filter != "":
			checkWaveFilter(bad, at, w, i == len(p.Waves)-1)
		case w.Percent != 0 && w.Count != 0:
			bad.add(at, "percent and count, want one of them")
		case w.Percent != 0:
			if !(w.Percent > 0 && w.Percent <= 100) { // written so that NaN fails
				bad.add(at+"/percent", "want more than 0, at most 100")
			}
			if sum += w.Percent; i < len(p.Waves)-1 && sum > 100 {
				bad.add(at+"/percent", "the waves up to here add up to more than 100")
			}
		case w.Count < 0 || w.Count > maxCount:
			bad.add(at+"/count", "want 1 to %d", maxCount)
		case w.Count == 0:
			bad.add(at, "want a percent, a count or a filter")
		}
	}
	switch {
	case p.Stratify == "":
	case len(p.Stratify) > maxReason:
		bad.add("/policy/stratify", "%d bytes, at most %d", len(p.Stratify), maxReason)
	case len(p.Waves) > 0 && p.Waves[0].Filter != "":
		bad.add("/policy/stratify", "the first wave has a filter, want a percent or a count")
	}
}

// checkWaveFilter wants the filter to stand alone, and somebody after it to take the rest.
func checkWaveFilter(bad *InvalidError, at string, w Wave, last bool) {
	if w.Percent != 0 || w.Count != 0 {
		bad.add(at, "a filter stands alone, without percent and count")
	}
	if last {
		bad.add(at+"/filter", "the last wave takes the rest, so a filter would do nothing there")
	}
	if _, err := compiled(w.Filter); err != nil {
		bad.add(at+"/filter", "%v", err)
	}
}

func checkPercent(bad *InvalidError, at string, v float64) {
	if !(v >= 0 && v <= 100) { // written so that NaN fails
		bad.add(at, "want 0 to 100")
	}
}

func checkCount(bad *InvalidError, at string, v int) {
	if v < 0 || v > maxCount {
		bad.add(at, "want 0 to %d", maxCount)
	}
}

func checkDuration(bad *InvalidError, at string, v time.Duration) {
	if v <= 0 || v > MaxWithin {
		bad.add(at, "want more than 0, at most %s", MaxWithin)
	}
}
