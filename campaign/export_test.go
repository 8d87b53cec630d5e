package campaign

// For the tests of the order and the bounds of waves.
var (
	OrderOf  = order
	BoundsOf = bounds
)

// WaveOf is waveOf.
func (c Campaign) WaveOf(order uint64) int { return c.waveOf(order) }

// Phases is the table of phases.
var Phases = phases
