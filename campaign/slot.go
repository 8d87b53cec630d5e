package campaign

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"fleetbridge/ident"
)

// desk is one transaction's work on assignments. Every move of an assignment goes through it, so that the record, the
// device's slot, the campaigns that wait for it and the Result change together or not at all.
type desk struct {
	tx      Tx
	t       ident.Tenant
	now     time.Time
	res     Result
	listens func(ident.Device) bool // see Outside
	// mending keeps slots that are freed from being given away: a sweep has no clock.
	mending  bool
	claiming map[ident.Campaign]Campaign // those that waited for a slot of this transaction, as they are now
}

// hands is a device's Work under change.
type hands struct {
	device ident.Device
	Work
	changed bool
}

// reaches says whether a message on the device's manifest topic may reach anybody now.
func (k *desk) reaches(d ident.Device) bool { return k.listens == nil || k.listens(d) }

func (k *desk) hands(d ident.Device) (*hands, error) {
	w, err := k.tx.Work(k.t, d)
	if err != nil {
		return nil, fmt.Errorf("read work of %s: %w", d, err)
	}
	return &hands{device: d, Work: w}, nil
}

// put writes h back if it changed.
func (k *desk) put(h *hands) error {
	if !h.changed {
		return nil
	}
	w := h.Work
	if len(w.Live)+len(w.Waiting)+len(w.Recent)+len(w.Failures) == 0 {
		w = Work{}
	}
	if err := k.tx.PutWork(k.t, h.device, w); err != nil {
		return fmt.Errorf("write work of %s: %w", h.device, err)
	}
	h.changed = false
	return nil
}

// move applies e to a and keeps what hangs on it. It writes the assignment, not h.
func (k *desk) move(h *hands, a Assignment, e Event, deadlines map[State]time.Duration) (Assignment, error) {
	next, moved := a.Apply(e, k.now, deadlines)
	if e.Trigger == Offering && next.State == Offered && !k.reaches(a.Device) {
		// It is told when it subscribes, and says hello then: nothing is lost by not repeating it soon.
		next.NextOffer = next.nextOffer(maxBackOff, k.now)
	}
	if err := k.tx.PutAssignment(k.t, next); err != nil {
		return a, fmt.Errorf("write assignment of %s: %w", a.Device, err)
	}
	if !moved {
		if next.Due().Before(a.Due()) {
			k.touched(a.Campaign) // the clock was set back: its engine would look too late
		}
		return next, nil
	}
	if a.Waiting && !next.Waiting {
		h.unqueue(a.Campaign)
	}
	k.res.Transitions = append(k.res.Transitions, Transition{
		Campaign: a.Campaign, Device: a.Device, Wave: a.Wave, From: a.State, To: next.State, Reason: next.Reason, At: k.now,
	})
	k.touched(a.Campaign)
	switch next.State {
	case Failed, Retrying:
		h.failed(a.Image, next.Reason, k.now)
	case Confirmed:
		h.forgive(a.Image)
	}
	switch {
	case !a.State.Live() && next.State.Live():
		h.take(next.slot())
		k.show(h)
	case a.State.Live() && !next.State.Live():
		return next, k.release(h, a.slot())
	}
	return next, nil
}

func (k *desk) touched(c ident.Campaign) {
	if !slices.Contains(k.res.Campaigns, c) {
		k.res.Campaigns = append(k.res.Campaigns, c)
	}
}

// show says what the device's manifest topic holds now, in place of what the same transaction came upon before.
func (k *desk) show(h *hands) {
	k.res.Offers = slices.DeleteFunc(k.res.Offers, func(o Offer) bool { return o.Device == h.device })
	k.res.Clears = slices.DeleteFunc(k.res.Clears, func(c Clear) bool { return c.Device == h.device })
	if l, ok := h.Shown(); ok {
		k.res.Offers = append(k.res.Offers, Offer{h.device, l.Manifest, l.Campaign})
	} else {
		k.res.Clears = append(k.res.Clears, Clear{h.device})
	}
}

