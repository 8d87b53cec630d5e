package badger

import (
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

type waveRecord struct {
	Percent float64 `cbor:"1,keyasint,omitempty"`
	Count   int     `cbor:"2,keyasint,omitempty"`
	Filter  string  `cbor:"3,keyasint,omitempty"`
}

type policyRecord struct {
	Waves          []waveRecord                     `cbor:"1,keyasint,omitempty"`
	InFlight       int                              `cbor:"2,keyasint,omitempty"`
	SuccessPercent float64                          `cbor:"3,keyasint,omitempty"`
	FailurePercent float64                          `cbor:"4,keyasint,omitempty"`
	SilentPercent  float64                          `cbor:"5,keyasint,omitempty"`
	MinSample      int                              `cbor:"6,keyasint,omitempty"`
	Deadlines      map[campaign.State]time.Duration `cbor:"7,keyasint,omitempty"` // nanoseconds
	Within         time.Duration                    `cbor:"8,keyasint,omitempty"` // nanoseconds
	Membership     string                           `cbor:"20,keyasint,omitempty"`
	rolloutRecord
	Approval bool        `cbor:"25,keyasint,omitempty"`
	Stratify string      `cbor:"26,keyasint,omitempty"`
	Retry    retryRecord `cbor:"30,keyasint,omitzero"`
	Poison   int         `cbor:"31,keyasint,omitempty"`
	// StopWithin is in nanoseconds.
	StopWithin time.Duration    `cbor:"32,keyasint,omitempty"`
	Permit     permitRuleRecord `cbor:"33,keyasint,omitzero"`
}

type retryRecord struct {
	Max     int           `cbor:"1,keyasint,omitempty"`
	Reasons []string      `cbor:"2,keyasint,omitempty"`
	After   time.Duration `cbor:"3,keyasint,omitempty"` // nanoseconds
}

func policyRecordOf(p campaign.Policy) policyRecord {
	r := policyRecord{
		InFlight:       p.InFlight,
		SuccessPercent: p.SuccessPercent,
		FailurePercent: p.FailurePercent,
		SilentPercent:  p.SilentPercent,
		MinSample:      p.MinSample,
		Deadlines:      p.Deadlines,
		Within:         p.Within,
		Membership:     string(p.Membership),
		rolloutRecord:  rolloutRecordOf(p.Rollout),
		Approval:       p.Approval,
		Stratify:       p.Stratify,
		Retry:          retryRecord(p.Retry),
		Poison:         p.Poison,
		StopWithin:     p.StopWithin,
		Permit:         permitRuleRecord(p.Permit),
	}
	for _, w := range p.Waves {
		r.Waves = append(r.Waves, waveRecord(w))
	}
	return r
}

func (r policyRecord) domain() campaign.Policy {
	p := campaign.Policy{
		InFlight:       r.InFlight,
		SuccessPercent: r.SuccessPercent,
		FailurePercent: r.FailurePercent,
		SilentPercent:  r.SilentPercent,
		MinSample:      r.MinSample,
		Deadlines:      r.Deadlines,
		Within:         r.Within,
		Membership:     campaign.Membership(r.Membership),
		Rollout:        r.rolloutRecord.domain(),
		Approval:       r.Approval,
		Stratify:       r.Stratify,
		Recovery: campaign.Recovery{Retry: campaign.Retry(r.Retry), Poison: r.Poison, StopWithin: r.StopWithin,
			Permit: campaign.PermitRule(r.Permit)},
	}
	for _, w := range r.Waves {
		p.Waves = append(p.Waves, campaign.Wave(w))
	}
	return p
}

type fromRecord struct {
	Campaign string   `cbor:"1,keyasint,omitempty"`
	States   []string `cbor:"2,keyasint,omitempty"`
}

func fromRecordOf(f campaign.From) fromRecord {
	r := fromRecord{Campaign: f.Campaign.String()}
	for _, s := range f.States {
		r.States = append(r.States, string(s))
	}
	return r
}

func (r fromRecord) domain(p *parser) campaign.From {
	f := campaign.From{Campaign: parsed(p, ident.ParseCampaign, r.Campaign)}
	for _, s := range r.States {
		f.States = append(f.States, campaign.State(s))
	}
	return f
}

type campaignRecord struct {
	ID          string            `cbor:"1,keyasint"`
	Description string            `cbor:"2,keyasint,omitempty"`
	Manifest    []byte            `cbor:"3,keyasint,omitempty"`
	Vendor      []byte            `cbor:"4,keyasint,omitempty"`
	Class       []byte            `cbor:"5,keyasint,omitempty"`
	Component   string            `cbor:"6,keyasint,omitempty"`
	Algs        []int64           `cbor:"100,keyasint,omitempty"`
	Payload     []byte            `cbor:"7,keyasint,omitempty"`
	Size        int64             `cbor:"8,keyasint,omitempty"`
	Devices     []string          `cbor:"9,keyasint,omitempty"`  // of the selection
	Labels      map[string]string `cbor:"10,keyasint,omitempty"` // of the selection
	Policy      policyRecord      `cbor:"11,keyasint"`
	Phase       string            `cbor:"12,keyasint,omitempty"`
	Step        string            `cbor:"13,keyasint,omitempty"`
	Outcome     string            `cbor:"14,keyasint,omitempty"`
	Reason      string            `cbor:"15,keyasint,omitempty"`
	Revision    uint64            `cbor:"16,keyasint,omitempty"`
	Seed        []byte            `cbor:"17,keyasint,omitempty"`
	Bounds      []uint64          `cbor:"18,keyasint,omitempty"`
	Cursor      string            `cbor:"19,keyasint,omitempty"`
	Open        int               `cbor:"20,keyasint,omitempty"`
	CreatedBy   string            `cbor:"21,keyasint,omitempty"`
	StartedBy   string            `cbor:"22,keyasint,omitempty"`
	Created     stamp             `cbor:"23,keyasint,omitempty"`
	Started     stamp             `cbor:"24,keyasint,omitempty"`
	ActiveAt    stamp             `cbor:"25,keyasint,omitempty"`
	StoppingAt  stamp             `cbor:"26,keyasint,omitempty"`
	StoppedAt   stamp             `cbor:"27,keyasint,omitempty"`
	paceRecord
	StoppedBy   string     `cbor:"60,keyasint,omitempty"`
	SelectAt    stamp      `cbor:"40,keyasint,omitempty"`
	Unjudged    uint64     `cbor:"41,keyasint,omitempty"`
	Unjudgeable string     `cbor:"42,keyasint,omitempty"`
	Filter      string     `cbor:"43,keyasint,omitempty"` // of the selection
	Abandoned   int        `cbor:"50,keyasint,omitempty"`
	Sequence    uint64     `cbor:"28,keyasint,omitempty"`
	From        fromRecord `cbor:"51,keyasint,omitzero"` // of the selection
	ArchivedBy  string     `cbor:"61,keyasint,omitempty"`
	ArchivedAt  stamp      `cbor:"62,keyasint,omitempty"`
	Reserved    uint64     `cbor:"63,keyasint,omitempty"`
	Metered     bool       `cbor:"64,keyasint,omitempty"`
	agreementRecord
}

func campaignRecordOf(c campaign.Campaign) campaignRecord {
	r := campaignRecord{
		ID:              c.ID.String(),
		Description:     c.Description,
		Manifest:        digestBytes(c.Manifest),
		Vendor:          uuidBytes(c.Vendor),
		Class:           uuidBytes(c.Class),
		Component:       c.Component,
		Algs:            c.Algs,
		Sequence:        c.Sequence,
		Payload:         digestBytes(c.Image),
		Size:            c.Size,
		Labels:          c.Selection.Labels,
		Policy:          policyRecordOf(c.Policy),
		Phase:           string(c.Phase),
		Step:            string(c.Step),
		Outcome:         string(c.Outcome),
		Reason:          c.Reason,
		Revision:        c.Revision,
		Seed:            c.Seed[:],
		Bounds:          c.Bounds,
		Cursor:          c.Cursor.String(),
		Open:            c.Open,
		CreatedBy:       c.CreatedBy,
		StartedBy:       c.StartedBy,
		Created:         stampOf(c.Created),
		Started:         stampOf(c.Started),
		ActiveAt:        stampOf(c.ActiveAt),
		StoppingAt:      stampOf(c.StoppingAt),
		StoppedAt:       stampOf(c.StoppedAt),
		Abandoned:       c.Abandoned,
		From:            fromRecordOf(c.Selection.From),
		paceRecord:      paceRecordOf(c.Pace),
		StoppedBy:       c.StoppedBy,
		ArchivedBy:      c.ArchivedBy,
		ArchivedAt:      stampOf(c.ArchivedAt),
		Reserved:        c.Reserved,
		Metered:         c.Metered,
		SelectAt:        stampOf(c.SelectAt),
		Unjudged:        c.Unjudged,
		Unjudgeable:     c.Unjudgeable,
		Filter:          c.Selection.Filter,
		agreementRecord: agreementRecordOf(c),
	}
	for _, d := range c.Selection.Devices {
		r.Devices = append(r.Devices, d.String())
	}
	return r
}

func (r campaignRecord) domain() (campaign.Campaign, error) {
	var p parser
	c := campaign.Campaign{
		ID:          parsed(&p, ident.ParseCampaign, r.ID),
		Description: r.Description,
		Manifest:    p.digest(r.Manifest),
		Vendor:      p.uuid(r.Vendor),
		Class:       p.uuid(r.Class),
		Component:   r.Component,
		Algs:        r.Algs,
		Sequence:    r.Sequence,
		Image:       p.digest(r.Payload),
		Size:        r.Size,
		Selection:   campaign.Selection{Labels: r.Labels, Filter: r.Filter},
		Policy:      r.Policy.domain(),
		Phase:       campaign.Phase(r.Phase),
		Step:        campaign.Step(r.Step),
		Outcome:     campaign.Outcome(r.Outcome),
		Reason:      r.Reason,
		Revision:    r.Revision,
		Bounds:      r.Bounds,
		Cursor:      parsed(&p, ident.ParseDevice, r.Cursor),
		Open:        r.Open,
		CreatedBy:   r.CreatedBy,
		StartedBy:   r.StartedBy,
		Created:     r.Created.time(),
		Started:     r.Started.time(),
		ActiveAt:    r.ActiveAt.time(),
		StoppingAt:  r.StoppingAt.time(),
		StoppedAt:   r.StoppedAt.time(),
		Abandoned:   r.Abandoned,
		Pace:        r.paceRecord.domain(),
		StoppedBy:   r.StoppedBy,
		ArchivedBy:  r.ArchivedBy,
		ArchivedAt:  r.ArchivedAt.time(),
		Reserved:    r.Reserved,
		Metered:     r.Metered,
		SelectAt:    r.SelectAt.time(),
		Unjudged:    r.Unjudged,
		Unjudgeable: r.Unjudgeable,
		First:       r.First,
		Agreement:   r.agreementRecord.domain(&p),
	}
	p.fixed(c.Seed[:], r.Seed)
	c.Selection.From = r.From.domain(&p)
	for _, d := range r.Devices {
		c.Selection.Devices = append(c.Selection.Devices, parsed(&p, ident.ParseDevice, d))
	}
	return c, p.err
}
