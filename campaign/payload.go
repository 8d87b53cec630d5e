package campaign

import (
	"errors"
	"fmt"
	"time"

	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// ErrInUse means that something else needs what was to be deleted.
var ErrInUse = errors.New("in use")

// beginAgainAfter is how old the record of an upload may be before another begin renews it.
const beginAgainAfter = time.Hour

// BeginPayload reserves the room of an upload within the tenant's quota, before a byte of it is taken. changed says that
// p is to be recorded; a payload that is complete, and an upload that was begun lately, stay as they are. Another size than a
// complete payload has is ErrDigestMismatch, no room is ErrQuota.
func BeginPayload(r Reader, now time.Time, t ident.Tenant, d ident.Digest, size int64, name string) (p firmware.Payload, changed bool, err error) {
	p, err = r.Payload(t, d)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return p, false, fmt.Errorf("read payload: %w", err)
	case !p.Created.IsZero() && p.Size != size:
		return p, false, fmt.Errorf("payload %s has %d bytes, not %d: %w", d, p.Size, size, firmware.ErrDigestMismatch)
	case !p.Created.IsZero():
		return p, false, nil
	}
	if more := size - p.Size; more > 0 {
		if err := MayStore(r, t, more); err != nil {
			return p, false, err
		}
	}
	next := firmware.Payload{Digest: d, Size: size, Name: name, Begun: now}
	if err == nil && p.Size == size && p.Name == name && now.Sub(p.Begun) < beginAgainAfter {
		return p, false, nil
	}
	return next, true, nil
}

// CommitPayload records that an upload is complete: manifests may name it from now on. Without one it is ErrNoUpload.
func CommitPayload(tx Tx, now time.Time, t ident.Tenant, d ident.Digest, size int64) (firmware.Payload, error) {
	p, err := tx.Payload(t, d)
	if errors.Is(err, ErrNotFound) {
		return p, fmt.Errorf("commit payload %s: %w", d, firmware.ErrNoUpload)
	}
	if err != nil {
		return p, fmt.Errorf("read payload: %w", err)
	}
	if !p.Created.IsZero() {
		return p, nil
	}
	p.Size, p.Created = size, now
	if err := tx.PutPayload(t, p); err != nil {
		return p, fmt.Errorf("write payload: %w", err)
	}
	return p, nil
}

// AbortPayload ends an upload that is not complete, and gives its room back. Without one it is ErrNoUpload.
func AbortPayload(tx Tx, t ident.Tenant, d ident.Digest) (firmware.Payload, error) {
	p, err := tx.Payload(t, d)
	switch {
	case errors.Is(err, ErrNotFound):
		return p, fmt.Errorf("abort upload of %s: %w", d, firmware.ErrNoUpload)
	case err != nil:
		return p, fmt.Errorf("read payload: %w", err)
	case !p.Created.IsZero():
		return p, fmt.Errorf("abort upload of %s: it is complete, delete the payload: %w", d, firmware.ErrNoUpload)
	}
	if err := tx.DeletePayload(t, d); err != nil {
		return p, fmt.Errorf("delete payload: %w", err)
	}
	return p, nil
}

// DeletePayload deletes a payload's record and gives its room back. It is ErrInUse while a manifest fetches it, and a
// *NotFoundError where there is none.
func DeletePayload(tx Tx, t ident.Tenant, d ident.Digest) (firmware.Payload, error) {
	p, err := tx.Payload(t, d)
	if err == nil && p.Created.IsZero() {
		err = ErrNotFound
	}
	if err != nil {
		return p, missing(err, "payload", d)
	}
	fetching, err := tx.FetchedBy(t, d, ident.Digest{}, 1)
	if err != nil {
		return p, fmt.Errorf("list manifests of payload: %w", err)
	}
	if len(fetching) > 0 {
		return p, fmt.Errorf("payload %s is fetched by manifest %s: %w", d, fetching[0], ErrInUse)
	}
	if err := tx.DeletePayload(t, d); err != nil {
		return p, fmt.Errorf("delete payload: %w", err)
	}
	return p, nil
}
