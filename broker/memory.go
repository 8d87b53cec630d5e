package broker

import (
	"runtime/debug"
	"time"
)

// memory gives the memory of a storm of connections back to the system: the runtime would collect what they left only when it
// has allocated as much again, or after minutes. It counts comings and goings, and looks at nothing while there are few.
type memory struct {
	moves int // since the timer was last set
	timer *time.Timer
}

const (
	// storm is how many connections come or go before memory is given back.
	storm = 2000
	// calm is for how long fewer than that come and go before.
	calm = 15 * time.Second
)

// changed counts one connection more or less; the caller holds Broker.mu.
func (m *memory) changed() {
	if m.moves++; m.moves < storm {
		return
	}
	m.moves = 0
	if m.timer == nil {
		m.timer = time.AfterFunc(calm, debug.FreeOSMemory)
		return
	}
	m.timer.Reset(calm)
}

// stop is for the end of the broker.
func (m *memory) stop() {
	if m.timer != nil {
		m.timer.Stop()
	}
}
