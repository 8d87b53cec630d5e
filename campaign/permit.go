package campaign

import (
	"errors"
	"fmt"
	"time"

	"fleetbridge/ident"
)

// PermitRule says whether devices must ask before they install, and how many may be under way at once. The zero value
// asks for nothing.
type PermitRule struct {
	Required bool
	TTL      time.Duration // for which a permit is good
	Label    string        // an operator's label: Max counts per value of it; "": over the whole campaign
	Max      int           // devices of one value between permit and proof; 0: no cap
}

// Defaults and bounds of permits.
const (
	DefaultPermitTTL = 5 * time.Minute
	MinPermitTTL     = 10 * time.Second
	MaxPermitTTL     = 24 * time.Hour
	maxPermitLabel   = 64   // bytes
	maxPermitValues  = 1024 // of a label, under way at once
	// permitGrace is how much longer than its TTL the server counts on a permit: it was under way for a while.
	permitGrace = 30 * time.Second
)

func (r PermitRule) complete(bad *InvalidError) PermitRule {
	if !r.Required {
		if r != (PermitRule{}) {
			bad.add("/policy/permit", "not required, and yet something is said about it")
		}
		return r
	}
	if r.TTL == 0 {
		r.TTL = DefaultPermitTTL
	}
	if r.TTL < MinPermitTTL || r.TTL > MaxPermitTTL {
		bad.add("/policy/permit/ttl", "want %s to %s", MinPermitTTL, MaxPermitTTL)
	}
	if len(r.Label) > maxPermitLabel {
		bad.add("/policy/permit/label", "want at most %d bytes", maxPermitLabel)
	}
	if r.Label != "" && r.Max == 0 {
		bad.add("/policy/permit/label", "means nothing without max")
	}
	checkCount(bad, "/policy/permit/max", r.Max)
	return r
}

// PermitState is a word for where a device stands with its permit.
type PermitState string

// The states of a permit. Only waiting, granted and refused are told to devices.
const (
	PermitWaiting PermitState = "waiting"
	PermitGranted PermitState = "granted"
	PermitRefused PermitState = "refused" // there is nothing to install any more
	PermitLapsed  PermitState = "lapsed"  // granted, and not used in its time
)

// Permit is the part of an assignment that says whether its device may install.
type Permit struct {
	State PermitState // "": not asked
	Value string      // of the rule's label, when it was asked
	Until time.Time   // of a granted one
	Next  time.Time   // when the engine looks at it again; zero: never
	Looks int         // how often it was waited for
	JSON  bool        // the device asked in JSON
}

// Holds says whether a counts against its campaign's cap of simultaneous installs, and for which value of the label.
func (a Assignment) Holds() (value string, ok bool) {
	return a.Permit.Value, a.Permit.State == PermitGranted && a.State.Live()
}

// PermitWord is what a device is to be told of its permit.
type PermitWord struct {
	Device   ident.Device
	Manifest ident.Digest
	State    PermitState
	Until    time.Time // of a granted one
	JSON     bool
}

// permitIn is the permit of an assignment that has come to state s: it is for one install, and ends with it.
func (p Permit) permitIn(s State) Permit {
	switch s {
	case Downloaded:
		return p
	case Installing, Rebooting:
		if p.Next = (time.Time{}); p.State == PermitLapsed {
			p.State = PermitGranted // it was used in time, and we heard of it late
		}
		if p.State == PermitGranted {
			return p
		}
	}
	return Permit{}
}

// ask answers a device that asks to install what it has downloaded.
func (k *desk) ask(c Campaign, a Assignment, json bool) error {
	a.Permit.JSON = json
	switch {
	case !a.State.Live():
		k.tell(a, PermitRefused, time.Time{})
		return nil
	case !c.Policy.Permit.Required:
		until := k.now.Add(DefaultPermitTTL)
		if !c.running() { // it is being stopped
			k.tell(a, PermitRefused, time.Time{})
			return nil
		}
		k.tell(a, PermitGranted, until)
		return nil
	case a.State != Downloaded:
		k.tell(a, PermitWaiting, time.Time{})
		return nil
	}
	if a.Permit.State != PermitGranted {
		a.Permit.Looks = 0
	}
	return k.permit(c, a, true)
}

// permit grants a an install if it may have one now, and otherwise has it looked at again later. A device that has just
// asked hears the answer either way.
func (k *desk) permit(c Campaign, a Assignment, asked bool) error {
	if a.Permit.State == PermitGranted && a.Permit.Until.After(k.now) {
		k.tell(a, PermitGranted, a.Permit.Until)
		return k.keep(a)
	}
	if a.Permit.State == PermitGranted {
		a.Permit.State = PermitLapsed // it no longer counts
		if err := k.keep(a); err != nil {
			return err
		}
	}
	dev, err := k.tx.Device(k.t, a.Device)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("read device: %w", err)
	}
	a.Permit.Value = ""
	if l := c.Policy.Permit.Label; l != "" {
		a.Permit.Value = dev.Labels[l]
	}
	free, next, err := k.mayInstall(c, a.Permit.Value)
	if err != nil {
		return err
	}
	if free {
		a.Permit.State, a.Permit.Until = PermitGranted, k.now.Add(c.Policy.Permit.TTL)
		a.Permit.Next = a.Permit.Until.Add(permitGrace)
		k.tell(a, PermitGranted, a.Permit.Until)
		return k.keep(a)
	}
	a.Permit.Looks++
	a.Permit.State, a.Permit.Until, a.Permit.Next = PermitWaiting, time.Time{}, a.nextLook(k.now)
	if next.After(a.Permit.Next) {
		a.Permit.Next = next
	}
	if asked {
		k.tell(a, PermitWaiting, time.Time{})
	}
	return k.keep(a)
}

// mayInstall says whether one more device with a value of the label may install now; if not, next is when that changes by
// itself, if that is known.
func (k *desk) mayInstall(c Campaign, value string) (free bool, next time.Time, err error) {
	if c.Phase != Active || c.expired(k.now) {
		return false, time.Time{}, nil
	}
	if open, next := c.Policy.InWindow(k.now); !open {
		return false, next, nil
	}
	if c.Policy.Permit.Max == 0 {
		return true, time.Time{}, nil
	}
	n, err := k.tx.Counts(k.t, c.ID)
	if err != nil {
		return false, time.Time{}, fmt.Errorf("read counts: %w", err)
	}
	held, known := n.Holding[value]
	return held < uint64(c.Policy.Permit.Max) && (known || len(n.Holding) < maxPermitValues), time.Time{}, nil
}

// nextLook is when a waiting permit is looked at again: after 5 s, doubling to a minute, with jitter as for offers.
func (a Assignment) nextLook(now time.Time) time.Time {
	const first, most = 5 * time.Second, time.Minute
	wait := min(most, first<<min(max(a.Permit.Looks-1, 0), 5))
	return now.Add(wait + time.Duration(mix(a.Order, uint64(a.Permit.Looks)+2<<32)%uint64(wait/2)))
}

// lapse ends a permit whose time is over.
func (k *desk) lapse(a Assignment) error {
	a.Permit.State, a.Permit.Next = PermitLapsed, time.Time{}
	return k.keep(a)
}

// permitDue does what is due of a's permit.
func (k *desk) permitDue(c Campaign, a Assignment) error {
	if a.Permit.State == PermitGranted {
		return k.lapse(a)
	}
	return k.permit(c, a, false)
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
