package topics

import (
	"time"

	"fleetbridge/ident"
)

// Audit commands: the log of everything that a command or the server itself decided.
type (
	// AuditList lists the tenant's audit log, the oldest entry first.
	AuditList struct {
		Page
		Campaign ident.Campaign `json:"campaign,omitzero" cbor:"1,keyasint,omitzero"` // only what is about it
	}
	// AuditView is one entry. Entries count from 1 without a gap; each holds the hash of the one before.
	AuditView struct {
		Number   uint64         `json:"number" cbor:"1,keyasint"`
		At       time.Time      `json:"at" cbor:"2,keyasint"`
		By       string         `json:"by,omitempty" cbor:"3,keyasint,omitempty"` // absent: the server
		Command  string         `json:"command" cbor:"4,keyasint"`
		Object   string         `json:"object,omitempty" cbor:"5,keyasint,omitempty"`
		Campaign ident.Campaign `json:"campaign,omitzero" cbor:"6,keyasint,omitzero"`
		Before   uint64         `json:"before,omitempty" cbor:"7,keyasint,omitempty"` // revision of the campaign
		After    uint64         `json:"after,omitempty" cbor:"8,keyasint,omitempty"`
		Body     ident.Digest   `json:"body,omitzero" cbor:"9,keyasint,omitzero"` // of the command
		Outcome  string         `json:"outcome,omitempty" cbor:"10,keyasint,omitempty"`
		Prev     ident.Digest   `json:"prev,omitzero" cbor:"11,keyasint,omitzero"`
		Hash     ident.Digest   `json:"hash" cbor:"12,keyasint"`
	}
	// AuditVerify checks the chain after entry After, which must have Hash where one is given.
	AuditVerify struct {
		After uint64       `json:"after,omitempty" cbor:"1,keyasint,omitempty"`
		Hash  ident.Digest `json:"hash,omitzero" cbor:"2,keyasint,omitzero"`
	}
	// AuditVerified is the reply. Without Fault everything up to Through is as it was written; Done says that Through is
	// the end, else go on from it.
	AuditVerified struct {
		Checked uint64       `json:"checked" cbor:"1,keyasint"`
		Through uint64       `json:"through" cbor:"2,keyasint"`
		Hash    ident.Digest `json:"hash,omitzero" cbor:"3,keyasint,omitzero"` // of entry Through
		Done    bool         `json:"done" cbor:"4,keyasint"`
		At      uint64       `json:"at,omitempty" cbor:"5,keyasint,omitempty"` // the entry that is not good, or is missing
		Fault   string       `json:"fault,omitempty" cbor:"6,keyasint,omitempty"`
	}
	// CampaignEvents lists what happened to a campaign as a whole: commands, and decisions of the server.
	CampaignEvents struct {
		Page
		Campaign ident.Campaign `json:"campaign" cbor:"1,keyasint"`
	}
)

// Validate returns nil or FieldErrors.
func (r AuditList) Validate() error { return r.Page.Validate() }

// Validate returns nil or FieldErrors.
func (r AuditVerify) Validate() error {
	var f faults
	f.check(r.Hash.IsZero() || r.After > 0, "/after", "required with hash")
	return f.err()
}

// Validate returns nil or FieldErrors.
func (r CampaignEvents) Validate() error {
	var f faults
	f.page(r.Page)
	f.check(!r.Campaign.IsZero(), "/campaign", "required")
	return f.err()
}
