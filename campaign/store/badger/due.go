package badger

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// The index by due time is lazy: each word of a device gives it the whole time again, and moving its entry each time would be
// two of the three writes of a report. So an entry may stand earlier than its assignment is due, never later. Whoever takes
// it from the front of the index looks, and puts it where it belongs.

// listing is where an assignment stands from now on that stood under was: there, while that is not later than it is due, nor
// earlier than the half of the time that it has got.
func listing(was time.Time, a campaign.Assignment) time.Time {
	due := a.Due()
	if due.IsZero() || was.IsZero() || due.Before(was) || due.Sub(was) > due.Sub(a.Updated)/2 {
		return due
	}
	return was
}

func (r *reader) DueBy(t ident.Tenant, c ident.Campaign, until time.Time, limit int) ([]campaign.Assignment, error) {
	if limit <= 0 {
		return nil, r.usable()
	}
	entries, err := r.dueEntries(t, c, until, -1)
	if err != nil {
		return nil, err
	}
	as, err := r.assignments(t, c, entries, timeLen)
	if err != nil {
		return nil, err
	}
	as = slices.DeleteFunc(as, func(a campaign.Assignment) bool { return a.Due().After(until) })
	slices.SortStableFunc(as, func(a, b campaign.Assignment) int { return a.Due().Compare(b.Due()) })
	return as[:min(limit, len(as))], nil
}

// maxEarly bounds the entries that one DueBy of a Tx puts where they belong.
const maxEarly = 1024

// DueBy moves the early entries that it meets. When it has moved as many as it may, it lists what is sure to be the earliest.
func (t *tx) DueBy(tn ident.Tenant, c ident.Campaign, until time.Time, limit int) ([]campaign.Assignment, error) {
	for moved := 0; ; {
		entries, err := t.dueEntries(tn, c, until, limit)
		if err != nil {
			return nil, t.fail(err)
		}
		var as []campaign.Assignment
		early := false
		for _, e := range entries {
			k := keyOf(tn, kindAssignment).part(c.String()).last(e[timeLen:])
			a, err := t.assignment(k)
			if err == nil && a == nil {
				err = broken(campaign.ErrNotFound)
			}
			if err != nil {
				return nil, t.fail(fmt.Errorf("read assignment of %s in %s: %w", e[timeLen:], c, err))
			}
			if !a.Due().After(a.listed) {
				as = append(as, a.own())
				continue
			}
			if early = true; moved >= maxEarly {
				return as, nil
			}
			moved++
			now := listedAssignment{a.own(), a.Due()}
			t.move(dueKey(tn, *a), dueKey(tn, now))
			if err := t.putListed(k, now); err != nil {
				return nil, err
			}
		}
		if !early {
			return as, nil
		}
	}
}

// dueEntries lists the index up to a time, without its prefix: time, then device. A limit below 0 is none.
func (r *reader) dueEntries(t ident.Tenant, c ident.Campaign, until time.Time, limit int) (entries []string, err error) {
	if err := r.usable(); err != nil || limit == 0 {
		return nil, err
	}
	prefix, end := duePrefix(t, c), string(key(nil).time(until))
	err = r.src.scan(prefix, prefix, true, func(k, _ []byte) (bool, error) {
		e := string(k[len(prefix):])
		if len(e) <= timeLen {
			return false, fmt.Errorf("read index of campaign %s: %w", c, errRecord)
		}
		if e[:timeLen] > end {
			return false, nil
		}
		entries = append(entries, e)
		return len(entries) != limit, nil
	})
	return entries, err
}

// NextDue is the front of the index, which may be early.
func (r *reader) NextDue(t ident.Tenant, c ident.Campaign) (time.Time, error) {
	rest, err := r.rest(duePrefix(t, c), "", 1)
	if err != nil || len(rest) == 0 {
		return time.Time{}, err
	}
	if len(rest[0]) <= timeLen {
		return time.Time{}, fmt.Errorf("read index of campaign %s: %w", c, errRecord)
	}
	n := binary.BigEndian.Uint64([]byte(rest[0])) ^ 1<<63
	return time.Unix(0, int64(n)).UTC(), nil
}
