package campaign

import "maps"

// Counts says how many assignments of a campaign stand in each state, wave by wave, and how many reports are recorded.
// The store keeps it in the same commit as the assignments; it always equals a scan of them.
type Counts struct {
	Waves   []map[State]uint64
	Reports uint64
}

// Add changes the count of state s in wave by n (which may be negative), growing Waves as needed.
func (c *Counts) Add(wave int, s State, n int64) {
	for len(c.Waves) <= wave {
		c.Waves = append(c.Waves, map[State]uint64{})
	}
	if v := int64(c.Waves[wave][s]) + n; v != 0 {
		c.Waves[wave][s] = uint64(v)
	} else {
		delete(c.Waves[wave], s)
	}
}

// Of sums the given states over all waves.
func (c Counts) Of(states ...State) uint64 {
	var n uint64
	for i := range c.Waves {
		n += c.InWave(i, states...)
	}
	return n
}

// InWave sums the given states in one wave; a wave that has no assignment counts 0.
func (c Counts) InWave(wave int, states ...State) uint64 {
	if wave >= len(c.Waves) {
		return 0
	}
	var n uint64
	for _, s := range states {
		n += c.Waves[wave][s]
	}
	return n
}

// Total is the number of assignments.
func (c Counts) Total() uint64 { return c.Of(States...) }

// Clone returns a copy that shares nothing with c.
func (c Counts) Clone() Counts {
	w := make([]map[State]uint64, len(c.Waves))
	for i := range c.Waves {
		w[i] = maps.Clone(c.Waves[i])
	}
	return Counts{Waves: w, Reports: c.Reports}
}
