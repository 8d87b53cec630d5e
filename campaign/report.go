package campaign

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"fleetbridge/ident"
)

// Report is a device's acknowledgement on one manifest. Seq rises strictly per device, over its hellos too, from 1.
type Report struct {
	Seq       uint64
	Manifest  ident.Digest
	State     string // the device's word; one that is no Trigger of a device is counted and changes nothing
	Reason    string
	Detail    string
	Bytes     uint64 // of the payload, stored so far
	Installed []Image
	Boot      uint64
	Permit    bool // asks to install
	JSON      bool // is written in JSON, and so is to be the answer
}

// ApplyReport records r of device d. It is idempotent by Seq: again, or older than what is recorded, it only counts.
// Verdict Unknown means that nothing was written: no assignment of the device has that manifest, or none that we still
// know (Work.Recent).
func ApplyReport(tx Tx, now time.Time, t ident.Tenant, d ident.Device, r Report) (Result, error) {
	k := &desk{tx: tx, t: t, now: now}
	h, err := k.hands(d)
	if err != nil {
		return Result{}, err
	}
	l, ok := h.byManifest(r.Manifest)
	if !ok {
		return unknown(d, r), nil
	}
	c, a, err := k.assignment(l.Campaign, d)
	if errors.Is(err, ErrNotFound) {
		return unknown(d, r), nil
	} else if err != nil {
		return Result{}, err
	}
	a.Reports++
	if r.Seq <= a.Seq {
		k.res.Verdict = Stale
		if r.Seq == a.Seq {
			k.res.Verdict = Duplicate
		}
		if r.Permit {
			k.repeat(a, r.JSON)
		}
		if err := tx.PutAssignment(t, a); err != nil {
			return Result{}, fmt.Errorf("write assignment of %s: %w", d, err)
		}
		return k.res, nil
	}
	if err := k.record(h, c, a, r); err != nil {
		return Result{}, err
	}
	if err := k.put(h); err != nil {
		return Result{}, err
	}
	k.res.Verdict = Recorded
	return k.res, nil
}

// record applies a report that is new.
func (k *desk) record(h *hands, c Campaign, a Assignment, r Report) error {
	measured, err := k.measured(a.Device, r)
	if err != nil {
		return err
	}
	e := Event{Trigger: Trigger(r.State), Seq: r.Seq, Reason: r.Reason, Detail: r.Detail, Bytes: r.Bytes, Boot: r.Boot}
	if e.Boot == 0 { // a roll-back is a boot after this one
		if e.Boot, err = k.tx.Boot(k.t, a.Device); err != nil {
			return fmt.Errorf("read device: %w", err)
		}
	}
	e = e.weigh(a, measured).orAgain(c, h, a)
	if to, ok := Next(a.State, e.Trigger); ok && to.Live() && !a.State.Live() && (!c.running() || h.busy(a.Component)) {
		e = Event{Seq: e.Seq, Bytes: e.Bytes, Boot: e.Boot} // recorded; it can't have the slot back
	}
	if c.Policy.Permit.Required && (a.Permit.State == "" || a.Permit.State == PermitWaiting) && (e.Trigger == SaysInstalling || e.Trigger == SaysRebooting) {
		e.Reason = orElse(e.Reason, ReasonNoPermit)
	}
	if a, err = k.move(h, a, e, c.Policy.Deadlines); err != nil || !r.Permit {
		return err
	}
	return k.ask(c, a, r.JSON)
}

// measured records what r says that device d holds, and returns what d is known to hold now.
func (k *desk) measured(d ident.Device, r Report) ([]Image, error) {
	if len(r.Installed) == 0 {
		return nil, nil
	}
	dev, err := k.tx.Device(k.t, d)
	if errors.Is(err, ErrNotFound) {
		return r.Installed, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read device: %w", err)
	}
	if r.Seq < dev.HelloSeq {
		// The device has said something newer of itself: what it held when it wrote this report proves nothing now.
		return merge(r.Installed, dev.Installed), nil
	}
	dev.Installed, dev.HelloSeq, dev.LastSeen = merge(dev.Installed, r.Installed), r.Seq, k.now
	if err := k.tx.PutDevice(k.t, dev); err != nil {
		return nil, fmt.Errorf("write device: %w", err)
	}
	return r.Installed, nil
}

// unknown is the answer to a report on what no assignment of the device has.
func unknown(d ident.Device, r Report) Result {
	res := Result{Verdict: Unknown}
	if r.Permit {
		res.Permits = []PermitWord{{Device: d, Manifest: r.Manifest, State: PermitRefused, JSON: r.JSON}}
	}
	return res
}

// assignment reads one assignment and its campaign. The error wraps ErrNotFound if either is gone.
func (k *desk) assignment(id ident.Campaign, d ident.Device) (Campaign, Assignment, error) {
	a, err := k.tx.Assignment(k.t, id, d)
	if err != nil {
		return Campaign{}, Assignment{}, fmt.Errorf("read assignment of %s: %w", d, err)
	}
	c, err := k.tx.Campaign(k.t, id)
	if err != nil {
		return Campaign{}, Assignment{}, fmt.Errorf("read campaign %s: %w", id, err)
	}
	return c, a, nil
}

// running says whether devices of c are being updated.
func (c Campaign) running() bool { return c.Phase == Active || c.Phase == Paused }

// weigh turns a report's word into the trigger that its evidence supports. A measured digest beats a word, except that
// a device which says that it failed is believed.
func (e Event) weigh(a Assignment, measured []Image) Event {
	img, known := image(measured, a.Component)
	final := e.Trigger == SaysFailed || e.Trigger == SaysRejected
	switch {
	case known && img.Digest != a.Image && a.State == Confirmed:
		e.Trigger, e.Reason = Changed, orElse(e.Reason, ReasonImageChanged)
	case known && img.Digest == a.Image && !final:
		e.Trigger, e.Reason = Proven, provenReason(a)
	case !isWord(e.Trigger):
		e.Trigger = ""
	case e.Trigger == SaysDeferred:
		e.Reason = orElse(e.Reason, ReasonDeferred)
	case e.Trigger == SaysInstalled:
		e.Reason = orElse(e.Reason, ReasonUnproven)
	}
	return e
}

func provenReason(a Assignment) string {
	if a.State == Withdrawn {
		return ReasonTooLateToStop
	}
	return ""
}

// isWord says whether t is a word that devices report.
func isWord(t Trigger) bool {
	_, ok := words[t]
	return ok && t != Proven
}

// merge returns base with the images of newer in place of its own, component by component.
func merge(base, newer []Image) []Image {
	out := slices.Clone(newer)
	for _, m := range base {
		if _, ok := image(newer, m.Component); !ok {
			out = append(out, m)
		}
	}
	return out[:min(len(out), MaxInstalled)]
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