// release frees a slot, and gives it to the first campaign that waits for its component and may offer now. If there is
// none it wakes them all, and the first that may takes it: waking only one would strand the rest behind a campaign that
// is paused or at its cap.
func (k *desk) release(h *hands, l Live) error {
	before, _ := h.Shown()
	h.drop(l)
	if after, _ := h.Shown(); after != before {
		k.show(h)
	}
	if !k.mending {
		if err := k.handOver(h, l.Component); err != nil {
			return err
		}
	}
	for _, id := range slices.Clone(h.Waiting) {
		a, err := k.tx.Assignment(k.t, id, h.device)
		switch {
		case errors.Is(err, ErrNotFound):
			h.unqueue(id)
			continue
		case err != nil:
			return fmt.Errorf("read assignment of %s: %w", h.device, err)
		case a.State == Pending && a.Waiting && h.busy(a.Component):
			continue
		}
		h.unqueue(id)
		if a.State != Pending || !a.Waiting {
			continue
		}
		a.Waiting = false
		if err := k.tx.PutAssignment(k.t, a); err != nil {
			return fmt.Errorf("write assignment of %s: %w", h.device, err)
		}
		k.touched(id)
	}
	return nil
}

// floor keeps late reports of an earlier campaign with the same manifest out of this one: whatever that one has seen is
// old here too.
func (k *desk) floor(h *hands, a Assignment) (Assignment, error) {
	for _, l := range h.Recent {
		if l.Manifest != a.Manifest || l.Campaign == a.Campaign {
			continue
		}
		was, err := k.tx.Assignment(k.t, l.Campaign, a.Device)
		if errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return a, fmt.Errorf("read assignment of %s: %w", a.Device, err)
		}
		a.Seq = max(a.Seq, was.Seq)
	}
	return a, nil
}

// slot is what a holds while it is live.
func (a Assignment) slot() Live { return Live{a.Component, a.Manifest, a.Campaign} }

// Shown is what the device's manifest topic holds: the live manifest that was published last. A device with several
// live components sees them in turn, because an unanswered offer that is repeated becomes the last.
func (w Work) Shown() (Live, bool) {
	if len(w.Live) == 0 {
		return Live{}, false
	}
	return w.Live[len(w.Live)-1], true
}

// busy says whether a live manifest holds the component.
func (w Work) busy(component string) bool {
	return slices.ContainsFunc(w.Live, func(l Live) bool { return l.Component == component })
}

// byManifest finds the assignment that a report is about: a live one before an ended one, the newest first.
func (w Work) byManifest(m ident.Digest) (Live, bool) {
	for _, list := range [][]Live{w.Live, w.Recent} {
		if i := slices.IndexFunc(list, func(l Live) bool { return l.Manifest == m }); i >= 0 {
			return list[i], true
		}
	}
	return Live{}, false
}

// take makes l the device's newest live manifest; again, it becomes the one that is shown.
func (h *hands) take(l Live) {
	if last, ok := h.Shown(); ok && last == l {
		return
	}
	h.changed = true
	h.Live = append(without(h.Live, l), l)
	h.Recent = append([]Live{l}, without(h.Recent, l)...)
	for i := len(h.Recent) - 1; i > 0 && len(h.Recent) > MaxRecent; i-- {
		if !slices.Contains(h.Live, h.Recent[i]) {
			h.Recent = slices.Delete(h.Recent, i, i+1)
		}
	}
}

func (h *hands) drop(l Live) {
	h.Live = without(h.Live, l)
	h.changed = true
}

// queue makes campaign c wait for the device; false when too many do.
func (h *hands) queue(c ident.Campaign) bool {
	if slices.Contains(h.Waiting, c) {
		return true
	}
	if len(h.Waiting) >= MaxWaiting {
		return false
	}
	h.Waiting = append(slices.Clip(h.Waiting), c)
	h.changed = true
	return true
}

func (h *hands) unqueue(c ident.Campaign) {
	if i := slices.Index(h.Waiting, c); i >= 0 {
		h.Waiting = slices.Delete(slices.Clone(h.Waiting), i, i+1)
		h.changed = true
	}
}

