package simulator

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// update is the manifest that a device works on, as flash keeps it.
type update struct {
	manifest ident.Digest
	stage    topics.Word
	token    string // starts the tokens of its fetches
	sequence uint64
	version  string
	plan     suit.Plan
	inside   []byte // the integrated payload
	try      int    // of the plan's, the current one
	slot     *slot  // takes the payload of the try
	progress int    // progress reports made
}

// committed says that the update can't be stopped any more.
func (u *update) committed() bool {
	return u.stage == topics.WordInstalling || u.stage == topics.WordRebooting
}

// rebootGrace is how long a device waits for the PUBACK of what it reported before it reboots anyway.
const rebootGrace = 2 * time.Second

// manifest takes what is on the manifest topic: what the device should do now.
func (d *device) manifest(envelope []byte, retained bool) error {
	if len(envelope) == 0 {
		d.withdraw()
		return nil
	}
	parts, err := suit.Split(envelope)
	if err != nil { // without its digest there is nothing that a report could name
		d.fleet.config.Logger.Debug("manifest ignored", slog.String("device", d.id.Device.String()), slog.Any("err", err))
		return nil
	}
	switch u := d.flash.update; {
	case u != nil && u.manifest == parts.Digest:
		return d.offeredAgain(u, retained)
	case u != nil && u.committed():
		return nil // the topic is read again after the boot
	}
	for _, f := range d.flash.done {
		if f.manifest == parts.Digest {
			d.reportAgain(&update{manifest: f.manifest}, f.word, f.reason, f.detail)
			return d.flush()
		}
	}
	d.take(parts.Digest, envelope)
	return d.flush()
}

// withdraw drops what is not past the point of no return. A later offer of a manifest that ended here is a new one.
func (d *device) withdraw() {
	d.flash.done = nil
	if u := d.flash.update; u != nil && !u.committed() {
		d.flash.update = nil
		d.timers[timerFetch] = time.Time{}
	}
}

// offeredAgain goes on with u. A repeated offer (not the retained copy of a subscribe) means that the server knows less
// than the device told it.
func (d *device) offeredAgain(u *update, retained bool) error {
	if !retained && u.stage != topics.WordDownloaded { // who waits for a permit asks by itself
		d.reportAgain(u, u.stage, "", "")
	}
	if u.stage == topics.WordDownloading && d.fresh {
		if err := d.fetch(u); err != nil {
			return err
		}
	}
	return d.flush()
}

// reportAgain reports unless a report on the same manifest is still on its way.
func (d *device) reportAgain(u *update, word topics.Word, reason topics.Reason, detail string) {
	for _, p := range d.flash.outbox {
		if p.report.Manifest == u.manifest {
			return
		}
	}
	d.report(u, word, reason, detail)
}

// take starts on a new manifest: persist, acknowledge, then judge it.
func (d *device) take(digest ident.Digest, envelope []byte) {
	u := &update{manifest: digest, stage: topics.WordReceived}
	d.flash.update = u
	d.timers[timerFetch] = time.Time{}
	d.report(u, topics.WordReceived, "", "")
	m, err := firmware.Verify(envelope, d.anchors, time.Now())
	if err != nil {
		d.finish(u, topics.WordRejected, reasonOf(err), clip(err.Error()))
		return
	}
	reason, detail := d.judge(m)
	if reason == "" {
		reason, detail = d.plan(u, m)
	}
	if reason != "" {
		d.finish(u, topics.WordRejected, reason, detail)
		return
	}
	u.sequence, u.version = m.Sequence, m.Version
	if m.Image == d.flash.image.Digest { // there already
		d.flash.image.Sequence = m.Sequence
		d.finish(u, topics.WordInstalled, "", "")
		return
	}
	d.next(u, 0)
}

// reasonOf translates an error of verification into the device's word for it.
func reasonOf(err error) topics.Reason {
	if errors.Is(err, firmware.ErrUntrusted) || errors.Is(err, firmware.ErrDigestMismatch) {
		return topics.ReasonSignatureInvalid
	}
	return topics.ReasonUnsupportedManifest
}

