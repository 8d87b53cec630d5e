package campaign

import (
	"fmt"
	"time"

	"fleetbridge/ident"
)

// fetchPage is how many entries of the registry are looked at at a time.
const fetchPage = 1000

// Fetched is what Fetch found.
type Fetched struct {
	revision    uint64 // of the campaign as it was read
	selected    int
	laid        laid
	refuse      string // why the waves can't be laid out
	unjudged    uint64
	unjudgeable string
}

// Fetch reads the whole selection of a campaign whose step is DeviceFetch, which may take seconds and belongs into a
// View, and keeps 8 bytes per device. Only devices that are to be offered the manifest make waves: the others are
// skipped, and a wave of skipped devices would be a canary that proves nothing. Freeze commits what it found. The error is a *NotFoundError for a campaign that is
// gone.
func Fetch(r Reader, t ident.Tenant, id ident.Campaign) (Fetched, error) {
	c, err := r.Campaign(t, id)
	if err != nil {
		return Fetched{}, missing(err, "campaign", id)
	}
	f := Fetched{revision: c.Revision}
	if c.Phase != Starting || c.Step != DeviceFetch {
		return f, nil // Freeze will see the same
	}
	l, err := newLayout(c)
	if err != nil {
		return Fetched{}, err
	}
	f.unjudged, f.unjudgeable, err = c.visit(r, t, func(page []Picked) error {
		f.selected += len(page)
		for _, p := range page {
			if c.skip(p) == "" {
				l.add(p.Device)
			}
		}
		return nil
	})
	if err != nil {
		return Fetched{}, fmt.Errorf("fetch devices of campaign %s: %w", id, err)
	}
	if f.laid, err = l.done(); err != nil {
		f.refuse = err.Error()
	}
	return f, nil
}

// visit calls see with the devices that c selects, page by page, by identifier. It counts those that the filter failed on,
// and says why on the first.
func (c Campaign) visit(r Reader, t ident.Tenant, see func([]Picked) error) (unjudged uint64, unjudgeable string, err error) {
	for after := (ident.Device{}); ; {
		page, err := c.Pick(r, t, after, fetchPage, true)
		if err == nil {
			err = see(page.Picked)
		}
		if err != nil {
			return 0, "", err
		}
		if unjudged == 0 {
			unjudgeable = page.Unjudgeable
		}
		unjudged += page.Unjudged
		if after = page.Next; after.IsZero() {
			return unjudged, unjudgeable, nil
		}
	}
}

// Freeze fixes the waves of a campaign by what Fetch found. If the campaign has moved since, it changes nothing, and the
// Wake says what to do now. Errors are those of Advance.
func Freeze(tx Tx, now time.Time, t ident.Tenant, id ident.Campaign, f Fetched) (Result, Wake, error) {
	c, err := tx.Campaign(t, id)
	if err != nil {
		return Result{}, Wake{}, missing(err, "campaign", id)
	}
	e := &engine{desk: desk{tx: tx, t: t, now: now}, c: c}
	if c.Revision != f.revision || c.Phase != Starting || c.Step != DeviceFetch {
		return Result{}, Wake{Again: c.Phase.Running()}, nil
	}
	e.c.Unjudged, e.c.Unjudgeable = f.unjudged, f.unjudgeable
	switch {
	case f.selected == 0 && c.Policy.Membership != Continuous:
		err = e.c.end(now, Refused, nobody(f))
	case f.refuse != "":
		err = e.c.end(now, Refused, f.refuse)
	case !c.Plan.IsZero() && c.Plan != f.laid.digest:
		err = e.c.end(now, Refused, fmt.Sprintf("the plan has changed: agreed on %s, now %s", c.Plan, f.laid.digest))
	default:
		e.c.Bounds, e.c.First, e.c.Cursor = f.laid.bounds, f.laid.first, ident.Device{}
		e.c.at(DeviceCopy)
	}
	if err != nil {
		return Result{}, Wake{}, fmt.Errorf("freeze campaign %s: %w", id, err)
	}
	return e.close(c)
}

// nobody says why nobody is selected.
func nobody(f Fetched) string {
	if f.unjudged == 0 {
		return "no device matches the selection"
	}
	return fmt.Sprintf("no device matches the selection; the filter failed on %d, such as %s", f.unjudged, f.unjudgeable)
}
