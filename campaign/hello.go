package campaign

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"fleetbridge/ident"
)

// maxReturns is how often a hello alone brings a silent device back into its campaign. A device that connects and never
// answers an offer would otherwise hold its wave open until the campaign expires. Its own word always brings it back.
const maxReturns = 3

// Hello is what a device says of itself after each connect. What it leaves out keeps its last known value.
type Hello struct {
	Seq       uint64
	Vendor    uuid.UUID
	Class     uuid.UUID
	Installed []Image
	Boot      uint64
	MaxChunk  uint32
	Algs      []int64
	Facts     map[string]string
}

// ApplyHello records what device d says of itself, registering it if need be, and what that means for its assignments:
// proof, a roll-back, a silent device that is back. Verdict Duplicate or Stale: only LastSeen changed. NoRoom: the device is
// not registered, and not going to be within the tenant's quota; that it came is kept, see TurnedAway.
func ApplyHello(tx Tx, now time.Time, t ident.Tenant, d ident.Device, h Hello) (Result, error) {
	k := &desk{tx: tx, t: t, now: now}
	old, err := tx.Device(t, d)
	if errors.Is(err, ErrNotFound) {
		old = Device{ID: d, Created: now}
		if err = enlist(tx, t, d); errors.Is(err, ErrQuota) {
			return Result{Verdict: NoRoom}, turnAway(tx, now, t, d)
		}
	}
	if err != nil {
		return Result{}, fmt.Errorf("read device: %w", err)
	}
	dev := old
	dev.LastSeen = now
	switch {
	case h.Seq > old.HelloSeq:
		dev = dev.after(h)
		k.res.Verdict = Recorded
	case h.Seq == old.HelloSeq:
		k.res.Verdict = Duplicate
	default:
		k.res.Verdict = Stale
	}
	if err := tx.PutDevice(t, dev); err != nil {
		return Result{}, fmt.Errorf("write device: %w", err)
	}
	if k.res.Verdict != Recorded {
		return k.res, nil
	}
	w, err := k.hands(d)
	if err != nil {
		return Result{}, err
	}
	if err := k.greet(w, old, h); err != nil {
		return Result{}, err
	}
	if err := k.put(w); err != nil {
		return Result{}, err
	}
	if err := k.join(dev); err != nil {
		return Result{}, err
	}
	return k.res, nil
}

// after is d with the facts of h.
func (d Device) after(h Hello) Device {
	d.HelloSeq = h.Seq
	if h.Vendor != uuid.Nil {
		d.Vendor = h.Vendor
	}
	if h.Class != uuid.Nil {
		d.Class = h.Class
	}
	if len(h.Installed) > 0 {
		d.Installed = slices.Clone(h.Installed)
	}
	if h.Boot != 0 {
		d.Boot = h.Boot
	}
	if h.MaxChunk != 0 {
		d.MaxChunk = h.MaxChunk
	}
	if len(h.Algs) > 0 {
		d.Algs = slices.Clone(h.Algs)
	}
	if len(h.Facts) > 0 {
		d.Facts = maps.Clone(h.Facts)
	}
	return d
}

// greet weighs a new hello against the device's latest assignments, the newest first. Per component, an assignment that
// the device had reached hides the older ones: it was theirs to be replaced.
func (k *desk) greet(w *hands, old Device, h Hello) error {
	reached := map[string]bool{}
	for _, l := range slices.Clone(w.Recent) {
		c, a, err := k.assignment(l.Campaign, w.device)
		if errors.Is(err, ErrNotFound) {
			continue
		} else if err != nil {
			return err
		}
		if reached[l.Component] {
			continue
		}
		img, known := image(h.Installed, l.Component)
		known = known && h.Seq > a.Seq // a report may have overtaken this hello
		reached[l.Component] = a.State == Confirmed || a.State == Reverted || known && img.Digest == a.Image
		if err := k.greetOne(w, c, a, old, h, img, known); err != nil {
			return err
		}
	}
	return nil
}

func (k *desk) greetOne(w *hands, c Campaign, a Assignment, old Device, h Hello, img Image, known bool) error {
	e := Event{}
	switch was, saw := image(old.Installed, a.Component); {
	case known && img.Digest == a.Image:
		e = Event{Trigger: HeldBefore, Reason: ReasonAlreadyInstalled}
		if a.State != Offered || saw && was.Digest != a.Image {
			e = Event{Trigger: Proven, Reason: provenReason(a)}
		}
	case known && a.State == Rebooting && a.Boot != 0 && h.Boot > a.Boot:
		e = Event{Trigger: RolledBack, Reason: ReasonRolledBack, Boot: h.Boot}
	case known && a.State == Confirmed:
		e = Event{Trigger: Changed, Reason: ReasonImageChanged}
	case a.State == Silent && c.running() && returns(a) < maxReturns:
		e = Event{Trigger: Returned}
	case a.State == Downloaded && a.Permit.State == PermitGranted && a.Permit.Until.After(k.now):
		k.tell(a, PermitGranted, a.Permit.Until) // it may have missed the word
	case a.State == Offered:
		// The device is here and gets the manifest as it subscribes; ask again soon if it does not answer.
		due := a.Due()
		if a.NextOffer = a.nextOffer(1, k.now); a.Due().Before(due) {
			k.touched(a.Campaign) // its engine would look too late
		}
		if err := k.tx.PutAssignment(k.t, a); err != nil {
			return fmt.Errorf("write assignment of %s: %w", a.Device, err)
		}
	}
	if _, ok := Next(a.State, e.Trigger); !ok {
		return nil
	}
	_, err := k.move(w, a, e.orAgain(c, w, a), c.Policy.Deadlines)
	return err
}

// returns counts how often a fell silent, as far as its path tells.
func returns(a Assignment) int {
	n := 0
	for _, s := range a.Path {
		if s.State == Silent {
			n++
		}
	}
	return n
}
