package campaign_test

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"fleetbridge/ident"
)

// pass lets time go to the next timer, or by a while.
func (m *model) pass() {
	var next time.Time
	for _, at := range m.timers {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if next.IsZero() || rapid.IntRange(0, 3).Draw(m.rt, "jump") == 0 {
		next = m.now.Add(time.Duration(rapid.IntRange(1, 200).Draw(m.rt, "hours")) * time.Hour)
	}
	if next.After(m.now) {
		m.now = next
	}
	m.wakeTimers()
}

// setClock sets the server's clock back, or far ahead.
func (m *model) setClock() {
	if rapid.Bool().Draw(m.rt, "ahead") {
		m.now = m.now.Add(time.Duration(rapid.IntRange(30, 400).Draw(m.rt, "days")) * 24 * time.Hour)
		m.reached("clock far ahead", m.anyRuns())
		m.wakeTimers()
		return
	}
	m.now = m.now.Add(-time.Duration(rapid.IntRange(1, 100).Draw(m.rt, "hours back")) * time.Hour)
	m.reached("clock set back", m.anyRuns())
	for id, p := range m.parts {
		p.offers = nil
		m.woken[id] = true // its timer runs by the time that has passed, and fires however the clock is set
	}
}

func (m *model) anyRuns() bool {
	return slices.ContainsFunc(m.ids, func(c ident.Campaign) bool { return m.campaign(c).Phase.Running() })
}

func (m *model) wakeTimers() {
	for c, at := range m.timers {
		if !at.After(m.now) {
			m.woken[c] = true
		}
	}
}

// restart is what the server does at its start, if a crash came: topics as the store says, every campaign looked at.
func (m *model) restart() {
	if m.lost == nothing {
		return
	}
	m.lost = nothing
	m.topic = map[ident.Device]ident.Digest{}
	for d, work := range m.m.works {
		if l, ok := work.Shown(); ok {
			m.topic[d] = l.Manifest
		}
	}
	lose := m.lose
	m.lose = nil
	if fixed := m.sweep(); len(fixed) != 0 {
		m.rt.Fatalf("a crash left something to mend: %v", fixed)
	}
	m.lose = lose
	for _, c := range m.ids {
		m.woken[c] = true
	}
}

// settle advances those that were woken, and only those, until none wants more.
func (m *model) settle() {
	for range 3000 {
		m.forget()
		if len(m.woken) == 0 {
			return
		}
		for _, c := range m.ids {
			if _, there := m.m.campaigns[c]; !m.woken[c] || !there {
				continue
			}
			delete(m.woken, c)
			wake := m.advance(c)
			if m.lost != nothing {
				m.restart()
				continue
			}
			if wake.Again {
				m.woken[c] = true
			} else if delete(m.woken, c); wake.At.IsZero() {
				delete(m.timers, c)
			} else {
				m.timers[c] = wake.At
			}
		}
	}
	m.rt.Fatalf("campaigns never rest: %v", m.woken)
}

// finish leaves the fleet alone: every campaign must come to its end by the clock.
func (m *model) finish() {
	for _, c := range m.ids {
		m.woken[c] = true
	}
	for range 20_000 {
		m.settle()
		if !m.anyRuns() {
			m.inspect()
			if len(m.topic) != 0 {
				m.rt.Fatalf("all campaigns have stopped, and topics show %v", m.topic)
			}
			return
		}
		var next time.Time
		for _, at := range m.timers {
			if next.IsZero() || at.Before(next) {
				next = at
			}
		}
		if !next.After(m.now) {
			m.rt.Fatalf("a campaign is running and waits for nothing: timers %v", m.timers)
		}
		m.now = next
		m.wakeTimers()
	}
	m.rt.Fatalf("campaigns do not end")
}

// forget takes out campaigns that are deleted.
func (m *model) forget() {
	for _, c := range m.ids {
		if _, there := m.m.campaigns[c]; !there {
			delete(m.woken, c)
			delete(m.timers, c)
		}
	}
	m.ids = slices.DeleteFunc(m.ids, func(c ident.Campaign) bool {
		_, there := m.m.campaigns[c]
		return !there
	})
	for c := range m.woken { // a word about one that went in the same commit
		if _, there := m.m.campaigns[c]; !there {
			delete(m.woken, c)
		}
	}
}
