package simulator

import (
	"bytes"
	"fmt"
	"time"

	"fleetbridge/firmware"
	"fleetbridge/firmware/delta"
	"fleetbridge/firmware/encrypt"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// next begins the first try of u, from number i on, whose precursor is installed.
func (d *device) next(u *update, i int) {
	for ; i < len(u.plan.Tries); i++ {
		u.try = i
		if t := u.plan.Tries[i]; !t.Delta() || d.holds(t.Precursor.Digest) {
			d.begin(u, t)
			return
		}
	}
	d.finish(u, topics.WordFailed, topics.ReasonInstallError, "none of the manifest's tries fits")
}

// holds reports whether the device runs the image, and the fleet knows its bytes.
func (d *device) holds(image ident.Digest) bool {
	_, known := d.fleet.library.get(image)
	return image == d.flash.image.Digest && known
}

// begin starts to fetch the payload of t, or takes it out of the envelope.
func (d *device) begin(u *update, t suit.Try) {
	payload, size := t.Payload.Digest, int64(t.Payload.Size)
	if u.staged() && !d.fleet.library.open(payload, size) {
		d.finish(u, topics.WordFailed, topics.ReasonNoSpace, fmt.Sprintf("%d bytes to work on", size))
		return
	}
	cell := int64(-1)
	if d.fault.Kind == BadFlash {
		cell = int64(d.fault.At * float64(size))
	}
	chunk := d.fleet.config.ChunkSize
	if t.Integrated() {
		chunk = uint32(size) // all of it at once
	}
	u.slot = newSlot(payload, size, chunk, cell)
	u.token = fmt.Sprintf("b%du%dt%d", d.flash.boot, d.flash.seq, u.try)
	u.stage = topics.WordDownloading
	d.fresh, d.window, d.tries = false, 0, 0
	if t.Integrated() {
		d.write(u, 0, u.inside)
		d.downloaded(u)
		return
	}
	d.report(u, topics.WordDownloading, "", "")
	d.timers[timerFetch] = time.Now() // fetch from the session's loop, after the reports
}

// staged reports whether the payload is not the image itself: its bytes are needed to make that.
func (u *update) staged() bool {
	t := u.plan.Tries[u.try]
	return t.Delta() || t.Encryption != nil
}

// write stores a chunk.
func (d *device) write(u *update, index uint32, data []byte) written {
	w := u.slot.write(index, data, d.fleet.config.Window)
	if w == stored && u.staged() {
		d.fleet.library.put(u.slot.digest, int64(index)*int64(u.slot.chunk), data)
	}
	return w
}

// downloaded checks the whole payload, makes the image out of it and starts to install. A check that fails is a condition
// that fails, and the next try begins; work that fails is a directive that fails, and ends the update
// (draft-ietf-suit-manifest-37, section 8.4.8.12).
func (d *device) downloaded(u *update) {
	d.timers[timerFetch] = time.Time{}
	payload := u.slot.digest
	switch {
	case u.slot.received() != payload:
		d.failTry(u, topics.ReasonDigestMismatch, "the payload is not what the manifest names")
		return
	case u.slot.readBack() != payload:
		d.failTry(u, topics.ReasonFlashError, "the flash reads back other bytes than were written")
		return
	}
	image, err := d.makeImage(u)
	switch {
	case err != nil:
		d.finish(u, topics.WordFailed, topics.ReasonInstallError, clip(err.Error()))
		return
	case image != u.plan.Image.Digest:
		d.failTry(u, topics.ReasonDigestMismatch, "the payload makes another image than the manifest names")
		return
	}
	if u.stage = topics.WordDownloaded; d.fleet.config.Permits {
		d.ask(u)
		return
	}
	d.report(u, topics.WordDownloaded, "", "")
	d.install(u)
}

// failTry goes on with the next try, if there is one.
func (d *device) failTry(u *update, reason topics.Reason, detail string) {
	if u.try+1 < len(u.plan.Tries) {
		d.fleet.count.fallbacks.Add(1)
		d.next(u, u.try+1)
		return
	}
	d.finish(u, topics.WordFailed, reason, detail)
}

// makeImage returns the digest of what the payload becomes.
func (d *device) makeImage(u *update) (ident.Digest, error) {
	if !u.staged() {
		return u.slot.readBack(), nil
	}
	t, l := u.plan.Tries[u.try], d.fleet.library
	return l.make(making{u.manifest, u.try}, func(out *bytes.Buffer) error {
		payload, ok := l.get(t.Payload.Digest)
		if !ok {
			return fmt.Errorf("the fleet's copy of the payload is damaged")
		}
		if t.Delta() {
			from, _ := l.get(t.Precursor.Digest)
			return delta.Apply(out, from, bytes.NewReader(payload), int64(u.plan.Image.Size))
		}
		return encrypt.Decrypt(out, bytes.NewReader(payload), t.Encryption, d.fleet.config.Model.Keys, int64(u.plan.Image.Size))
	})
}

// plan reads what a verified manifest asks for, and whether the device can do that.
func (d *device) plan(u *update, m firmware.Manifest) (topics.Reason, string) {
	e, err := suit.Decode(m.Envelope)
	if err == nil {
		u.plan, err = e.Plan()
	}
	if err != nil {
		return topics.ReasonUnsupportedManifest, clip(err.Error())
	}
	space, chunk := d.fleet.config.Model.Space, int64(d.fleet.config.ChunkSize)
	for _, t := range u.plan.Tries {
		size := int64(t.Payload.Size)
		switch inside, _ := e.Payload(t.URI); {
		case t.Integrated():
			u.inside = bytes.Clone(inside)
		case t.URI != firmware.PayloadURI(t.Payload.Digest):
			return topics.ReasonUnsupportedManifest, "the payload's address is not payload/<its digest>"
		}
		if t.Encryption != nil {
			if err := encrypt.For(t.Encryption, d.fleet.config.Model.Keys); err != nil {
				return topics.ReasonUnsupportedManifest, clip(err.Error())
			}
		}
		if space > 0 && max(size, m.Size) > space || size/chunk >= 1<<31 {
			return topics.ReasonNoSpace, fmt.Sprintf("%d bytes", max(size, m.Size))
		}
	}
	return "", ""
}
