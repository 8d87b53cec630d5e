package campaign

import (
	"errors"
	"fmt"
	"time"
)

// ask answers a device that asks to install what it has downloaded.
func (k *desk) ask(c Campaign, a Assignment, json bool) error {
	changed := a.Permit.JSON != json
	a.Permit.JSON = json
	_, inLine := a.InLine()
	switch {
	case !a.State.Live(), !c.Policy.Permit.Required && !c.running():
		k.tell(a, PermitRefused, time.Time{})
	case !c.Policy.Permit.Required:
		k.tell(a, PermitGranted, k.now.Add(DefaultPermitTTL))
	case a.State != Downloaded:
		k.tell(a, PermitWaiting, time.Time{})
	case inLine && !changed: // asking again is no way to the front
		k.tell(a, PermitWaiting, time.Time{})
	case inLine:
		k.tell(a, PermitWaiting, time.Time{})
		return k.keep(a)
	default:
		return k.line(c, a)
	}
	return nil
}

// line grants a, which is downloaded, an install if nobody asked before it and it may have one now, and otherwise puts it
// in line. The device hears the answer either way.
func (k *desk) line(c Campaign, a Assignment) error {
	if a.Permit.State == PermitGranted && a.Permit.Until.After(k.now) {
		k.tell(a, PermitGranted, a.Permit.Until)
		return k.keep(a)
	}
	if a.Permit.State == PermitGranted { // it no longer counts
		if err := k.lapse(a); err != nil {
			return err
		}
	}
	value, err := k.permitValue(c, a)
	if err != nil {
		return err
	}
	n, err := k.tx.Counts(k.t, c.ID)
	if err != nil {
		return fmt.Errorf("read counts: %w", err)
	}
	a.Permit = Permit{State: PermitWaiting, Value: value, JSON: a.Permit.JSON}
	if until, open := c.permitUntil(k.now); open && n.Asking[value] == 0 && c.Policy.Permit.free(n, value) > 0 {
		return k.grant(a, until)
	}
	if _, known := n.Asking[value]; known || len(n.Asking) < maxPermitValues {
		a.Permit.Asked = k.now
	}
	k.tell(a, PermitWaiting, time.Time{})
	return k.keep(a)
}

// permitValue is the value of the rule's label that a's device has now.
func (k *desk) permitValue(c Campaign, a Assignment) (string, error) {
	label := c.Policy.Permit.Label
	if label == "" {
		return "", nil
	}
	dev, err := k.tx.Device(k.t, a.Device)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", fmt.Errorf("read device: %w", err)
	}
	return dev.Labels[label], nil
}

// permitUntil says whether c grants permits at now, and until when one is good: it does not outlive its window.
func (c Campaign) permitUntil(now time.Time) (until time.Time, open bool) {
	if c.Phase != Active || c.expired(now) {
		return time.Time{}, false
	}
	open, closes := c.Policy.InWindow(now)
	if until = now.Add(c.Policy.Permit.TTL); !closes.IsZero() && closes.Before(until) {
		until = closes
	}
	return until, open
}

// free is how many more devices with a value of the label may install at counts n.
func (r PermitRule) free(n Counts, value string) int {
	held, known := n.Holding[value]
	switch {
	case r.Max == 0:
		return maxCount
	case !known && len(n.Holding) >= maxPermitValues:
		return 0
	}
	return max(0, r.Max-int(held))
}

// grant gives a its permit.
func (k *desk) grant(a Assignment, until time.Time) error {
	a.Permit.State, a.Permit.Until, a.Permit.Next, a.Permit.Asked = PermitGranted, until, until.Add(PermitGrace), time.Time{}
	k.tell(a, PermitGranted, until)
	return k.keep(a)
}

// lapse ends a permit whose time is over.
func (k *desk) lapse(a Assignment) error {
	a.Permit.State, a.Permit.Next = PermitLapsed, time.Time{}
	return k.keep(a)
}

// permitDue does what is due of a's permit. One that waits is due only if it was written before there was a line.
func (k *desk) permitDue(c Campaign, a Assignment) error {
	if a.Permit.State == PermitGranted {
		return k.lapse(a)
	}
	return k.line(c, a)
}

// keep writes a, and has the engine know when to look at it.
func (k *desk) keep(a Assignment) error {
	if err := k.tx.PutAssignment(k.t, a); err != nil {
		return fmt.Errorf("write assignment of %s: %w", a.Device, err)
	}
	k.touched(a.Campaign)
	return nil
}

func (k *desk) tell(a Assignment, s PermitState, until time.Time) {
	k.res.Permits = append(k.res.Permits, PermitWord{Device: a.Device, Manifest: a.Manifest, State: s, Until: until, JSON: a.Permit.JSON})
}

// repeat says again how a stands, to a device that asks with a report that is not new.
func (k *desk) repeat(a Assignment, json bool) {
	a.Permit.JSON = json
	switch {
	case !a.State.Live():
		k.tell(a, PermitRefused, time.Time{})
	case a.Permit.State == PermitGranted && a.Permit.Until.After(k.now):
		k.tell(a, PermitGranted, a.Permit.Until)
	default:
		k.tell(a, PermitWaiting, time.Time{})
	}
}
