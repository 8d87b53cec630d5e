package campaign

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// Window is a recurring span of time in which devices may be touched: from each moment that Cron names, for Duration.
// A moment that does not exist on the day when clocks go forward is left out; one that comes twice when they go back
// counts twice.
type Window struct {
	Cron     string // minute hour day month weekday, in Zone
	Duration time.Duration
	Zone     string // IANA name; "": UTC
}

// Bounds of windows.
const (
	MaxWindows        = 16
	MinWindowDuration = time.Minute
	MaxWindowDuration = 31 * 24 * time.Hour
	maxCron           = 128 // bytes
	maxZone           = 64  // bytes
)

// InWindow says whether devices may be offered something at now, and when that may change: when the next window opens,
// or the open one closes unless it opens anew by then; zero if that can't be told, or never. Without windows it is always
// open. A window that can't be read is shut.
func (r Rollout) InWindow(now time.Time) (open bool, change time.Time) {
	if len(r.Windows) == 0 {
		return true, time.Time{}
	}
	var opens, closes time.Time
	for _, w := range r.Windows {
		if tick, err := w.after(now.Add(-w.Duration)); err == nil && !tick.After(now) {
			if end := tick.Add(w.Duration); end.After(closes) {
				closes = end
			}
			continue
		}
		if tick, err := w.after(now); err == nil && (opens.IsZero() || tick.Before(opens)) {
			opens = tick
		}
	}
	if !closes.IsZero() {
		return true, closes
	}
	return false, opens
}

// maxSpans bounds how many changes of a zone's clocks are crossed in search of a moment: 16 years with two a year.
const maxSpans = 32

// after is the first moment after t at which w opens. Between two changes of its clocks a zone's time is UTC with an
// offset; so the search goes from change to change, and gronx, which loses its way where an hour is missing or comes
// twice, sees UTC only.
func (w Window) after(t time.Time) (time.Time, error) {
	loc, err := location(w.Zone)
	if err != nil {
		return time.Time{}, err
	}
	from, inclusive := t, false
	for range maxSpans {
		local := from.In(loc)
		_, seconds := local.Zone()
		offset := time.Duration(seconds) * time.Second
		wall, err := gronx.NextTickAfter(w.Cron, from.UTC().Add(offset), inclusive)
		if err != nil {
			return time.Time{}, fmt.Errorf("find next %q: %w", w.Cron, err)
		}
		tick := wall.Add(-offset)
		if _, end := local.ZoneBounds(); !end.IsZero() && !tick.Before(end) {
			from, inclusive = end, true
			continue
		}
		if due, err := gronx.New().IsDue(w.Cron, wall); err != nil || !due || tick.Before(from) || !tick.After(t) {
			break
		}
		return tick, nil
	}
	return time.Time{}, fmt.Errorf("find next %q: nothing found", w.Cron)
}

var errZone = errors.New("want an IANA name such as Europe/Berlin")

// location never is the machine's own: what a policy means must not depend on where it is read.
func location(zone string) (*time.Location, error) {
	if len(zone) > maxZone || zone == "Local" {
		return nil, errZone
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return nil, errZone
	}
	return loc, nil
}

func (r Rollout) checkWindows(bad *InvalidError) {
	if len(r.Windows) > MaxWindows {
		bad.add("/policy/windows", "%d windows, at most %d", len(r.Windows), MaxWindows)
		return
	}
	for i, w := range r.Windows {
		at := fmt.Sprintf("/policy/windows/%d", i)
		if w.Duration < MinWindowDuration || w.Duration > MaxWindowDuration {
			bad.add(at+"/duration", "want %s to %s", MinWindowDuration, MaxWindowDuration)
		}
		if _, err := location(w.Zone); err != nil {
			bad.add(at+"/zone", "%v", err)
			continue
		}
		if err := w.checkCron(); err != nil {
			bad.add(at+"/cron", "%v", err)
		}
	}
}

var errCron = errors.New("want minute, hour, day, month and weekday: 0 2 * * 1-5")

// checkCron reads each entry of each list by itself: gronx stops at the first entry that fits the moment, and so passes
// a list of which it has seen a part.
func (w Window) checkCron() error {
	fields := strings.Fields(w.Cron)
	if len(w.Cron) > maxCron || len(fields) != 5 || strings.Join(fields, " ") != w.Cron {
		return errCron
	}
	for i, f := range fields {
		for entry := range strings.SplitSeq(f, ",") {
			one := []string{"*", "*", "*", "*", "*"}
			one[i] = entry
			if !gronx.IsValid(strings.Join(one, " ")) {
				return fmt.Errorf("can't read %q; %w", entry, errCron)
			}
		}
	}
	if _, err := w.after(minMoment); err != nil {
		return errors.New("a moment that never comes")
	}
	return nil
}
