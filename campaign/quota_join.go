package campaign

import (
	"fmt"

	"fleetbridge/ident"
)

// ReasonQuota is why an Unpaid assignment is pending.
const ReasonQuota = "quota"

// metered says whether c's devices use up updates of the quota. A campaign of before Metered was kept has Reserved only.
func (c Campaign) metered() bool { return c.Metered || c.Reserved > 0 }

// charges says whether a device that joins c now needs an update that nobody has reserved yet. Those that are there when c
// becomes active are reserved for together.
func (c Campaign) charges() bool { return c.metered() && c.running() }

// unpaid is a, waiting for an update of the quota.
func (a Assignment) unpaid() Assignment {
	a.Unpaid, a.Reason = true, ReasonQuota
	return a
}

// admit reserves an update for each device that joined and has none, as far as there are any left, in one entry of the
// ledger. Those beyond it wait in their order, and whoever makes room has the campaign look again (waiting).
func (e *engine) admit(n Counts) error {
	if n.Unpaid == 0 {
		return nil
	}
	q, err := e.tx.Quota(e.t)
	if err != nil {
		return fmt.Errorf("read quota: %w", err)
	}
	room := int64(e.slice)
	if q.Counted {
		room = min(room, q.Free)
	}
	if room <= 0 {
		return nil
	}
	list, err := e.tx.Unpaid(e.t, e.c.ID, int(room))
	if err != nil {
		return fmt.Errorf("list unpaid: %w", err)
	}
	for _, a := range list {
		a.Unpaid, a.Reason = false, ""
		if err := e.tx.PutAssignment(e.t, a); err != nil {
			return fmt.Errorf("write assignment of %s: %w", a.Device, err)
		}
	}
	e.again = e.again || len(list) > 0
	if !q.Counted || len(list) == 0 {
		return nil
	}
	return e.take(q, uint64(len(list)))
}

// take reserves need updates for e's campaign.
func (e *engine) take(q Quota, need uint64) error {
	q.Free -= int64(need)
	q.Reserved += need
	e.c.Reserved += need
	if err := q.append(e.tx, e.t, LedgerEntry{At: e.now, Kind: LedgerReserve, Amount: int64(need), Campaign: e.c.ID}); err != nil {
		return err
	}
	return e.putQuota(q)
}

// waiting lists the campaigns that have devices which wait for an update, if there is one now: only continuous campaigns
// have any, of which few run.
func (q Quota) waiting(r Reader, t ident.Tenant) (out []ident.Campaign, err error) {
	if q.Counted && q.Free <= 0 {
		return nil, nil
	}
	list, err := r.Continuous(t)
	if err != nil {
		return nil, fmt.Errorf("list continuous campaigns: %w", err)
	}
	for _, id := range list {
		n, err := r.Counts(t, id)
		if err != nil {
			return nil, fmt.Errorf("read counts: %w", err)
		}
		if n.Unpaid > 0 {
			out = append(out, id)
		}
	}
	return out, nil
}
