package main

import (
	"fmt"
	"testing"

	"fleetbridge/topics"
)

func TestGoals(t *testing.T) {
	at := func(state, outcome string, wave int, confirmed uint64) topics.Progress {
		return topics.Progress{State: state, Outcome: outcome, Wave: wave, Total: 20, Counts: map[string]uint64{"confirmed": confirmed},
			Waves: make([]topics.WaveProgress, 3)}
	}
	draft, active, paused := at("draft", "", 1, 0), at("active", "", 2, 5), at("paused", "", 2, 5)
	good, bad, archived := at("stopped", "succeeded", 3, 18), at("stopped", "autostopped", 2, 5), at("archived", "succeeded", 3, 18)
	draft.Waves, draft.Total = nil, 0
	refused := topics.Progress{State: "stopped", Outcome: "refused"}
	for _, tt := range []struct {
		goal string
		p    topics.Progress
		want verdict
	}{
		{"succeeded", active, notYet}, {"succeeded", good, reached}, {"succeeded", bad, never}, {"succeeded", archived, reached},
		{"stopped", active, notYet}, {"stopped", at("stopping", "autostopped", 1, 0), notYet}, {"stopped", good, reached}, {"stopped", bad, reached}, {"stopped", archived, reached},
		{"active", draft, notYet}, {"active", at("starting", "", 1, 0), notYet}, {"active", active, reached}, {"active", paused, reached}, {"active", bad, reached},
		{"paused", active, notYet}, {"paused", paused, reached}, {"paused", good, never},
		{"wave:1", draft, notYet}, {"wave:1", at("starting", "", 1, 0), notYet}, {"wave:1", at("active", "", 1, 0), reached},
		{"wave:2", active, reached}, {"wave:2", paused, reached}, {"wave:3", active, notYet}, {"wave:3", bad, never}, {"wave:3", good, reached},
		{"wave:4", draft, notYet}, {"wave:4", active, never}, {"wave:4", good, never},
		{"active", refused, never}, {"stopped", refused, reached}, {"starting", refused, reached},
		{"confirmed:5", draft, notYet}, {"confirmed:5", active, reached}, {"confirmed:6", active, notYet}, {"confirmed:6", bad, never}, {"confirmed:25%", active, reached},
		{"confirmed:26%", active, notYet}, {"confirmed:10%", draft, notYet},
	} {
		g, err := parseGoal(tt.goal)
		if err != nil {
			t.Fatal(err)
		}
		if got := g(tt.p); got != tt.want {
			t.Errorf("%s at %s %s, wave %d, %v: %v, want %v", tt.goal, tt.p.State, tt.p.Outcome, tt.p.Wave, tt.p.Counts, got, tt.want)
		}
	}
	for _, wrong := range []string{"", "finished", "wave", "wave:0", "wave:x", "confirmed:", "confirmed:0", "confirmed:101%", "confirmed:NaN"} {
		if _, err := parseGoal(wrong); exitCode(err) != exitUsage {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// TestOverlay sets what is named and leaves the rest, deep down too.
func TestOverlay(t *testing.T) {
	ninety, five := 90.0, 5.0
	base := topics.Policy{Waves: []topics.Wave{{Count: 3}, {Percent: 10}, {Percent: 100}}, InFlight: 7, SuccessPercent: &ninety, Deadlines: topics.Deadlines{Offered: 10, Received: 20}}
	if err := overlay(&base, topics.Policy{Waves: []topics.Wave{{Percent: 50}, {Count: 1}}, FailurePercent: &five, Deadlines: topics.Deadlines{Received: 30}}); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(base.Waves, base.InFlight, *base.SuccessPercent, *base.FailurePercent, base.Deadlines.Offered, base.Deadlines.Received)
	if want := "[{50 0 } {0 1 }] 7 90 5 10 30"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
