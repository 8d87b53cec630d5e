package badger

import (
	"time"

	"fleetbridge/campaign"
)

// rolloutRecord is the part of policyRecord with the keys 10 to 19.
type rolloutRecord struct {
	Manual             bool           `cbor:"10,keyasint,omitempty"`
	Soak               time.Duration  `cbor:"11,keyasint,omitempty"` // nanoseconds
	StartAt            stamp          `cbor:"12,keyasint,omitempty"`
	EndAt              stamp          `cbor:"13,keyasint,omitempty"`
	Windows            []windowRecord `cbor:"14,keyasint,omitempty"`
	Rate               *rateRecord    `cbor:"15,keyasint,omitempty"`
	WaveFailurePercent float64        `cbor:"16,keyasint,omitempty"`
	WaveSilentPercent  float64        `cbor:"17,keyasint,omitempty"`
	Priority           int            `cbor:"18,keyasint,omitempty"`
}

type windowRecord struct {
	Cron     string        `cbor:"1,keyasint,omitempty"`
	Duration time.Duration `cbor:"2,keyasint,omitempty"` // nanoseconds
	Zone     string        `cbor:"3,keyasint,omitempty"`
}

type rateRecord struct {
	PerMinute float64 `cbor:"1,keyasint,omitempty"`
	Factor    float64 `cbor:"2,keyasint,omitempty"`
	Every     int     `cbor:"3,keyasint,omitempty"`
	Max       float64 `cbor:"4,keyasint,omitempty"`
}

func rolloutRecordOf(r campaign.Rollout) rolloutRecord {
	out := rolloutRecord{
		Manual:             r.Manual,
		Soak:               r.Soak,
		StartAt:            stampOf(r.StartAt),
		EndAt:              stampOf(r.EndAt),
		WaveFailurePercent: r.WaveFailurePercent,
		WaveSilentPercent:  r.WaveSilentPercent,
		Priority:           r.Priority,
	}
	for _, w := range r.Windows {
		out.Windows = append(out.Windows, windowRecord(w))
	}
	if r.Rate != (campaign.Rate{}) {
		rate := rateRecord(r.Rate)
		out.Rate = &rate
	}
	return out
}

func (r rolloutRecord) domain() campaign.Rollout {
	out := campaign.Rollout{
		Manual:             r.Manual,
		Soak:               r.Soak,
		StartAt:            r.StartAt.time(),
		EndAt:              r.EndAt.time(),
		WaveFailurePercent: r.WaveFailurePercent,
		WaveSilentPercent:  r.WaveSilentPercent,
		Priority:           r.Priority,
	}
	for _, w := range r.Windows {
		out.Windows = append(out.Windows, campaign.Window(w))
	}
	if r.Rate != nil {
		out.Rate = campaign.Rate(*r.Rate)
	}
	return out
}

// paceRecord is the part of campaignRecord with the keys 30 to 39.
type paceRecord struct {
	Released  int   `cbor:"30,keyasint,omitempty"`
	MetAt     stamp `cbor:"31,keyasint,omitempty"`
	PaidUntil stamp `cbor:"32,keyasint,omitempty"`
}

func paceRecordOf(p campaign.Pace) paceRecord {
	return paceRecord{Released: p.Released, MetAt: stampOf(p.MetAt), PaidUntil: stampOf(p.PaidUntil)}
}

func (r paceRecord) domain() campaign.Pace {
	return campaign.Pace{Released: r.Released, MetAt: r.MetAt.time(), PaidUntil: r.PaidUntil.time()}
}
