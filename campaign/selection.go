package campaign

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// starting does the next step towards active: check the manifest again, select, freeze.
func (e *engine) starting(check Checker) error {
	switch e.c.Step {
	case CheckingManifest:
		return e.checkManifest(check)
	case DeviceFetch:
		return nil // too long for a transaction: see Fetch
	case DeviceCopy:
		done, err := enrol(&e.desk, &e.c, e.slice)
		if err != nil || !done {
			return err
		}
		switch refused, err := e.reserve(); {
		case err != nil:
			return err
		case refused != "":
			return e.c.end(e.now, Refused, refused)
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
	if err == nil {
		why, err := e.crowded()
		if err != nil {
			return err
		}
		if why != "" {
			return e.c.end(e.now, Refused, why)
		}
	}
	if err == nil {
		var anchors []firmware.Anchor
		if anchors, err = Standing(e.tx, e.t, m, e.now); err == nil {
			e.c.Algs = algsOf(anchors)
		} else if !errors.Is(err, firmware.ErrUntrusted) {
			return err
		}
	}
	switch {
	case err == nil:
		e.c.SelectAt = e.now
		e.c.at(DeviceFetch)
		return nil
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("check manifest: %w", err)
	}
	return e.c.end(e.now, Refused, "manifest check: "+err.Error())
}

// order is a device's place in a campaign: a hash keyed by the campaign's seed, never 0. It depends on nothing else, so
// whoever knows the seed knows the order, and nobody can place a device by choosing its name.
func order(seed [16]byte, d ident.Device) uint64 {
	in := append(make([]byte, 0, len(seed)+ident.MaxLen), seed[:]...)
	sum := sha256.Sum256(append(in, d.String()...))
	return max(binary.BigEndian.Uint64(sum[:8]), 1)
}

// eligible says whether the manifest is for devices such as d. One whose class is not known is not.
func (c Campaign) eligible(d Device) bool { return d.Vendor == c.Vendor && d.Class == c.Class }

// holds says whether d was last seen with the payload installed.
func (c Campaign) holds(d Device) bool {
	img, ok := image(d.Installed, c.Component)
	return ok && img.Digest == c.Image
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

// enrol writes the assignments of the next devices after the cursor, at most limit of them looked at, and says whether
// it came to the end. The cursor moves in the same commit, so a crash neither skips nor doubles a device.
func enrol(k *desk, c *Campaign, limit int) (done bool, err error) {
	page, err := c.Pick(k.tx, k.t, c.Cursor, limit, true)
	if err != nil {
		return false, err
	}
	for _, p := range page.Picked {
		if err := k.enrolOne(*c, p.ID, c.waveFor(p.Device, order(c.Seed, p.ID)), c.skip(p)); err != nil {
			return false, err
		}
	}
	c.Cursor = page.Next
	return c.Cursor.IsZero(), nil
}

// skip is the reason to skip a device that was picked with its record, "" if it is to be offered the manifest.
func (c Campaign) skip(p Picked) string {
	if !p.Known {
		return ReasonNotRegistered
	}
	return c.whyNot(p.Device)
}

// whyNot is the reason to skip d, "" if it is to be offered the manifest.
func (c Campaign) whyNot(d Device) string {
	switch {
	case !c.eligible(d):
		return ReasonNotEligible
	case !c.checkable(d):
		return ReasonNoCommonAlg
	case c.holds(d):
		return ReasonAlreadyInstalled
	case c.outdated(d):
		return ReasonNewerInstalled
	}
	return ""
}

// enrolOne writes one assignment: pending, or skipped for the reason given.
func (k *desk) enrolOne(c Campaign, d ident.Device, wave int, skip string) error {
	o := order(c.Seed, d)
	a := Assignment{
		Campaign: c.ID, Device: d, Manifest: c.Manifest, Component: c.Component, Image: c.Image, Wave: wave, Order: o,
		State: Pending, Updated: k.now, Path: []PathStep{{State: Pending, At: k.now}},
	}
	if skip == "" && c.charges() {
		a = a.unpaid()
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
