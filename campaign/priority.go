package campaign

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"fleetbridge/ident"
)

// MaxPriority bounds Rollout.Priority.
const MaxPriority = 100

// precedes orders campaigns that want the same device: by priority, then by start, then by name.
func (c Campaign) precedes(o Campaign) int {
	return cmp.Or(cmp.Compare(o.Policy.Priority, c.Policy.Priority), c.Started.Compare(o.Started),
		bytes.Compare([]byte(c.ID.String()), []byte(o.ID.String())))
}

// claim is a campaign that waits for a device, and its assignment.
type claim struct {
	c Campaign
	a Assignment
}

// claims lists the campaigns that wait for a component of the device, the first to have it first.
func (k *desk) claims(h *hands, component string) ([]claim, error) {
	var out []claim
	for _, id := range h.Waiting {
		a, err := k.tx.Assignment(k.t, id, h.device)
		if errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("read assignment of %s: %w", h.device, err)
		}
		c, err := k.claimant(id)
		if errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return nil, err
		}
		if a.State == Pending && a.Waiting && a.Component == component {
			out = append(out, claim{c, a})
		}
	}
	slices.SortFunc(out, func(x, y claim) int { return x.c.precedes(y.c) })
	return out, nil
}

// claimant reads a campaign once for a whole transaction: a stop frees hundreds of slots, and a campaign may be large.
func (k *desk) claimant(id ident.Campaign) (Campaign, error) {
	if c, ok := k.claiming[id]; ok {
		return c, nil
	}
	c, err := k.tx.Campaign(k.t, id)
	if err != nil {
		return Campaign{}, fmt.Errorf("read campaign %s: %w", id, err)
	}
	k.claimed(c)
	return c, nil
}

// claimed notes how c is now.
func (k *desk) claimed(c Campaign) {
	if k.claiming == nil {
		k.claiming = map[ident.Campaign]Campaign{}
	}
	k.claiming[c.ID] = c
}

// mayOffer says whether c may offer a device of a wave at now, at counts n.
func (c Campaign) mayOffer(wave int, n Counts, now time.Time) bool {
	return c.Phase == Active && wave <= c.Open && Judge(c, n, false, now).Outcome == "" && c.room(n, now).n > 0
}

// handOver gives a component that is free now to the first campaign that waits for it and may offer at once. Those that
// can't (paused, at their cap, outside their window) do not keep it from the ones behind them.
func (k *desk) handOver(h *hands, component string) error {
	list, err := k.claims(h, component)
	if err != nil {
		return err
	}
	for _, x := range list {
		n, err := k.tx.Counts(k.t, x.c.ID)
		if err != nil {
			return fmt.Errorf("read counts: %w", err)
		}
		if !x.c.mayOffer(x.a.Wave, n, k.now) {
			continue
		}
		offered, err := k.offer(x.c, h, x.a)
		if err != nil {
			return err
		}
		if !offered {
			continue // it has no use for the device any more
		}
		was := x.c.Pace
		if x.c.spend(n.Of(Confirmed), k.now); x.c.Pace == was {
			return nil
		}
		if err := k.tx.PutCampaign(k.t, x.c); err != nil {
			return fmt.Errorf("write campaign: %w", err)
		}
		k.claimed(x.c)
		return nil
	}
	return nil
}

// offer puts the manifest of c on one device's topic, unless that turns out to be wrong or must wait. It looks at the
// device again: enrolment may be long ago. It writes the assignment, not h.
func (k *desk) offer(c Campaign, h *hands, a Assignment) (offered bool, err error) {
	ev := Event{Trigger: Offering}
	dev, err := k.tx.Device(k.t, a.Device)
	switch {
	case errors.Is(err, ErrNotFound):
		ev = Event{Trigger: Deregister, Reason: ReasonNotRegistered}
	case err != nil:
		return false, fmt.Errorf("read device: %w", err)
	case a.Offers > 0 && c.holds(dev):
		ev = Event{Trigger: Proven} // it was silent while it did what we had asked
	case c.whyNot(dev) != "":
		ev = Event{Trigger: Skip, Reason: c.whyNot(dev)}
	case c.Poisons(h.Work):
		ev = Event{Trigger: Skip, Reason: ReasonPoisoned}
	case h.busy(a.Component) && h.queue(a.Campaign):
		a.Waiting = true
		if err := k.tx.PutAssignment(k.t, a); err != nil {
			return false, fmt.Errorf("write assignment of %s: %w", a.Device, err)
		}
		return false, nil
	case h.busy(a.Component):
		ev = Event{Trigger: Skip, Reason: ReasonTooManyWaiting}
	default:
		if a, err = k.floor(h, a); err != nil {
			return false, err
		}
	}
	if a, err = k.move(h, a, ev, c.Policy.Deadlines); err != nil {
		return false, err
	}
	return a.State == Offered, nil
}
