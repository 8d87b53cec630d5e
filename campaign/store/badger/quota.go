package badger

import (
	"fmt"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// Below kindQuota: 'q', the quota itself; 'l' number[8], the ledger; 'd', how many devices are registered; 't', the devices
// that were turned away.
const (
	quotaState   = 'q'
	quotaLedger  = 'l'
	quotaDevices = 'd'
	quotaTurned  = 't'
)

func quotaPrefix(t ident.Tenant, part byte) key { return append(keyOf(t, kindQuota), part) }

type quotaRecord struct {
	Campaigns int    `cbor:"1,keyasint,omitempty"`
	Bytes     int64  `cbor:"2,keyasint,omitempty"`
	Counted   bool   `cbor:"3,keyasint,omitempty"`
	Free      int64  `cbor:"4,keyasint,omitempty"`
	Reserved  uint64 `cbor:"5,keyasint,omitempty"`
	Used      uint64 `cbor:"6,keyasint,omitempty"`
	Entries   uint64 `cbor:"7,keyasint,omitempty"`
	Devices   int    `cbor:"60,keyasint,omitempty"`
}

func (r quotaRecord) domain() (campaign.Quota, error) { return campaign.Quota(r), nil }

type ledgerRecord struct {
	Number   uint64 `cbor:"1,keyasint"`
	At       stamp  `cbor:"2,keyasint,omitempty"`
	Kind     string `cbor:"3,keyasint,omitempty"`
	Amount   int64  `cbor:"4,keyasint,omitempty"`
	Campaign string `cbor:"5,keyasint,omitempty"`
	By       string `cbor:"6,keyasint,omitempty"`
	Reason   string `cbor:"7,keyasint,omitempty"`
	Free     int64  `cbor:"8,keyasint,omitempty"`
}

func (r ledgerRecord) domain() (campaign.LedgerEntry, error) {
	var p parser
	e := campaign.LedgerEntry{Number: r.Number, At: r.At.time(), Kind: r.Kind, Amount: r.Amount,
		Campaign: parsed(&p, ident.ParseCampaign, r.Campaign), By: r.By, Reason: r.Reason, Free: r.Free}
	return e, p.err
}

func (r *reader) Quota(t ident.Tenant) (campaign.Quota, error) {
	q, _, err := find[quotaRecord](r, quotaPrefix(t, quotaState))
	return q, err
}

func (r *reader) Ledger(t ident.Tenant, after uint64, limit int) ([]campaign.LedgerEntry, error) {
	return list[ledgerRecord](r, quotaPrefix(t, quotaLedger), afterNumber(after), limit)
}

func (t *tx) PutQuota(tn ident.Tenant, q campaign.Quota) error {
	if err := t.named("quota", tn); err != nil {
		return err
	}
	return t.put(quotaPrefix(tn, quotaState), quotaRecord(q))
}

func (t *tx) PutLedger(tn ident.Tenant, e campaign.LedgerEntry) error {
	if err := t.named("ledger entry", tn); err != nil {
		return err
	}
	k := quotaPrefix(tn, quotaLedger).uint64(e.Number)
	_, there, err := find[ledgerRecord](&t.reader, k)
	if err != nil {
		return t.fail(err)
	}
	if there || e.Number == 0 {
		return t.fail(fmt.Errorf("put ledger entry %d: it is there, or has no number: %w", e.Number, errRecord))
	}
	return t.put(k, ledgerRecord{Number: e.Number, At: stampOf(e.At), Kind: e.Kind, Amount: e.Amount, Campaign: e.Campaign.String(),
		By: e.By, Reason: e.Reason, Free: e.Free})
}