// without returns a copy of list that has no l.
func without(list []Live, l Live) []Live {
	return slices.DeleteFunc(slices.Clone(list), func(x Live) bool { return x == l })
}

// Sweep proves for a page of devices that whatever their manifest topics show belongs to a live assignment of a running
// campaign, and mends what does not: the entry goes, and so does an assignment that its campaign left behind. fixed are
// the topics that are empty now; next is where the following page starts after, zero at the end. A healthy store gives
// no fixed ones.
func Sweep(tx Tx, t ident.Tenant, after ident.Device, limit int) (fixed []Clear, next ident.Device, err error) {
	page, err := tx.Works(t, after, limit)
	if err != nil {
		return nil, ident.Device{}, fmt.Errorf("list work: %w", err)
	}
	k := &desk{tx: tx, t: t, mending: true}
	for _, w := range page {
		h := &hands{device: w.Device, Work: w.Work}
		for _, l := range w.Work.Live {
			if err := k.mend(h, l); err != nil {
				return nil, ident.Device{}, err
			}
		}
		if err := k.put(h); err != nil {
			return nil, ident.Device{}, err
		}
	}
	if len(page) > 0 && len(page) == limit {
		next = page[len(page)-1].Device
	}
	return k.res.Clears, next, nil
}

// SweepNeeded says whether Sweep would mend anything of a page, which it finds out in a View; next is as that of Sweep. So a
// start looks at a large fleet beside everything else.
func SweepNeeded(r Reader, t ident.Tenant, after ident.Device, limit int) (needed bool, next ident.Device, err error) {
	page, err := r.Works(t, after, limit)
	if err != nil {
		return false, ident.Device{}, fmt.Errorf("list work: %w", err)
	}
	read := map[ident.Campaign]Campaign{} // a campaign may be large, and holds most of a page
	campaigns := func(id ident.Campaign) (Campaign, error) {
		c, ok := read[id]
		if ok {
			return c, nil
		}
		c, err := r.Campaign(t, id)
		if err == nil {
			read[id] = c
		}
		return c, err
	}
	for _, w := range page {
		for _, l := range w.Work.Live {
			o, err := ownerOf(r, t, w.Device, l, campaigns)
			if err != nil {
				return false, ident.Device{}, err
			}
			needed = needed || !o.holds || !o.runs
		}
	}
	if len(page) > 0 && len(page) == limit {
		next = page[len(page)-1].Device
	}
	return needed, next, nil
}

// owner is what stands behind an entry of a device's live manifests.
type owner struct {
	a     Assignment
	c     Campaign // the zero value if it is gone
	holds bool     // a is live, and the entry is its
	runs  bool     // so does c
}

func ownerOf(r Reader, t ident.Tenant, d ident.Device, l Live, campaigns func(ident.Campaign) (Campaign, error)) (o owner, err error) {
	o.a, err = r.Assignment(t, l.Campaign, d)
	if errors.Is(err, ErrNotFound) {
		return o, nil
	}
	if err != nil {
		return o, fmt.Errorf("read assignment of %s: %w", d, err)
	}
	if o.holds = o.a.State.Live() && o.a.slot() == l; !o.holds {
		return o, nil
	}
	o.c, err = campaigns(l.Campaign)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return o, fmt.Errorf("read campaign: %w", err)
	}
	o.runs = err == nil && o.c.Phase.Running()
	return o, nil
}

// mend removes l unless it is right.
func (k *desk) mend(h *hands, l Live) error {
	o, err := ownerOf(k.tx, k.t, h.device, l, func(id ident.Campaign) (Campaign, error) { return k.tx.Campaign(k.t, id) })
	switch {
	case err != nil || o.runs:
		return err
	case !o.holds:
		return k.release(h, l)
	}
	// Sweep has no clock of its own: what it mends ended when it was last touched.
	k.now = o.a.Updated
	_, err = k.move(h, o.a, Event{Trigger: Withdraw, Reason: string(o.c.Outcome)}, nil)
	return err
}
