package campaign

import (
	"errors"
	"fmt"
	"maps"

	"fleetbridge/ident"
)

// checkPage is how many records a check reads at a time, maxFaults how many faults it tells.
const (
	checkPage = 1000
	maxFaults = 50
)

// faults are what a check found, at most maxFaults of them.
type faults []string

func (f *faults) add(format string, args ...any) {
	if len(*f) < maxFaults {
		*f = append(*f, fmt.Sprintf(format, args...))
	}
}

// CheckCampaign compares what the store counts and indexes of a campaign with a scan of its assignments, and says how
// many those are. Faults are for people; none means that everything adds up.
func CheckCampaign(r Reader, t ident.Tenant, id ident.Campaign) (n int, found []string, err error) {
	var bad faults
	var scan Counts
	listed := map[State]int{}
	for after, more := (ident.Device{}), true; more; {
		page, err := r.Assignments(t, id, after, checkPage)
		if err != nil {
			return n, nil, fmt.Errorf("list assignments: %w", err)
		}
		for _, a := range page {
			scan.Add(a.Wave, a.State, 1)
			scan.Reports += a.Reports
			scan.Charge(false, a.Charged)
			scan.Permit(a, 1)
			scan.AddMarks(a, 1)
			if !a.Waiting && !a.Unpaid {
				listed[a.State]++
			}
			after = a.Device
		}
		n += len(page)
		more = len(page) == checkPage
	}
	counts, err := r.Counts(t, id)
	if err != nil {
		return n, nil, fmt.Errorf("read counts: %w", err)
	}
	for w := range max(len(scan.Waves), len(counts.Waves)) {
		for _, s := range States {
			if have, want := counts.InWave(w, s), scan.InWave(w, s); have != want {
				bad.add("campaign %s, wave %d: %d counted as %s, %d are", id, w+1, have, s, want)
			}
		}
	}
	if counts.Reports != scan.Reports {
		bad.add("campaign %s: %d reports counted, %d recorded", id, counts.Reports, scan.Reports)
	}
	if counts.Charged != scan.Charged {
		bad.add("campaign %s: %d counted as charged, %d are", id, counts.Charged, scan.Charged)
	}
	if !maps.Equal(counts.Holding, scan.Holding) || !maps.Equal(counts.Asking, scan.Asking) {
		bad.add("campaign %s: permits counted as held %v, waited for %v; %v and %v are", id, counts.Holding, counts.Asking, scan.Holding, scan.Asking)
	}
	if counts.Unpaid != scan.Unpaid || counts.Spared != scan.Spared {
		bad.add("campaign %s: %d unpaid and %d spared counted, %d and %d are", id, counts.Unpaid, counts.Spared, scan.Unpaid, scan.Spared)
	}
	index, err := r.StateIndex(t, id)
	if err != nil {
		return n, nil, fmt.Errorf("read index by state: %w", err)
	}
	for _, s := range States {
		if have, want := index.Entries[s], listed[s]; have != want {
			bad.add("campaign %s: %d in the index as %s, %d are", id, have, s, want)
		}
		if have, want := index.Kept[s], listed[s]; index.Kept != nil && have != want {
			bad.add("campaign %s: %d in memory as %s, %d are", id, have, s, want)
		}
	}
	return n, bad, nil
}

// CheckSlots proves for at most limit devices after the given one that whatever their manifest topics show belongs to a
// live assignment of a running campaign. next is where to go on; zero: that was all.
func CheckSlots(r Reader, t ident.Tenant, after ident.Device, limit int) (n int, found []string, next ident.Device, err error) {
	page, err := r.Works(t, after, limit)
	if err != nil {
		return 0, nil, next, fmt.Errorf("list work: %w", err)
	}
	var bad faults
	for _, w := range page {
		for _, l := range w.Work.Live {
			if err := checkSlot(r, t, w.Device, l, &bad); err != nil {
				return 0, nil, next, err
			}
		}
	}
	if len(page) == limit {
		next = page[len(page)-1].Device
	}
	return len(page), bad, next, nil
}

func checkSlot(r Reader, t ident.Tenant, d ident.Device, l Live, bad *faults) error {
	a, err := r.Assignment(t, l.Campaign, d)
	switch {
	case errors.Is(err, ErrNotFound):
		bad.add("device %s: shows a manifest of campaign %s, in which it has no part", d, l.Campaign)
		return nil
	case err != nil:
		return fmt.Errorf("read assignment of %s: %w", d, err)
	case !a.State.Live() || a.slot() != l:
		bad.add("device %s: shows a manifest of campaign %s, in which it is %s", d, l.Campaign, a.State)
		return nil
	}
	c, err := r.Campaign(t, l.Campaign)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("read campaign %s: %w", l.Campaign, err)
	}
	if err != nil || !c.Phase.Running() {
		bad.add("device %s: shows a manifest of campaign %s, which does not run", d, l.Campaign)
	}
	return nil
}
