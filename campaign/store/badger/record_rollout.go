package badger

import (
	"time"

	"fleetbridge/campaign"
)

// rolloutRecord is the part of policyRecord with the keys 10 to 19.
type rolloutRecord struct {
	Manual             bool          `cbor:"10,keyasint,omitempty"`
	Soak               time.Duration `cbor:"11,keyasint,omitempty"` // nanoseconds
	StartAt            stamp         `cbor:"12,keyasint,omitempty"`
	EndAt              stamp         `cbor:"13,keyasint,omitempty"`
	WaveFailurePercent float64       `cbor:"16,keyasint,omitempty"`
	WaveSilentPercent  float64       `cbor:"17,keyasint,omitempty"`
}

func rolloutRecordOf(r campaign.Rollout) rolloutRecord {
	return rolloutRecord{
		Manual:             r.Manual,
		Soak:               r.Soak,
		StartAt:            stampOf(r.StartAt),
		EndAt:              stampOf(r.EndAt),
		WaveFailurePercent: r.WaveFailurePercent,
		WaveSilentPercent:  r.WaveSilentPercent,
	}
}

func (r rolloutRecord) domain() campaign.Rollout {
	return campaign.Rollout{
		Manual:             r.Manual,
		Soak:               r.Soak,
		StartAt:            r.StartAt.time(),
		EndAt:              r.EndAt.time(),
		WaveFailurePercent: r.WaveFailurePercent,
		WaveSilentPercent:  r.WaveSilentPercent,
	}
}

// paceRecord is the part of campaignRecord with the keys 30 to 39.
type paceRecord struct {
	Released int   `cbor:"30,keyasint,omitempty"`
	MetAt    stamp `cbor:"31,keyasint,omitempty"`
}

func paceRecordOf(p campaign.Pace) paceRecord {
	return paceRecord{Released: p.Released, MetAt: stampOf(p.MetAt)}
}

func (r paceRecord) domain() campaign.Pace {
	return campaign.Pace{Released: r.Released, MetAt: r.MetAt.time()}
}
