package badger

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// maxRecord bounds a value, in bytes. From 1 MiB on Badger puts values into a log of their own, whose sync errors it
// does not return.
const maxRecord = 1<<20 - 1

// tx is a campaign.Tx: a reader of the overlay that it writes to.
type tx struct {
	reader
	ov *overlay
	// bad is the first error of a put. What a put leaves half done must not be committed, even if the function goes on.
	bad error
}

var _ campaign.Tx = (*tx)(nil)

// fail remembers err.
func (t *tx) fail(err error) error {
	if err != nil && t.bad == nil {
		t.bad = err
	}
	return err
}

// put writes a record under k.
func (t *tx) put(k key, record any) error {
	val, err := encode(record)
	switch {
	case t.ended:
		err = errEnded
	case err == nil && len(val) > maxRecord:
		err = fmt.Errorf("record of %d bytes: %w", len(val), ErrTooLarge)
	}
	if err != nil {
		return t.fail(fmt.Errorf("put %q: %w", k, err))
	}
	t.ov.put(k, val)
	return nil
}

// index writes or deletes an index entry; nil is none.
func (t *tx) index(k key, there bool) {
	switch {
	case k == nil:
	case there:
		t.ov.put(k, nil)
	default:
		t.ov.delete(k)
	}
}

// named refuses to store under an identifier that is zero.
func (t *tx) named(what string, ids ...interface{ IsZero() bool }) error {
	for _, id := range ids {
		if id.IsZero() {
			return t.fail(fmt.Errorf("put %s: identifier is empty: %w", what, ident.ErrInvalid))
		}
	}
	return nil
}

func (t *tx) PutTenant(v campaign.Tenant) error {
	if err := t.named("tenant", v.ID); err != nil {
		return err
	}
	return t.put(tenantKey(v.ID), tenantRecordOf(v))
}

func (t *tx) PutCredential(tn ident.Tenant, v campaign.Credential) error {
	if err := t.named("credential", tn, v.Name); err != nil {
		return err
	}
	return t.put(keyOf(tn, kindCredential).last(v.Name.String()), credentialRecordOf(v))
}

func (t *tx) PutAnchor(tn ident.Tenant, v firmware.Anchor) error {
	if err := t.named("anchor", tn, v.ID); err != nil {
		return err
	}
	return t.put(keyOf(tn, kindAnchor).last(v.ID.String()), anchorRecordOf(v))
}

func (t *tx) PutPayload(tn ident.Tenant, v firmware.Payload) error {
	if err := t.named("payload", tn, v.Digest); err != nil {
		return err
	}
	return t.put(keyOf(tn, kindPayload).bytes(v.Digest[:]), payloadRecordOf(v))
}

func (t *tx) DeletePayload(tn ident.Tenant, d ident.Digest) error {
	if err := t.named("payload", tn, d); err != nil {
		return err
	}
	t.ov.delete(keyOf(tn, kindPayload).bytes(d[:]))
	return nil
}

func (t *tx) PutFloor(tn ident.Tenant, vendor, class uuid.UUID, component string, f campaign.Floor) error {
	if err := t.named("floor", tn); err != nil {
		return err
	}
	if len(component) > maxComponent {
		return t.fail(fmt.Errorf("put floor: component of %d bytes, at most %d: %w", len(component), maxComponent, ErrTooLarge))
	}
	return t.put(floorKey(tn, vendor, class, component), floorRecordOf(f))
}

// maxComponent bounds a component in a key, in bytes.
const maxComponent = 4096

// Work is remembered: every report reads its device's.
func (t *tx) Work(tn ident.Tenant, d ident.Device) (campaign.Work, error) {
	w, err := recalled[workRecord](t, t.ov.memory.works, keyOf(tn, kindWork).last(d.String()))
	if err != nil || w == nil {
		return campaign.Work{}, err
	}
	return copyWork(*w), nil
}

func (t *tx) PutWork(tn ident.Tenant, d ident.Device, w campaign.Work) error {
	if err := t.named("work", tn, d); err != nil {
		return err
	}
	t.renews(tn, d)
	k := keyOf(tn, kindWork).last(d.String())
	old, err := recalled[workRecord](t, t.ov.memory.works, k)
	if err != nil {
		return t.fail(err)
	}
	there := old != nil
	if live := len(w.Live) > 0; live != (there && len(old.Live) > 0) {
		t.index(keyOf(tn, kindLive).last(d.String()), live)
	}
	if len(w.Live)+len(w.Waiting)+len(w.Recent)+len(w.Failures) > 0 {
		return t.put(k, workRecordOf(w))
	}
	if there {
		t.ov.delete(k)
	}
	return nil
}

func (t *tx) PutReply(tn ident.Tenant, n ident.Name, idem string, s campaign.StoredReply) error {
	if err := t.named("reply", tn, n); err != nil {
		return err
	}
	k, err := replyKey(tn, n, idem)
	if err != nil {
		return t.fail(err)
	}
	old, there, err := find[replyRecord](&t.reader, k)
	if err != nil {
		return t.fail(err)
	}
	var from key
	if there {
		from = expiryKey(tn, old.Expires, k)
	}
	t.move(from, expiryKey(tn, s.Expires, k))
	return t.put(k, replyRecordOf(s))
}

func (t *tx) ExpireReplies(tn ident.Tenant, now time.Time, limit int) (int, error) {
	if err := t.usable(); err != nil || limit <= 0 {
		return 0, t.fail(err)
	}
	prefix := keyOf(tn, kindExpiry)
	end := string(key(nil).time(now))
	var expired []string
	err := t.src.scan(prefix, prefix, true, func(k, _ []byte) (bool, error) {
		e := string(k[len(prefix):])
		if len(e) < timeLen {
			return false, errRecord
		}
		if e[:timeLen] > end {
			return false, nil
		}
		expired = append(expired, e)
		return len(expired) < limit, nil
	})
	if err != nil {
		return 0, t.fail(fmt.Errorf("expire replies: %w", err))
	}
	for _, e := range expired {
		t.ov.delete(append(slices.Clip(prefix), e...))
		t.ov.delete(keyOf(tn, kindReply).last(e[timeLen:]))
	}
	return len(expired), nil
}
