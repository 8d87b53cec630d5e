package topics

import (
	"time"

	"fleetbridge/ident"
)

// Plans of campaigns, and agreement on them.
type (
	// CampaignPlan asks what would run if a draft started now. Limit and Cursor page through its devices, Wave leaves out
	// those of earlier waves. With Plan, a page of another plan is refused (plan-changed).
	CampaignPlan struct {
		Page
		Campaign ident.Campaign `json:"campaign" cbor:"1,keyasint"`
		Wave     int            `json:"wave,omitempty" cbor:"2,keyasint,omitempty"` // from 1
		Plan     ident.Digest   `json:"plan,omitzero" cbor:"3,keyasint,omitzero"`
	}
	// PlanView is the reply. Plan is a digest over the campaign's seed, manifest and policy and its devices in their order:
	// the same digest means the same devices in the same waves.
	PlanView struct {
		Campaign    ident.Campaign  `json:"campaign" cbor:"1,keyasint"`
		Plan        ident.Digest    `json:"plan" cbor:"2,keyasint"`
		Revision    uint64          `json:"revision" cbor:"3,keyasint"`
		At          time.Time       `json:"at" cbor:"4,keyasint"`
		Devices     int             `json:"devices" cbor:"5,keyasint"` // to be offered the manifest
		Bytes       int64           `json:"bytes" cbor:"6,keyasint"`   // that they download
		Waves       []PlanWave      `json:"waves,omitempty" cbor:"7,keyasint,omitempty"`
		Excluded    []PlanExclusion `json:"excluded,omitempty" cbor:"8,keyasint,omitempty"`  // selected, and skipped
		Busy        []PlanBusy      `json:"busy,omitempty" cbor:"9,keyasint,omitempty"`      // of devices, held by other campaigns
		Poisoned    int             `json:"poisoned,omitempty" cbor:"10,keyasint,omitempty"` // of devices, skipped when their turn comes: the payload failed there too often
		Unseen      int             `json:"unseen,omitempty" cbor:"11,keyasint,omitempty"`   // of devices, not heard of within the deadline for an offer
		Unjudged    uint64          `json:"unjudged,omitempty" cbor:"12,keyasint,omitempty"` // left out because the filter failed on them
		Unjudgeable string          `json:"unjudgeable,omitempty" cbor:"13,keyasint,omitempty"`
		Refused     string          `json:"refused,omitempty" cbor:"14,keyasint,omitempty"`  // why a start would be refused
		Forecast    Duration        `json:"forecast,omitempty" cbor:"15,keyasint,omitempty"` // the least time that the policy's pace and windows take
		Items       []PlanDevice    `json:"items" cbor:"16,keyasint"`                        // in the order of their turns
		Next        string          `json:"next,omitempty" cbor:"17,keyasint,omitempty"`
		Late        bool            `json:"late,omitempty" cbor:"18,keyasint,omitempty"` // it expires before the forecast has passed
	}
	// PlanWave is a wave of a plan.
	PlanWave struct {
		Wave    int    `json:"wave" cbor:"1,keyasint"` // from 1
		Devices int    `json:"devices" cbor:"2,keyasint"`
		Filter  string `json:"filter,omitempty" cbor:"3,keyasint,omitempty"`
	}
	// PlanExclusion is a reason for which devices are skipped, with the first of them.
	PlanExclusion struct {
		Reason   string         `json:"reason" cbor:"1,keyasint"`
		Devices  int            `json:"devices" cbor:"2,keyasint"`
		Examples []ident.Device `json:"examples,omitempty" cbor:"3,keyasint,omitempty"`
	}
	// PlanBusy says how many devices another campaign holds.
	PlanBusy struct {
		Campaign ident.Campaign `json:"campaign" cbor:"1,keyasint"`
		Devices  int            `json:"devices" cbor:"2,keyasint"`
	}
	// PlanDevice is a device's place. Note is what is known to be in its way: poisoned or busy.
	PlanDevice struct {
		Device ident.Device `json:"device" cbor:"1,keyasint"`
		Wave   int          `json:"wave" cbor:"2,keyasint"` // from 1
		Note   string       `json:"note,omitempty" cbor:"3,keyasint,omitempty"`
	}
	// CampaignStart starts a draft. With IfPlan the campaign's plan must be that one, now and when its devices are frozen.
	CampaignStart struct {
		CampaignRef
		IfPlan ident.Digest `json:"if_plan,omitzero" cbor:"4,keyasint,omitzero"`
	}
	// CampaignApprove lets a campaign run whose plan is the one named.
	CampaignApprove struct {
		Campaign   ident.Campaign `json:"campaign" cbor:"1,keyasint"`
		IfRevision uint64         `json:"if_revision,omitempty" cbor:"2,keyasint,omitempty"`
		Plan       ident.Digest   `json:"plan" cbor:"3,keyasint"`
	}
)

// Validate returns nil or FieldErrors.
func (r CampaignPlan) Validate() error {
	var f faults
	f.page(r.Page)
	f.check(!r.Campaign.IsZero(), "/campaign", "required")
	f.check(r.Wave >= 0 && r.Wave <= MaxWaves, "/wave", "from 1 to 32")
	return f.err()
}

// Validate returns nil or FieldErrors.
func (r CampaignApprove) Validate() error {
	var f faults
	f.check(!r.Campaign.IsZero(), "/campaign", "required")
	f.digest(r.Plan, "/plan")
	return f.err()
}

// wave checks one wave of a policy: it has one of percent, count and filter.
func (f *faults) wave(w Wave, pointer string) {
	kinds := 0
	for _, has := range []bool{w.Percent != 0, w.Count != 0, w.Filter != ""} {
		if has {
			kinds++
		}
	}
	f.check(isPercent(w.Percent) && w.Count >= 0 && kinds == 1, pointer, "a percent above 0 to 100, a count from 1, or a filter")
	f.filter(w.Filter, pointer+"/filter")
}
