package campaign

import (
	"fmt"
	"time"

	"fleetbridge/ident"
)

// Archive puts a stopped campaign away. Everything of it stays readable. Other phases give ErrPhase, another revision
// than ifRevision (if not 0) ErrConflict.
func Archive(tx Tx, now time.Time, t ident.Tenant, id ident.Campaign, ifRevision uint64, by string) (Campaign, Result, error) {
	return command(tx, t, id, ifRevision, func(c *Campaign) error { return c.archive(now, by) })
}

func (c *Campaign) archive(now time.Time, by string) error {
	c.ArchivedAt, c.ArchivedBy = now, by
	return c.enter(Archived, c.Step)
}

// Delete takes a campaign that is a draft, stopped or archived out of the store, its assignments with it: the engine does
// it in slices, and until it is done the campaign is there as deleting. Other phases give ErrPhase, another revision than
// ifRevision (if not 0) ErrConflict. What it did stays in the audit log.
func Delete(tx Tx, t ident.Tenant, id ident.Campaign, ifRevision uint64) (Campaign, Result, error) {
	return command(tx, t, id, ifRevision, func(c *Campaign) error { return c.delete() })
}

func (c *Campaign) delete() error {
	c.Cursor = ident.Device{}
	return c.enter(Deleting, "")
}

// deleting deletes the next assignments, and the campaign after the last. A device forgets that it had a part in it, so
// that a late report is not taken for one about another campaign of the same name.
func (e *engine) deleting() (Result, Wake, error) {
	page, err := e.tx.Assignments(e.t, e.c.ID, ident.Device{}, e.slice)
	if err != nil {
		return Result{}, Wake{}, fmt.Errorf("list assignments: %w", err)
	}
	for _, a := range page {
		h, err := e.hands(a.Device)
		if err != nil {
			return Result{}, Wake{}, err
		}
		if a.State.Live() { // a stop that gave up may have left it
			if err := e.release(h, a.slot()); err != nil {
				return Result{}, Wake{}, err
			}
		}
		h.unqueue(e.c.ID)
		h.forget(a.slot())
		if err := e.put(h); err != nil {
			return Result{}, Wake{}, err
		}
		if err := e.tx.DeleteAssignment(e.t, e.c.ID, a.Device); err != nil {
			return Result{}, Wake{}, fmt.Errorf("delete assignment of %s: %w", a.Device, err)
		}
	}
	e.touched(e.c.ID)
	if len(page) == e.slice {
		return e.res, Wake{Again: true}, nil
	}
	if err := e.tx.DeleteCampaign(e.t, e.c.ID); err != nil {
		return Result{}, Wake{}, fmt.Errorf("delete campaign: %w", err)
	}
	_, err = Record(e.tx, e.t, e.c.decided(e.now, "deleted", "", e.c.Revision))
	return e.res, Wake{}, err
}

// forget takes l out of the device's latest assignments.
func (h *hands) forget(l Live) {
	if rest := without(h.Recent, l); len(rest) != len(h.Recent) {
		h.Recent, h.changed = rest, true
	}
}

// decided is the audit entry of what the server did with c by itself.
func (c Campaign) decided(now time.Time, what, outcome string, before uint64) AuditEntry {
	return AuditEntry{At: now, Command: "engine/" + what, Object: "campaign/" + c.ID.String(), Campaign: c.ID,
		Before: before, After: c.Revision, Outcome: outcome}
}

// Retention says how long stopped campaigns are kept, counted from their end; 0: for ever.
type Retention struct {
	ArchiveAfter time.Duration
	DeleteAfter  time.Duration
}

// Retain archives, and begins to delete, at most limit campaigns each whose time has come, and says whether there may be
// more. It finds them by when they ended, and looks at no others.
func Retain(tx Tx, now time.Time, t ident.Tenant, keep Retention, limit int) (Result, bool, error) {
	k := &desk{tx: tx, t: t, now: now}
	more := false
	for _, rule := range []struct {
		after  time.Duration
		phase  Phase
		what   string
		change func(*Campaign) error
	}{
		{keep.DeleteAfter, Stopped, "deleting", (*Campaign).delete},
		{keep.DeleteAfter, Archived, "deleting", (*Campaign).delete},
		{keep.ArchiveAfter, Stopped, "archived", func(c *Campaign) error { return c.archive(now, "") }},
	} {
		if rule.after <= 0 {
			continue
		}
		list, err := tx.Ended(t, rule.phase, now.Add(-rule.after), limit)
		if err != nil {
			return Result{}, false, fmt.Errorf("list ended campaigns: %w", err)
		}
		more = more || len(list) == limit
		for _, c := range list {
			before := c.Revision
			if err := rule.change(&c); err != nil {
				return Result{}, false, err
			}
			if err := tx.PutCampaign(t, c); err != nil {
				return Result{}, false, fmt.Errorf("write campaign: %w", err)
			}
			if _, err := Record(tx, t, c.decided(now, rule.what, fmt.Sprintf("%s after its end", rule.after), before)); err != nil {
				return Result{}, false, err
			}
			k.touched(c.ID)
		}
	}
	return k.res, more, nil
}
