package campaign

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"fleetbridge/ident"
)

// starting does the next step towards active: check the manifest again, select, freeze.
func (e *engine) starting(check Checker) error {
	switch e.c.Step {
	case CheckingManifest:
		return e.checkManifest(check)
	case DeviceFetch:
		orders, selected, err := fetch(e.tx, e.t, e.c)
		if err != nil {
			return err
		}
		if selected == 0 {
			return e.c.end(e.now, Refused, "no device matches the selection")
		}
		e.c.Bounds, e.c.Cursor = bounds(e.c.Policy.Waves, orders), ident.Device{}
		e.c.at(DeviceCopy)
		return nil
	case DeviceCopy:
		done, err := enrol(&e.desk, &e.c, e.slice)
		if err != nil || !done {
			return err
		}
		e.c.Cursor, e.c.ActiveAt = ident.Device{}, e.now
		return e.c.enter(Active, Publishing)
	}
	return e.c.end(e.now, Refused, "unknown step "+string(e.c.Step)) // of a newer version's store
}

func (e *engine) checkManifest(check Checker) error {
	m, err := e.tx.Manifest(e.t, e.c.Manifest)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("read manifest: %w", err)
	}
	if err == nil {
		err = check(e.tx, m)
	}
	switch {
	case err == nil:
		e.c.at(DeviceFetch)
		return nil
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("check manifest: %w", err)
	}
	return e.c.end(e.now, Refused, "manifest check: "+err.Error())
}

// fetchPage is how many devices of the registry are read at a time.
const fetchPage = 1000

// order is a device's place in a campaign: a hash keyed by the campaign's seed, never 0. It depends on nothing else, so
// whoever knows the seed knows the order, and nobody can place a device by choosing its name.
func order(seed [16]byte, d ident.Device) uint64 {
	in := append(make([]byte, 0, len(seed)+ident.MaxLen), seed[:]...)
	sum := sha256.Sum256(append(in, d.String()...))
	return max(binary.BigEndian.Uint64(sum[:8]), 1)
}

// bounds cuts sorted orders into waves: wave i takes the orders up to bounds[i] that an earlier wave did not take. A
// percent is rounded up, so that a canary of 1 % of 50 devices is one device; the last wave takes the rest.
func bounds(waves []Wave, orders []uint64) []uint64 {
	out := make([]uint64, len(waves))
	taken := 0
	for i, w := range waves {
		n := w.Count
		if w.Percent != 0 {
			n = int(math.Ceil(float64(len(orders))*w.Percent/100 - 1e-9))
		}
		taken = min(taken+n, len(orders))
		if taken > 0 { // orders begin at 1, so a bound of 0 takes nobody
			out[i] = orders[taken-1]
		}
	}
	out[len(out)-1] = math.MaxUint64
	return out
}

// waveOf is the first wave whose bound takes the order.
func (c Campaign) waveOf(order uint64) int {
	i, _ := slices.BinarySearch(c.Bounds, order)
	return min(i, max(len(c.Bounds)-1, 0))
}

