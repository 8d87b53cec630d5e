package topics

import (
	"time"

	"fleetbridge/ident"
)

// Quota commands. An admin names the tenant; everyone else has one only.
type (
	// QuotaGet asks for a tenant's quota.
	QuotaGet struct {
		Tenant ident.Tenant `json:"tenant,omitzero" cbor:"1,keyasint,omitzero"`
	}
	// QuotaSet changes it; what is absent stays.
	QuotaSet struct {
		Tenant    ident.Tenant `json:"tenant" cbor:"1,keyasint"`
		Campaigns *int         `json:"campaigns,omitempty" cbor:"2,keyasint,omitempty"` // that run at once; 0: no limit
		Bytes     *int64       `json:"bytes,omitempty" cbor:"3,keyasint,omitempty"`     // of all payloads; 0: no limit
		Grant     int64        `json:"grant,omitempty" cbor:"4,keyasint,omitempty"`     // updates to add, below 0 to take away
		Unlimited bool         `json:"unlimited,omitempty" cbor:"5,keyasint,omitempty"` // updates are counted no longer
		Reason    string       `json:"reason,omitempty" cbor:"6,keyasint,omitempty"`
		Devices   *int         `json:"devices,omitempty" cbor:"60,keyasint,omitempty"` // that are registered; 0: no limit
	}
	// QuotaView is a tenant's quota. Updates are counted from the first grant on.
	QuotaView struct {
		Tenant    ident.Tenant `json:"tenant" cbor:"1,keyasint"`
		Campaigns int          `json:"campaigns" cbor:"2,keyasint"`
		Bytes     int64        `json:"bytes" cbor:"3,keyasint"`
		Counted   bool         `json:"counted" cbor:"4,keyasint"`
		Free      int64        `json:"free" cbor:"5,keyasint"`
		Reserved  uint64       `json:"reserved" cbor:"6,keyasint"`
		Used      uint64       `json:"used" cbor:"7,keyasint"`
		// Devices bounds those Registered; 0: no limit. TurnedAway counts the hellos of devices beyond it, which were not
		// registered, and Waiting are the latest of those devices, the newest first, at most 32.
		Devices    int            `json:"devices" cbor:"60,keyasint"`
		Registered uint64         `json:"registered" cbor:"61,keyasint"`
		TurnedAway uint64         `json:"turned_away,omitempty" cbor:"62,keyasint,omitempty"`
		Waiting    []TurnedDevice `json:"waiting,omitempty" cbor:"63,keyasint,omitempty"`
	}
	// TurnedDevice is a device that said hello and is not registered, because the quota of devices is used up.
	TurnedDevice struct {
		Device ident.Device `json:"device" cbor:"1,keyasint"`
		At     time.Time    `json:"at" cbor:"2,keyasint"` // of its last hello
	}
	// QuotaLedger lists the changes of a tenant's updates, the oldest first.
	QuotaLedger struct {
		Page
		Tenant ident.Tenant `json:"tenant,omitzero" cbor:"1,keyasint,omitzero"`
	}
	// LedgerView is one of them.
	LedgerView struct {
		Number   uint64         `json:"number" cbor:"1,keyasint"`
		At       time.Time      `json:"at" cbor:"2,keyasint"`
		Kind     string         `json:"kind" cbor:"3,keyasint"`
		Amount   int64          `json:"amount" cbor:"4,keyasint"`
		Campaign ident.Campaign `json:"campaign,omitzero" cbor:"5,keyasint,omitzero"`
		By       string         `json:"by,omitempty" cbor:"6,keyasint,omitempty"` // absent: the server
		Reason   string         `json:"reason,omitempty" cbor:"7,keyasint,omitempty"`
		Free     int64          `json:"free" cbor:"8,keyasint"` // after it
	}
)

// Validate returns nil: who may name which tenant is for who knows the sender.
func (r QuotaGet) Validate() error { return nil }

// Validate returns nil or FieldErrors.
func (r QuotaLedger) Validate() error { return r.Page.Validate() }

// Validate returns nil or FieldErrors.
func (r QuotaSet) Validate() error {
	var f faults
	const most = 1 << 53
	f.check(!r.Tenant.IsZero(), "/tenant", "required")
	f.check(r.Campaigns == nil || *r.Campaigns >= 0, "/campaigns", "from 0")
	f.check(r.Devices == nil || *r.Devices >= 0, "/devices", "from 0")
	f.check(r.Bytes == nil || *r.Bytes >= 0, "/bytes", "from 0")
	f.check(r.Grant >= -most && r.Grant <= most, "/grant", "at most 2^53")
	f.check(r.Grant == 0 || !r.Unlimited, "/unlimited", "not together with grant")
	f.text(r.Reason, MaxDetail, "/reason")
	return f.err()
}
