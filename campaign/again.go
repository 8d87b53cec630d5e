package campaign

import (
	"fmt"
	"slices"
	"time"

	"fleetbridge/ident"
)

// From selects the devices that stand in one of States in another campaign, when this one freezes its devices.
type From struct {
	Campaign ident.Campaign // zero: no such selection
	States   []State
}

// RetryStates are the states from which another campaign can take a device up.
var RetryStates = []State{Failed, Rejected, Silent, Withdrawn, Reverted}

// IsZero says whether f selects nothing.
func (f From) IsZero() bool { return f.Campaign.IsZero() && len(f.States) == 0 }

func (f From) check(bad *InvalidError, s Selection) {
	if f.IsZero() {
		return
	}
	if f.Campaign.IsZero() {
		bad.add("/selection/from/campaign", "missing")
	}
	if len(s.Devices) > 0 || len(s.Labels) > 0 || s.Filter != "" {
		bad.add("/selection", "a selection from a campaign stands alone")
	}
	checkStates(bad, "/selection/from/states", f.States)
}

func checkStates(bad *InvalidError, at string, states []State) {
	if len(states) == 0 {
		bad.add(at, "missing")
	}
	for i, s := range states {
		if !slices.Contains(RetryStates, s) || slices.Contains(states[:i], s) {
			bad.add(fmt.Sprintf("%s/%d", at, i), "want each of %v at most once", RetryStates)
		}
	}
}

// pickFrom is Pick for a selection from another campaign. One that is gone has no devices.
func (c Campaign) pickFrom(r Reader, t ident.Tenant, after ident.Device, limit int, records bool) (p Picks, err error) {
	from := c.Selection.From
	page, err := r.Assignments(t, from.Campaign, after, limit)
	if err != nil {
		return Picks{}, fmt.Errorf("list assignments of %s: %w", from.Campaign, err)
	}
	var ids []ident.Device
	for _, a := range page {
		if slices.Contains(from.States, a.State) {
			ids = append(ids, a.Device)
		}
	}
	if len(page) == limit {
		p.Next = page[limit-1].Device
	}
	p.Picked, err = pickAll(r, t, ids, records)
	return p, err
}

// RetryOf is a draft made of another campaign: what is zero in Spec, but for its identifier and seed, is the source's.
type RetryOf struct {
	Source ident.Campaign
	States []State // of RetryStates; none: Failed
	Spec   Spec    // its Selection is not read
	Policy *Policy // nil: the source's, one-shot, without its start and end time
}

// CreateRetry makes a draft for the devices that stand in the given states in a campaign. Up to MaxSelected devices are
// listed; more are selected by reference, as they stand when the draft freezes its devices. Errors are those of Create, a
// *NotFoundError for the source, or an *InvalidError where no device stands there.
func CreateRetry(tx Tx, now time.Time, t ident.Tenant, r RetryOf) (Campaign, error) {
	if len(r.States) == 0 {
		r.States = []State{Failed}
	}
	var bad InvalidError
	checkStates(&bad, "/states", r.States)
	if err := bad.err(); err != nil {
		return Campaign{}, err
	}
	src, err := tx.Campaign(t, r.Source)
	if err != nil {
		return Campaign{}, missing(err, "campaign", r.Source)
	}
	s := r.Spec
	s.Selection = Selection{}
	for _, state := range r.States {
		page, err := tx.InState(t, src.ID, state, Place{}, MaxSelected+1-len(s.Selection.Devices))
		if err != nil {
			return Campaign{}, fmt.Errorf("list %s: %w", state, err)
		}
		for _, a := range page {
			s.Selection.Devices = append(s.Selection.Devices, a.Device)
		}
	}
	switch n := len(s.Selection.Devices); {
	case n == 0:
		bad.add("/states", "no device of campaign %s is in one of %v", src.ID, r.States)
		return Campaign{}, bad.err()
	case n > MaxSelected:
		s.Selection = Selection{From: From{src.ID, r.States}}
	}
	if s.Manifest.IsZero() {
		s.Manifest = src.Manifest
	}
	if s.Description == "" {
		s.Description = clip(fmt.Sprintf("devices of %s in %v", src.ID, r.States))
	}
	if s.Policy = src.Policy; r.Policy != nil {
		s.Policy = *r.Policy
	} else {
		s.Policy.StartAt, s.Policy.EndAt, s.Policy.Membership = time.Time{}, time.Time{}, OneShot // its devices are fixed
	}
	return Create(tx, now, t, s)
}
