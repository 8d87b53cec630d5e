package campaign

import "time"

// For the tests of the order and the bounds of waves.
var OrderOf = order

// BoundsOf is bounds without filters and strata.
func BoundsOf(waves []Wave, orders []uint64) []uint64 {
	out, _ := bounds(waves, orders, 0, nil)
	return out
}

// CoverOf is bounds with what else decides.
var CoverOf = bounds

// WaveOf is waveOf.
func (c Campaign) WaveOf(order uint64) int { return c.waveOf(order) }

// Phases is the table of phases.
var Phases = phases

// Allowance is allowance.
func (c Campaign) Allowance(confirmed uint64, now time.Time) int { return c.allowance(confirmed, now) }

// Spend is spend.
func (c *Campaign) Spend(confirmed uint64, now time.Time) { c.spend(confirmed, now) }

// Refill is refill.
func (c Campaign) Refill(now time.Time) time.Time { return c.refill(now) }

// MendRate is mendRate.
func (c *Campaign) MendRate(confirmed uint64, now time.Time) { c.mendRate(confirmed, now) }
