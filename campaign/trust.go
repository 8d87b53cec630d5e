package campaign

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// Standing reads the trust anchors that stand behind m at now, see firmware.Trust; with a zero now, at whatever time. An
// error that wraps firmware.ErrUntrusted means that none does any more; any other says nothing about m. What was stored
// without a key, which no upload does, nobody has to stand behind.
func Standing(r Reader, t ident.Tenant, m firmware.Manifest, now time.Time) ([]firmware.Anchor, error) {
	if len(m.Keys) == 0 {
		return nil, nil
	}
	var anchors []firmware.Anchor
	for _, s := range m.Keys {
		a, err := r.Anchor(t, s.Key)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read anchor %s: %w", s.Key, err)
		}
		anchors = append(anchors, a)
	}
	return firmware.Trust(m, anchors, now)
}

// algsOf are the algorithms of anchors, each once.
func algsOf(anchors []firmware.Anchor) []int64 {
	var out []int64
	for _, a := range anchors {
		if !slices.Contains(out, int64(a.Alg)) {
			out = append(out, int64(a.Alg))
		}
	}
	return out
}

// signedBy are the algorithms of m's signatures, each once.
func signedBy(m firmware.Manifest) []int64 {
	var out []int64
	for _, s := range m.Keys {
		if !slices.Contains(out, int64(s.Alg)) {
			out = append(out, int64(s.Alg))
		}
	}
	return out
}

// checkable says whether d, which may have said which algorithms it understands, can check a signature of c's manifest.
func (c Campaign) checkable(d Device) bool {
	return len(c.Algs) == 0 || len(d.Algs) == 0 ||
		slices.ContainsFunc(d.Algs, func(alg int64) bool { return slices.Contains(c.Algs, alg) })
}

// underway says whether c has had its manifest checked, and is not stopping: it ends when nobody stands behind that.
func (c Campaign) underway() bool {
	return c.running() || c.Phase == Starting && c.Step != CheckingManifest
}

// stand ends the campaign if nobody stands behind its manifest any more, and notes with which algorithms those sign who
// do. ended says that it did.
func (e *engine) stand() (ended bool, err error) {
	m, err := e.tx.Manifest(e.t, e.c.Manifest)
	if errors.Is(err, ErrNotFound) {
		return true, e.c.end(e.now, AutoStopped, "its manifest is gone")
	}
	if err != nil {
		return false, fmt.Errorf("read manifest: %w", err)
	}
	anchors, err := Standing(e.tx, e.t, m, e.now)
	switch {
	case errors.Is(err, firmware.ErrUntrusted):
		return true, e.c.end(e.now, AutoStopped, "trust: "+err.Error())
	case err != nil:
		return false, err
	}
	if algs := algsOf(anchors); !slices.Equal(algs, e.c.Algs) {
		e.c.Algs = algs
		e.c.Revision++
	}
	e.wake(trustedUntil(anchors))
	return false, nil
}

// trustedUntil is just after the last moment at which one of anchors is valid; zero: there is none.
func trustedUntil(anchors []firmware.Anchor) time.Time {
	var last time.Time
	for _, a := range anchors {
		if a.Grants.NotAfter.IsZero() {
			return time.Time{}
		}
		if a.Grants.NotAfter.After(last) {
			last = a.Grants.NotAfter
		}
	}
	if last.IsZero() {
		return last
	}
	return last.Add(time.Nanosecond)
}

// maxRevoked is how many campaigns one revocation stops in its own commit; the engine stops the others, each before it
// offers anything.
const maxRevoked = 256

// Revoke revokes a trust anchor, for good, and stops the campaigns under way behind whose manifests no other anchor
// stands; stopped is how many those are. It reads the tenant's running campaigns only. An anchor that is revoked already
// stops what is left. An anchor that is not there is a *NotFoundError.
func Revoke(tx Tx, now time.Time, t ident.Tenant, id ident.Key) (a firmware.Anchor, stopped int, res Result, err error) {
	if a, err = tx.Anchor(t, id); err != nil {
		return a, 0, res, missing(err, "anchor", id)
	}
	if a.Live() {
		a.Revoked = now
		if err := tx.PutAnchor(t, a); err != nil {
			return a, 0, res, fmt.Errorf("write anchor: %w", err)
		}
	}
	bereft, err := bereaved(tx, now, t, id)
	if err != nil {
		return a, 0, res, err
	}
	for i, c := range bereft {
		if i >= maxRevoked {
			res.Campaigns = append(res.Campaigns, c.ID)
			continue
		}
		e := &engine{desk: desk{tx: tx, t: t, now: now}, c: c, slice: 1}
		if _, err := e.stand(); err != nil {
			return a, 0, res, fmt.Errorf("stop campaign %s: %w", c.ID, err)
		}
		if _, _, err := e.close(c); err != nil {
			return a, 0, res, fmt.Errorf("stop campaign %s: %w", c.ID, err)
		}
		res.Campaigns = append(res.Campaigns, c.ID)
	}
	return a, len(bereft), res, nil
}

// bereaved lists the campaigns under way whose manifests key id signed and nobody stands behind now.
func bereaved(r Reader, now time.Time, t ident.Tenant, id ident.Key) ([]Campaign, error) {
	var list []Campaign
	known := map[ident.Digest]bool{}
	for after := (ident.Campaign{}); ; {
		page, err := r.Running(t, after, checkPage)
		if err != nil {
			return nil, fmt.Errorf("list running campaigns: %w", err)
		}
		for _, c := range page {
			after = c.ID
			if !c.underway() {
				continue
			}
			lost, ok := known[c.Manifest]
			if !ok {
				if lost, err = lostBy(r, now, t, c.Manifest, id); err != nil {
					return nil, err
				}
				known[c.Manifest] = lost
			}
			if lost {
				list = append(list, c)
			}
		}
		if len(page) < checkPage {
			return list, nil
		}
	}
}

// lostBy says whether manifest d was signed by key id, and nobody stands behind it.
func lostBy(r Reader, now time.Time, t ident.Tenant, d ident.Digest, id ident.Key) (bool, error) {
	m, err := r.Manifest(t, d)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read manifest %s: %w", d, err)
	}
	if !slices.ContainsFunc(m.Keys, func(s firmware.Signature) bool { return s.Key == id }) {
		return false, nil
	}
	_, err = Standing(r, t, m, now)
	if errors.Is(err, firmware.ErrUntrusted) {
		return true, nil
	}
	return false, err
}
