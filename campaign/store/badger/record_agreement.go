package badger

import "fleetbridge/campaign"

type agreementRecord struct {
	Plan       []byte   `cbor:"45,keyasint,omitempty"`
	ApprovedBy string   `cbor:"46,keyasint,omitempty"`
	ApprovedAt stamp    `cbor:"47,keyasint,omitempty"`
	First      []uint64 `cbor:"48,keyasint,omitempty"` // of the waves
	EditedBy   []string `cbor:"49,keyasint,omitempty"`
}

func agreementRecordOf(c campaign.Campaign) agreementRecord {
	return agreementRecord{digestBytes(c.Plan), c.ApprovedBy, stampOf(c.ApprovedAt), c.First, c.EditedBy}
}

func (r agreementRecord) domain(p *parser) campaign.Agreement {
	return campaign.Agreement{Plan: p.digest(r.Plan), ApprovedBy: r.ApprovedBy, ApprovedAt: r.ApprovedAt.time(), EditedBy: r.EditedBy}
}