// selects says whether a registered device belongs to a campaign that lists no devices.
func (c Campaign) selects(d Device) bool {
	if len(c.Selection.Labels) == 0 {
		return c.eligible(d)
	}
	for k, v := range c.Selection.Labels {
		if have, ok := d.Labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// eligible says whether the manifest is for devices such as d. One whose class is not known is not.
func (c Campaign) eligible(d Device) bool { return d.Vendor == c.Vendor && d.Class == c.Class }

// holds says whether d was last seen with the payload installed.
func (c Campaign) holds(d Device) bool {
	img, ok := image(d.Installed, c.Component)
	return ok && img.Digest == c.Payload
}

// outdated says whether d holds an image of a later manifest: it would refuse this one, and should not be asked.
func (c Campaign) outdated(d Device) bool {
	img, ok := image(d.Installed, c.Component)
	return ok && c.Sequence != 0 && img.Sequence > c.Sequence
}

func image(list []Image, component string) (Image, bool) {
	i := slices.IndexFunc(list, func(m Image) bool { return m.Component == component })
	if i < 0 {
		return Image{}, false
	}
	return list[i], true
}

// fetch reads the whole selection: how many devices it has, and, sorted, the orders of those that are to be offered the
// manifest. The others are skipped, and a wave of skipped devices would be a canary that proves nothing.
func fetch(r Reader, t ident.Tenant, c Campaign) (orders []uint64, selected int, err error) {
	add := func(d Device) {
		selected++
		if c.whyNot(d) == "" {
			orders = append(orders, order(c.Seed, d.ID))
		}
	}
	for _, id := range c.Selection.Devices {
		d, err := r.Device(t, id)
		switch {
		case errors.Is(err, ErrNotFound):
			selected++
		case err != nil:
			return nil, 0, fmt.Errorf("read device: %w", err)
		default:
			add(d)
		}
	}
	for after, more := (ident.Device{}), len(c.Selection.Devices) == 0; more; {
		page, err := r.Devices(t, after, fetchPage)
		if err != nil {
			return nil, 0, fmt.Errorf("list devices: %w", err)
		}
		for _, d := range page {
			if c.selects(d) {
				add(d)
			}
			after = d.ID
		}
		more = len(page) == fetchPage
	}
	slices.Sort(orders)
	return orders, selected, nil
}

// enrol writes the assignments of the next devices after the cursor, at most limit of them looked at, and says whether
// it came to the end. The cursor moves in the same commit, so a crash neither skips nor doubles a device.
func enrol(k *desk, c *Campaign, limit int) (done bool, err error) {
	if len(c.Selection.Devices) > 0 {
		return enrolListed(k, c, limit)
	}
	page, err := k.tx.Devices(k.t, c.Cursor, limit)
	if err != nil {
		return false, fmt.Errorf("list devices: %w", err)
	}
	for _, d := range page {
		if c.selects(d) {
			if err := k.enrolOne(*c, d.ID, c.whyNot(d)); err != nil {
				return false, err
			}
		}
		c.Cursor = d.ID
	}
	return len(page) < limit, nil
}

func enrolListed(k *desk, c *Campaign, limit int) (done bool, err error) {
	list := c.Selection.Devices // sorted, each once
	if !c.Cursor.IsZero() {
		for len(list) > 0 && list[0].String() <= c.Cursor.String() {
			list = list[1:]
		}
	}
	for _, id := range list[:min(limit, len(list))] {
		why := ReasonNotRegistered
		d, err := k.tx.Device(k.t, id)
		switch {
		case err == nil:
			why = c.whyNot(d)
		case !errors.Is(err, ErrNotFound):
			return false, fmt.Errorf("read device: %w", err)
		}
		if err := k.enrolOne(*c, id, why); err != nil {
			return false, err
		}
		c.Cursor = id
	}
	return len(list) <= limit, nil
}

// whyNot is the reason to skip d, "" if it is to be offered.
func (c Campaign) whyNot(d Device) string {
	switch {
	case !c.eligible(d):
		return ReasonNotEligible
	case c.holds(d):
		return ReasonAlreadyInstalled
	case c.outdated(d):
		return ReasonNewerInstalled
	}
	return ""
}

// enrolOne writes one assignment: pending, or skipped for the reason given.
func (k *desk) enrolOne(c Campaign, d ident.Device, skip string) error {
	o := order(c.Seed, d)
	a := Assignment{
		Campaign: c.ID, Device: d, Manifest: c.Manifest, Component: c.Component, Payload: c.Payload, Wave: c.waveOf(o), Order: o,
		State: Pending, Updated: k.now, Path: []PathStep{{State: Pending, At: k.now}},
	}
	if skip != "" {
		from := a.State
		a, _ = a.Apply(Event{Trigger: Skip, Reason: skip}, k.now, c.Policy.Deadlines)
		k.res.Transitions = append(k.res.Transitions, Transition{c.ID, d, a.Wave, from, a.State, skip, k.now})
	}
	if err := k.tx.PutAssignment(k.t, a); err != nil {
		return fmt.Errorf("write assignment of %s: %w", d, err)
	}
	return nil
}
