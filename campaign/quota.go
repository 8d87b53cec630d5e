package campaign

import (
	"errors"
	"fmt"
	"time"

	"fleetbridge/ident"
)

// ErrQuota means that a tenant has used up what it may have.
var ErrQuota = errors.New("quota is used up")

// Quota is what a tenant may have, and how much of its updates is spoken for. The zero value limits nothing.
type Quota struct {
	Campaigns int   // that run at once; 0: no limit
	Bytes     int64 // of all payloads; 0: no limit
	Counted   bool  // updates are counted: a campaign that starts reserves one per device
	Free      int64 // updates that are neither reserved nor used; meaningless unless Counted
	Reserved  uint64
	Used      uint64
	Entries   uint64 // of the ledger
	Devices   int    // that are registered; 0: no limit
}

// The kinds of entries of a quota's ledger.
const (
	LedgerGrant   = "grant"
	LedgerReserve = "reserve"
	LedgerUse     = "use"
	LedgerRelease = "release"
)

// LedgerEntry is one change of a tenant's updates. The ledger is appended to and never changed: the sum of its grants,
// less what was reserved and plus what was released, is Free.
type LedgerEntry struct {
	Number   uint64 // from 1, without a gap
	At       time.Time
	Kind     string
	Amount   int64          // of a grant it may be below 0
	Campaign ident.Campaign // zero: none
	By       string         // "": the server
	Reason   string
	Free     int64 // after it
}

// QuotaChange is what an administrator changes; nil leaves a member as it is.
type QuotaChange struct {
	Campaigns *int
	Bytes     *int64
	Devices   *int
	Grant     int64 // adds updates, and makes them counted; below 0 takes away
	Unlimited bool  // updates are counted no longer
	Reason    string
}

// SetQuota changes a tenant's quota. What is reserved stays so.
func SetQuota(tx Tx, now time.Time, t ident.Tenant, change QuotaChange, by string) (Quota, Result, error) {
	q, err := tx.Quota(t)
	if err != nil {
		return Quota{}, Result{}, fmt.Errorf("read quota: %w", err)
	}
	if change.Campaigns != nil {
		q.Campaigns = *change.Campaigns
	}
	if change.Bytes != nil {
		q.Bytes = *change.Bytes
	}
	if change.Devices != nil {
		q.Devices = *change.Devices
	}
	if change.Unlimited {
		q.Counted = false
	}
	if change.Grant != 0 {
		q.Counted = true
		q.Free += change.Grant
		err = q.append(tx, t, LedgerEntry{At: now, Kind: LedgerGrant, Amount: change.Grant, By: by, Reason: clip(change.Reason)})
		if err != nil {
			return Quota{}, Result{}, err
		}
	}
	if err := tx.PutQuota(t, q); err != nil {
		return Quota{}, Result{}, fmt.Errorf("write quota: %w", err)
	}
	waiting, err := q.waiting(tx, t)
	return q, Result{Campaigns: waiting}, err
}

// append adds e to the ledger; q is written by the caller.
func (q *Quota) append(tx Tx, t ident.Tenant, e LedgerEntry) error {
	q.Entries++
	e.Number, e.Free, e.At = q.Entries, q.Free, e.At.UTC()
	if err := tx.PutLedger(t, e); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	return nil
}

// reserve takes one update per device that c is going to offer to, or refuses c. It is the step from starting to active,
// so that of two campaigns for which there is not enough one gets all it needs.
func (e *engine) reserve() (refused string, err error) {
	q, err := e.tx.Quota(e.t)
	if err != nil {
		return "", fmt.Errorf("read quota: %w", err)
	}
	if !q.Counted {
		return "", nil
	}
	e.c.Metered = true
	n, err := e.tx.Counts(e.t, e.c.ID)
	if err != nil {
		return "", fmt.Errorf("read counts: %w", err)
	}
	need := n.Of(Pending)
	if need == 0 {
		return "", nil
	}
	if int64(need) > q.Free {
		return fmt.Sprintf("quota: %d updates needed, %d left", need, max(q.Free, 0)), nil
	}
	return "", e.take(q, need)
}

// settle turns what a stopped campaign had reserved into what it used, and releases the rest. An update is used by a
// device that said a word about it, however that ended.
func (e *engine) settle() error {
	if !e.c.metered() {
		return nil
	}
	q, err := e.tx.Quota(e.t)
	if err != nil {
		return fmt.Errorf("read quota: %w", err)
	}
	n, err := e.tx.Counts(e.t, e.c.ID)
	if err != nil {
		return fmt.Errorf("read counts: %w", err)
	}
	reserved := e.c.Reserved
	used := min(n.Charged, reserved) // more are charged only of what joined while updates were not counted
	q.Reserved -= min(q.Reserved, reserved)
	q.Used += used
	e.c.Reserved = 0
	if used > 0 {
		if err := q.append(e.tx, e.t, LedgerEntry{At: e.now, Kind: LedgerUse, Amount: int64(used), Campaign: e.c.ID}); err != nil {
			return err
		}
	}
	if rest := reserved - used; rest > 0 {
		q.Free += int64(rest)
		if err := q.append(e.tx, e.t, LedgerEntry{At: e.now, Kind: LedgerRelease, Amount: int64(rest), Campaign: e.c.ID}); err != nil {
			return err
		}
	}
	if err := e.putQuota(q); err != nil {
		return err
	}
	waiting, err := q.waiting(e.tx, e.t)
	for _, id := range waiting {
		e.touched(id)
	}
	return err
}

func (e *engine) putQuota(q Quota) error {
	if err := e.tx.PutQuota(e.t, q); err != nil {
		return fmt.Errorf("write quota: %w", err)
	}
	return nil
}

// mayRun says whether one more campaign of the tenant may run.
func mayRun(r Reader, t ident.Tenant) error {
	q, err := r.Quota(t)
	if err != nil {
		return fmt.Errorf("read quota: %w", err)
	}
	if q.Campaigns <= 0 {
		return nil
	}
	running, err := r.Running(t, ident.Campaign{}, q.Campaigns)
	if err != nil {
		return fmt.Errorf("list running campaigns: %w", err)
	}
	if len(running) >= q.Campaigns {
		return fmt.Errorf("%d campaigns run, at most %d may: %w", len(running), q.Campaigns, ErrQuota)
	}
	return nil
}

// MayStore says whether a payload of size more bytes has room within the tenant's quota. It reads the payloads' records.
func MayStore(r Reader, t ident.Tenant, size int64) error {
	q, err := r.Quota(t)
	if err != nil {
		return fmt.Errorf("read quota: %w", err)
	}
	if q.Bytes <= 0 {
		return nil
	}
	sum := size
	for after := (ident.Digest{}); ; {
		page, err := r.Payloads(t, after, fetchPage)
		if err != nil {
			return fmt.Errorf("list payloads: %w", err)
		}
		for _, p := range page {
			sum += p.Size
			after = p.Digest
		}
		if sum > q.Bytes {
			return fmt.Errorf("payloads of %d bytes, at most %d: %w", sum, q.Bytes, ErrQuota)
		}
		if len(page) < fetchPage {
			return nil
		}
	}
}