// judge checks a verified manifest against the device: is it for this hardware, newer, and possible?
func (d *device) judge(m firmware.Manifest) (topics.Reason, string) {
	model, have := d.fleet.config.Model, d.flash.image
	switch {
	case m.Vendor != model.Vendor:
		return topics.ReasonWrongVendor, ""
	case m.Class != model.Class:
		return topics.ReasonWrongClass, ""
	case m.Component != model.Component:
		return topics.ReasonUnsupportedManifest, "no such component"
	case m.Sequence < have.Sequence, m.Sequence == have.Sequence && m.Image != have.Digest:
		return topics.ReasonVersionNotNewer, fmt.Sprintf("sequence %d, installed is %d", m.Sequence, have.Sequence)
	}
	return "", ""
}

func (d *device) advance(u *update, stage topics.Word) {
	u.stage = stage
	d.report(u, stage, "", "")
}

// stepDue ends the step that takes time.
func (d *device) stepDue() {
	u := d.flash.update
	if u == nil {
		return
	}
	switch u.stage {
	case topics.WordDownloaded:
		d.ask(u)
	case topics.WordInstalling:
		d.advance(u, topics.WordRebooting)
		d.set(timerStep, rebootGrace)
	case topics.WordRebooting:
		d.leaving = endReboot
	}
}

// rebootIfTold reboots once the server has everything that the device told it.
func (d *device) rebootIfTold() {
	if u := d.flash.update; u != nil && u.stage == topics.WordRebooting && len(d.flash.outbox) == 0 {
		d.leaving = endReboot
	}
}

// resumeInstall is the bootloader: it knows from flash what was going on.
func (d *device) resumeInstall(u *update) {
	switch u.stage {
	case topics.WordInstalling: // power was lost in the middle; the slot is whole, so install once more
		d.set(timerStep, d.timing().Install)
	case topics.WordRebooting:
		d.note(func(e *Entry) { e.up(time.Now()) })
		if d.fault.Kind == Rollback {
			return // the new image's self-test failed: the old one boots
		}
		d.flash.image = topics.Installed{Component: d.flash.image.Component, Digest: u.plan.Image.Digest, Sequence: u.sequence, Version: u.version}
		d.note(func(e *Entry) { e.Installed = d.flash.image })
	}
}

// verifyBoot ends an update whose reboot has happened; the hello has already said which image runs.
func (d *device) verifyBoot(u *update) {
	if u.stage != topics.WordRebooting || !d.timers[timerStep].IsZero() {
		return
	}
	if d.flash.image.Digest != u.plan.Image.Digest {
		d.finish(u, topics.WordFailed, topics.ReasonRolledBack, "self-test failed, the old image runs")
		return
	}
	d.finish(u, topics.WordInstalled, "", "")
}

// finish makes the last report on u.
func (d *device) finish(u *update, word topics.Word, reason topics.Reason, detail string) {
	d.report(u, word, reason, detail)
	d.flash.update = nil
	d.timers[timerFetch], d.timers[timerStep] = time.Time{}, time.Time{}
	if len(d.flash.done) == maxDone {
		d.flash.done = append(d.flash.done[:0], d.flash.done[1:]...)
	}
	d.flash.done = append(d.flash.done, finished{u.manifest, word, reason, detail})
}

// clip keeps a report's detail within the contract's bound.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most]
}

// foreignAnchors are anchors with the names of the real ones and the key of somebody else.
func foreignAnchors(real []firmware.Anchor, seed uint64) ([]firmware.Anchor, error) {
	anchors := make([]firmware.Anchor, len(real))
	for i, a := range real {
		kind := cose.Curve25519
		if a.Alg == cose.ES256 || a.Alg == cose.ESP256 {
			kind = cose.P256
		}
		key, err := cose.GeneratePrivateKey(kind, rand.NewChaCha8([32]byte{byte(seed), byte(i), 'x'}))
		if err != nil {
			return nil, fmt.Errorf("make a foreign key: %w", err)
		}
		anchors[i] = firmware.Anchor{ID: a.ID, Alg: a.Alg, SPKI: key.Public().SPKI(), Created: a.Created}
	}
	return anchors, nil
}
