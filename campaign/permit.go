package campaign

import (
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
	maxPermitValues  = 1024 // of a label, under way at once; and as many in line
	// PermitGrace is how much longer than its time the server counts on a permit: it was under way for a while, and so is
	// the report that it was used.
	PermitGrace = 30 * time.Second
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
	Next  time.Time   // when a granted one lapses unused
	Asked time.Time   // since when a waiting one stands in line; zero: it does not
	JSON  bool        // the device asked in JSON
}

// Holds says whether a counts against its campaign's cap of simultaneous installs, and for which value of the label.
func (a Assignment) Holds() (value string, ok bool) {
	return a.Permit.Value, a.Permit.State == PermitGranted && a.State.Live()
}

// InLine says whether a stands in the line of devices that wait for a permit, and for which value of the label.
func (a Assignment) InLine() (value string, ok bool) {
	return a.Permit.Value, a.State == Downloaded && a.Permit.State == PermitWaiting && !a.Permit.Asked.IsZero()
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
