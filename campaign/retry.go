package campaign

import (
	"fmt"
	"slices"
	"time"

	"fleetbridge/ident"
)

// Recovery is the part of a policy that says what becomes of failures and of stops that get stuck, and whether devices
// ask before they do what can't be undone.
type Recovery struct {
	Retry      Retry
	Poison     int           // failures of the image on a device after which it is not offered there; 0: no such rule
	StopWithin time.Duration // after which a stop passes over what it can't withdraw; 0: DefaultStopWithin
	Permit     PermitRule
}

func (r *Recovery) complete(bad *InvalidError) {
	if r.Poison == 0 {
		r.Poison = DefaultPoison
	}
	if r.StopWithin == 0 {
		r.StopWithin = DefaultStopWithin
	}
	if r.Poison < 0 || r.Poison > MaxPoison {
		bad.add("/policy/poison", "want 1 to %d", MaxPoison)
	}
	checkDuration(bad, "/policy/stop_within", r.StopWithin)
	r.Retry = r.Retry.complete(bad)
	r.Permit = r.Permit.complete(bad)
}

// Retry says which failures are tried again. The zero value tries nothing again.
type Retry struct {
	Max     int           // tries after the first one, per device
	Reasons []string      // of failures that are tried again; none: TransientReasons
	After   time.Duration // from a failure to the next try, plus up to half of it again, so that a fleet does not come back at once
}

// Defaults and bounds of retries and of the poison rule.
const (
	DefaultRetryAfter = 5 * time.Minute
	DefaultPoison     = 3
	MaxRetries        = 10
	MaxPoison         = 1000
	maxReasons        = 16
)

// TransientReasons are those that say nothing about the image and pass by themselves. They are what a retry policy
// takes where it names no reasons, and they never count as failures of an image.
func TransientReasons() []string { return []string{"download-timeout", "battery-low"} }

func (r Retry) complete(bad *InvalidError) Retry {
	if r.Max < 0 || r.Max > MaxRetries {
		bad.add("/policy/retry/max", "want 0 to %d", MaxRetries)
	}
	if len(r.Reasons) > maxReasons {
		bad.add("/policy/retry/reasons", "%d reasons, at most %d", len(r.Reasons), maxReasons)
	}
	if r.Max == 0 {
		return r
	}
	if len(r.Reasons) == 0 {
		r.Reasons = TransientReasons()
	}
	if r.After == 0 {
		r.After = DefaultRetryAfter
	}
	for i, reason := range r.Reasons {
		if reason == "" {
			bad.add(fmt.Sprintf("/policy/retry/reasons/%d", i), "want a reason")
		}
	}
	checkDuration(bad, "/policy/retry/after", r.After)
	return r
}

// Failure counts how often an image failed on a device, whatever the campaign. A proof of the image deletes it.
type Failure struct {
	Image ident.Digest
	Count int
	Last  time.Time
}

// MaxFailures bounds Work.Failures. When there is no room, the one with the lowest count goes.
const MaxFailures = 8

// Failed is how often the image failed on the device.
func (w Work) Failed(image ident.Digest) int {
	i := slices.IndexFunc(w.Failures, func(f Failure) bool { return f.Image == image })
	if i < 0 {
		return 0
	}
	return w.Failures[i].Count
}

// Poisons says whether the image of c failed on the device so often that c must not offer it.
func (c Campaign) Poisons(w Work) bool {
	return c.Policy.Poison > 0 && w.Failed(c.Image) >= c.Policy.Poison
}

// failed counts a failure of a image; for a reason that says nothing about the image it does not.
func (h *hands) failed(image ident.Digest, reason string, now time.Time) {
	if slices.Contains(TransientReasons(), reason) {
		return
	}
	h.changed = true
	list := slices.Clone(h.Failures)
	i := slices.IndexFunc(list, func(f Failure) bool { return f.Image == image })
	if i < 0 {
		if len(list) == MaxFailures {
			least := slices.MinFunc(list, func(a, b Failure) int { return a.Count - b.Count })
			list = slices.DeleteFunc(list, func(f Failure) bool { return f == least })
		}
		list, i = append(list, Failure{Image: image}), len(list)
	}
	list[i].Count, list[i].Last = list[i].Count+1, now
	h.Failures = list
}

// forgive deletes the failures of one image, or of all if it is zero, and says whether there were any.
func (h *hands) forgive(image ident.Digest) bool {
	kept := slices.DeleteFunc(slices.Clone(h.Failures), func(f Failure) bool { return image.IsZero() || f.Image == image })
	if len(kept) == len(h.Failures) {
		return false
	}
	h.Failures, h.changed = kept, true
	return true
}

// orAgain turns a failure into one that is tried again, where the campaign's policy and the device's history allow it.
func (e Event) orAgain(c Campaign, h *hands, a Assignment) Event {
	if e.Trigger != SaysFailed && e.Trigger != RolledBack {
		return e
	}
	r := c.Policy.Retry
	switch again := slices.Contains(r.Reasons, e.Reason); {
	case again && a.State == Retrying:
		e.Trigger = "" // the same failure, told again
		return e
	case !again || !c.running() || a.Retries >= r.Max:
		return e
	}
	if n := h.Failed(a.Image) + 1; c.Policy.Poison > 0 && n >= c.Policy.Poison && !slices.Contains(TransientReasons(), e.Reason) {
		return e
	}
	e.Trigger = FailsForNow
	e.After = r.After + time.Duration(mix(a.Order, uint64(a.Retries)+1<<32)%uint64(max(r.After/2, 1)))
	return e
}

// Cleared says what ClearFailures did.
type Cleared struct {
	Matched int // devices that passed the filter
	Cleared int // those of them that had something to forget
}

// ClearFailures forgets that an image failed on devices, or that any did if it is zero, so that it may be offered again: on
// at most MaxLabelled of them that pass the filter (all, if it is ""), which is asked again. Nothing to forget is no error.
// A device that is not there ends it all: a *NotFoundError.
func ClearFailures(tx Tx, now time.Time, t ident.Tenant, ids []ident.Device, filter string, image ident.Digest) (done Cleared, err error) {
	if len(ids) > MaxLabelled {
		return done, &InvalidError{[]FieldError{{"/devices", fmt.Sprintf("%d devices, at most %d", len(ids), MaxLabelled)}}}
	}
	f, err := CompileFilter(filter, "/filter")
	if err != nil {
		return done, err
	}
	k := &desk{tx: tx, t: t, now: now}
	for _, id := range ids {
		d, err := tx.Device(t, id)
		if err != nil {
			return Cleared{}, missing(err, "device", id)
		}
		if in, err := matches(f, d, DefaultComponent, now); err != nil || !in {
			continue // without an answer it is not selected
		}
		done.Matched++
		h, err := k.hands(id)
		if err != nil {
			return Cleared{}, err
		}
		if h.forgive(image) {
			done.Cleared++
		}
		if err := k.put(h); err != nil {
			return Cleared{}, err
		}
	}
	return done, nil
}
