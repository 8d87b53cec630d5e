package campaign

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"fleetbridge/ident"
)

// AuditEntry is one record of a tenant's audit log: a command that changed something, or a decision of the engine. The
// entries of a tenant count from 1 without a gap, and each holds the hash of the one before, so that nothing can be
// changed, taken out or put in later without breaking the chain from there on.
type AuditEntry struct {
	Number   uint64
	At       time.Time
	By       string         // name of the principal; "": the engine
	Command  string         // noun/verb; of the engine: engine/ and what it did
	Object   string         // what it was about, for people: campaign/spring
	Campaign ident.Campaign // the campaign that it was about; zero: none
	Before   uint64         // revision of the campaign
	After    uint64
	Body     ident.Digest // of the command's body
	Outcome  string
	Prev     ident.Digest // Hash of the entry before; zero in the first
	Hash     ident.Digest
}

// Record appends e to the tenant's audit log, in the transaction of what it tells of. Number, Prev and Hash are set here.
func Record(tx Tx, t ident.Tenant, e AuditEntry) (AuditEntry, error) {
	head, err := tx.AuditHead(t)
	if err != nil {
		return AuditEntry{}, fmt.Errorf("read head of audit log: %w", err)
	}
	e.By, e.Command, e.Object, e.Outcome = clip(e.By), clip(e.Command), clip(e.Object), clip(e.Outcome)
	e.At = e.At.UTC()
	e.Number, e.Prev = head.Number+1, head.Hash
	e.Hash = e.sum(t)
	if err := tx.PutAudit(t, e); err != nil {
		return AuditEntry{}, fmt.Errorf("write audit log: %w", err)
	}
	return e, nil
}

// sum is SHA-256 over the hash before, then the entry without Prev and Hash as a deterministic CBOR array (RFC 8949
// section 4.2.1): tenant, number, time (RFC 3339), by, command, object, campaign, before, after, body, outcome.
func (e AuditEntry) sum(t ident.Tenant) ident.Digest {
	b := append([]byte(nil), e.Prev[:]...)
	b = cborHead(b, 4, 11)
	b = cborText(b, t.String())
	b = cborHead(b, 0, e.Number)
	b = cborText(b, e.At.UTC().Format(time.RFC3339Nano))
	for _, s := range []string{e.By, e.Command, e.Object, e.Campaign.String()} {
		b = cborText(b, s)
	}
	b = cborHead(b, 0, e.Before)
	b = cborHead(b, 0, e.After)
	b = append(cborHead(b, 2, uint64(len(e.Body))), e.Body[:]...)
	b = cborText(b, e.Outcome)
	return sha256.Sum256(b)
}

func cborText(b []byte, s string) []byte { return append(cborHead(b, 3, uint64(len(s))), s...) }

// cborHead appends the head of a data item in its shortest form.
func cborHead(b []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

// AuditCheck is what VerifyAudit found. An empty Fault means that everything up to Through is as it was written.
type AuditCheck struct {
	Checked uint64       // entries looked at
	Through uint64       // the last one that is good
	Hash    ident.Digest // of it; whoever keeps it elsewhere can ask later whether it still stands
	Done    bool         // Through is the end of the log
	At      uint64       // the entry that is not good, or is missing
	Fault   string
}

// auditPage is how many entries are read at a time.
const auditPage = 1000

// VerifyAudit checks at most limit entries after the given one: numbers without a gap, each with the hash of the one
// before, and the hash of what it says; at the end, that the log ends where its head says. A hash that is not zero must
// be that of entry after.
func VerifyAudit(r Reader, t ident.Tenant, after uint64, hash ident.Digest, limit int) (AuditCheck, error) {
	out := AuditCheck{Through: after, Hash: hash}
	if after > 0 {
		list, err := r.Audits(t, after-1, 1)
		if err != nil {
			return out, fmt.Errorf("read audit log: %w", err)
		}
		if len(list) == 0 || list[0].Number != after || list[0].sum(t) != list[0].Hash || !hash.IsZero() && list[0].Hash != hash {
			out.At, out.Fault = after, "the entry to go on from is missing, or is not what it was"
			return out, nil
		}
		out.Hash = list[0].Hash
	}
	head, err := r.AuditHead(t)
	if err != nil {
		return out, fmt.Errorf("read head of audit log: %w", err)
	}
	for limit > 0 {
		list, err := r.Audits(t, out.Through, min(limit, auditPage))
		if err != nil {
			return out, fmt.Errorf("read audit log: %w", err)
		}
		for _, e := range list {
			if out.step(t, e); out.Fault != "" {
				return out, nil
			}
		}
		limit -= len(list)
		if len(list) == 0 {
			out.end(head)
			return out, nil
		}
	}
	if out.Through == head.Number {
		out.end(head)
	}
	return out, nil
}

// step checks the next entry.
func (c *AuditCheck) step(t ident.Tenant, e AuditEntry) {
	c.Checked++
	c.At = c.Through + 1
	switch {
	case e.Number != c.At:
		c.Fault = fmt.Sprintf("entry %d is missing; the next one is %d", c.At, e.Number)
	case e.Prev != c.Hash:
		c.Fault = "it does not hold the hash of the entry before"
	case e.sum(t) != e.Hash:
		c.Fault = "its hash is not that of what it says"
	default:
		c.Through, c.Hash, c.At = e.Number, e.Hash, 0
	}
}

// end compares where the log ends with its head.
func (c *AuditCheck) end(head AuditEntry) {
	if head.Number != c.Through || head.Hash != c.Hash {
		c.At, c.Fault = c.Through+1, fmt.Sprintf("the log ends after entry %d, its head is entry %d with another hash", c.Through, head.Number)
		return
	}
	c.Done = true
}

// journal writes what the engine decided on its campaign.
func (e *engine) journal(was Campaign) error {
	if e.c.Open > was.Open {
		if _, err := Record(e.tx, e.t, e.c.decided(e.now, "wave", fmt.Sprintf("wave %d opened", e.c.Open+1), was.Revision)); err != nil {
			return err
		}
	}
	if e.c.Phase == was.Phase {
		return nil
	}
	entry := e.c.decided(e.now, string(e.c.Phase), string(e.c.Outcome), was.Revision)
	if e.c.Phase == Stopping && e.c.Reason != "" {
		entry.Outcome += ": " + e.c.Reason
	}
	_, err := Record(e.tx, e.t, entry)
	return err
}
