package badger

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// Assignment is remembered from read to read: ApplyReport reads one, and PutAssignment then needs to know what was there.
func (t *tx) Assignment(tn ident.Tenant, c ident.Campaign, d ident.Device) (campaign.Assignment, error) {
	was, err := t.assignment(assignmentKey(tn, c, d))
	if err != nil {
		return campaign.Assignment{}, err
	}
	if was == nil {
		return campaign.Assignment{}, campaign.ErrNotFound
	}
	return was.own(), nil
}

// assignment is the record under k as it is remembered; nil if there is none.
func (t *tx) assignment(k key) (*listedAssignment, error) {
	return recalled[listedRecord](t, t.ov.memory.assignments, k)
}

// listedAssignment is an assignment and the time under which it stands in the index by due time; zero: it does not.
type listedAssignment struct {
	campaign.Assignment
	listed time.Time
}

// own is a's own copy but for the path, into which nobody writes: a new step makes a new one.
func (a *listedAssignment) own() campaign.Assignment {
	c := a.Assignment
	c.Path = slices.Clip(c.Path)
	return c
}

func (t *tx) PutAssignment(tn ident.Tenant, a campaign.Assignment) error {
	if err := t.named("assignment", tn, a.Campaign, a.Device); err != nil {
		return err
	}
	if a.Wave < 0 || a.Wave > maxWave || a.State == "" || strings.Contains(string(a.State), "\x00") {
		return t.fail(fmt.Errorf("put assignment of %s in %s: wave %d, state %q: %w", a.Device, a.Campaign, a.Wave, a.State, errRecord))
	}
	if v := a.Permit.Value; len(v) > maxLabelKey || strings.Contains(v, "\x00") {
		return t.fail(fmt.Errorf("put assignment of %s in %s: permit for a label of %d bytes, or with a NUL byte: %w", a.Device, a.Campaign, len(v), errRecord))
	}
	k := assignmentKey(tn, a.Campaign, a.Device)
	was, err := t.assignment(k)
	if err != nil {
		return t.fail(err)
	}
	if err := t.counts(tn, was, a); err != nil {
		return err
	}
	now := listedAssignment{a, a.Due()}
	if was == nil {
		t.shift(tn, a.Campaign, nil, &a)
		t.index(stateKey(tn, a), true)
		t.index(askingKey(tn, a), true)
		t.index(dueKey(tn, now), true)
	} else {
		now.listed = listing(was.listed, a)
		t.moves(tn, was, now)
	}
	return t.putListed(k, now)
}

// moves moves the index entries of an assignment that differ.
func (t *tx) moves(tn ident.Tenant, was *listedAssignment, now listedAssignment) {
	if was.Place() != now.Place() || was.State != now.State || was.Waiting != now.Waiting || was.Unpaid != now.Unpaid {
		t.shift(tn, now.Campaign, &was.Assignment, &now.Assignment)
		t.move(stateKey(tn, was.Assignment), stateKey(tn, now.Assignment))
	}
	if was.Permit != now.Permit || was.State != now.State {
		t.move(askingKey(tn, was.Assignment), askingKey(tn, now.Assignment))
	}
	if !was.listed.Equal(now.listed) {
		t.move(dueKey(tn, *was), dueKey(tn, now))
	}
}

// putListed writes the record and remembers it.
func (t *tx) putListed(k key, a listedAssignment) error {
	val := encodeAssignment(&a)
	switch {
	case t.ended:
		return t.fail(fmt.Errorf("put %q: %w", k, errEnded))
	case len(val) > maxRecord:
		return t.fail(fmt.Errorf("put %q: record of %d bytes: %w", k, len(val), ErrTooLarge))
	}
	name := t.ov.replace(k, val)
	if len(val) > maxRecallLen {
		t.ov.memory.forget(name)
		return nil
	}
	t.ov.memory.assignments.keep(name, a.asStored())
	return nil
}

// asStored is a as it is read again.
func (a listedAssignment) asStored() listedAssignment {
	for _, t := range []*time.Time{&a.listed, &a.NextOffer, &a.Deadline, &a.Updated, &a.Permit.Until, &a.Permit.Next, &a.Permit.Asked} {
		*t = stampOf(*t).time()
	}
	a.Path = stored(a.Path)
	return a
}

// stored is a path as it is read again; itself, if it was read.
func stored(path []campaign.PathStep) []campaign.PathStep {
	if len(path) == 0 {
		return nil
	}
	for i := range path {
		if at := stampOf(path[i].At).time(); path[i].At != at {
			path = slices.Clone(path)
			for j := range path[i:] {
				path[i+j].At = stampOf(path[i+j].At).time()
			}
			return path
		}
	}
	return path
}

// counts keeps the counts of a's campaign: was, if there is one, leaves its state and a enters its own.
func (t *tx) counts(tn ident.Tenant, was *listedAssignment, a campaign.Assignment) error {
	same := was != nil && was.Reason == a.Reason && was.Wave == a.Wave && was.State == a.State &&
		was.Charged == a.Charged && was.Unpaid == a.Unpaid && was.Spared() == a.Spared() && samePermit(was.Assignment, a)
	if same && was.Reports == a.Reports {
		return nil
	}
	n, err := t.tally(tn, a.Campaign)
	if err != nil {
		return t.fail(err)
	}
	c := count{of: n, reports: a.Reports}
	if was != nil {
		c.reports -= was.Reports
	}
	if !same {
		c.now = &a
		if was != nil {
			old := was.Assignment
			c.was = &old
		}
	}
	return t.count(c)
}

func (t *tx) DeleteAssignment(tn ident.Tenant, c ident.Campaign, d ident.Device) error {
	if err := t.named("assignment", tn, c, d); err != nil {
		return err
	}
	k := assignmentKey(tn, c, d)
	was, err := t.assignment(k)
	if err != nil || was == nil {
		return t.fail(err)
	}
	old := was.Assignment
	t.shift(tn, c, &old, nil)
	t.index(stateKey(tn, old), false)
	t.index(dueKey(tn, *was), false)
	t.index(askingKey(tn, old), false)
	t.ov.delete(k)
	n, err := t.tally(tn, c)
	if err != nil {
		return t.fail(err)
	}
	return t.count(count{of: n, reports: -old.Reports, was: &old})
}
