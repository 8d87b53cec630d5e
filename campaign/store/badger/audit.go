package badger

import (
	"encoding/binary"
	"fmt"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// The audit log of a tenant has three kinds of keys below kindAudit: the entries, the head (a copy of the last one), and
// an index of those about one campaign.
const (
	auditEntry    = 'e' // number[8]
	auditHead     = 'h'
	auditCampaign = 'c' // campaign 0 number[8]
)

func auditPrefix(t ident.Tenant, part byte) key { return append(keyOf(t, kindAudit), part) }

type auditRecord struct {
	Number   uint64 `cbor:"1,keyasint"`
	At       stamp  `cbor:"2,keyasint,omitempty"`
	By       string `cbor:"3,keyasint,omitempty"`
	Command  string `cbor:"4,keyasint,omitempty"`
	Object   string `cbor:"5,keyasint,omitempty"`
	Campaign string `cbor:"6,keyasint,omitempty"`
	Before   uint64 `cbor:"7,keyasint,omitempty"`
	After    uint64 `cbor:"8,keyasint,omitempty"`
	Body     []byte `cbor:"9,keyasint,omitempty"`
	Outcome  string `cbor:"10,keyasint,omitempty"`
	Prev     []byte `cbor:"11,keyasint,omitempty"`
	Hash     []byte `cbor:"12,keyasint,omitempty"`
}

func auditRecordOf(e campaign.AuditEntry) auditRecord {
	return auditRecord{
		Number: e.Number, At: stampOf(e.At), By: e.By, Command: e.Command, Object: e.Object, Campaign: e.Campaign.String(),
		Before: e.Before, After: e.After, Body: digestBytes(e.Body), Outcome: e.Outcome, Prev: digestBytes(e.Prev), Hash: digestBytes(e.Hash),
	}
}

func (r auditRecord) domain() (campaign.AuditEntry, error) {
	var p parser
	e := campaign.AuditEntry{
		Number: r.Number, At: r.At.time(), By: r.By, Command: r.Command, Object: r.Object,
		Campaign: parsed(&p, ident.ParseCampaign, r.Campaign), Before: r.Before, After: r.After, Body: p.digest(r.Body),
		Outcome: r.Outcome, Prev: p.digest(r.Prev), Hash: p.digest(r.Hash),
	}
	return e, p.err
}

func (r *reader) AuditHead(t ident.Tenant) (campaign.AuditEntry, error) {
	e, _, err := find[auditRecord](r, auditPrefix(t, auditHead))
	return e, err
}

// afterNumber is the part of a key behind which the entries after number n come.
func afterNumber(n uint64) string {
	if n == 0 {
		return ""
	}
	return string(key(nil).uint64(n))
}

func (r *reader) Audits(t ident.Tenant, after uint64, limit int) ([]campaign.AuditEntry, error) {
	return list[auditRecord](r, auditPrefix(t, auditEntry), afterNumber(after), limit)
}

func (r *reader) CampaignAudits(t ident.Tenant, c ident.Campaign, after uint64, limit int) ([]campaign.AuditEntry, error) {
	rest, err := r.rest(auditPrefix(t, auditCampaign).part(c.String()), afterNumber(after), limit)
	if err != nil {
		return nil, err
	}
	var es []campaign.AuditEntry
	for _, n := range rest {
		if len(n) != 8 {
			return nil, fmt.Errorf("read index of audit log: %w", errRecord)
		}
		e, err := get[auditRecord](r, auditPrefix(t, auditEntry).uint64(binary.BigEndian.Uint64([]byte(n))))
		if err != nil {
			return nil, fmt.Errorf("read audit log of campaign %s: %w", c, broken(err))
		}
		es = append(es, e)
	}
	return es, nil
}

func (t *tx) PutAudit(tn ident.Tenant, e campaign.AuditEntry) error {
	if err := t.named("audit entry", tn); err != nil {
		return err
	}
	head, err := t.AuditHead(tn)
	if err != nil {
		return t.fail(err)
	}
	if e.Number != head.Number+1 {
		return t.fail(fmt.Errorf("put audit entry %d after %d: %w", e.Number, head.Number, errRecord))
	}
	if err := t.put(auditPrefix(tn, auditEntry).uint64(e.Number), auditRecordOf(e)); err != nil {
		return err
	}
	if !e.Campaign.IsZero() {
		t.index(auditPrefix(tn, auditCampaign).part(e.Campaign.String()).uint64(e.Number), true)
	}
	return t.put(auditPrefix(tn, auditHead), auditRecordOf(e))
}
