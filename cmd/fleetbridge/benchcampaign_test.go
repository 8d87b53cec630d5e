package main

import "testing"

// TestBenchCampaign runs the benchmark on a small registry: it measures everything that it names, and says for each goal
// whether it was met.
func TestBenchCampaign(t *testing.T) {
	records := runBenchCommand(t, "campaign", "--devices", "60", "--noisy")
	if len(records) != len(campaignGoals) {
		t.Fatalf("%d records, want %d: %v", len(records), len(campaignGoals), records)
	}
	for i, g := range campaignGoals {
		r := records[i]
		if r.Text("bench") != "campaign" || r.Text("case") != g.name || r.Text("unit") != g.unit || r.Number("devices") != 60 {
			t.Errorf("record %d is %v, want %s in %s", i, r, g.name, g.unit)
		}
		if v := r.Number("value"); !(v > 0) || r.Number("value_min") != v || r.Number("value_max") != v {
			t.Errorf("%s of one run is %v", g.name, r)
		}
		if met, ok := r["met"].(bool); ok != (g.most > 0) || ok && met != (r.Number("value") <= g.most) {
			t.Errorf("%s: goal %v, met %v of %v", g.name, g.most, r["met"], r.Number("value"))
		}
	}
}
