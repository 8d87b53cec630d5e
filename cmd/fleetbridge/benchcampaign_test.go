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
		if v := r.Number("value"); !(v > 0) || r["value_min"] != nil {
			t.Errorf("%s of one run is %v", g.name, r)
		}
		if met, ok := r["met"].(bool); ok != (g.most > 0) || ok && met != (r.Number("value") <= g.most) {
			t.Errorf("%s: goal %v, met %v of %v", g.name, g.most, r["met"], r.Number("value"))
		}
	}
}

// TestCampaignResult takes the median of several runs, and holds it against the goal.
func TestCampaignResult(t *testing.T) {
	g := campaignGoal{"plan", "s", 10}
	r := g.result(benchCampaignFlags{}, []float64{12, 10, 3}, 0.05)
	if r.Value != 10 || r.Min != 3 || r.Max != 12 || r.Runs != 3 || r.Others != 0.05 || r.Met == nil || !*r.Met {
		t.Errorf("%+v", r)
	}
	if r := g.result(benchCampaignFlags{}, []float64{10.01}, 0); r.Met == nil || *r.Met || r.Min != 0 || r.Max != 0 {
		t.Errorf("%+v", r)
	}
	if r := (campaignGoal{"disk", "MiB", 0}).result(benchCampaignFlags{}, []float64{1}, 0); r.Met != nil {
		t.Errorf("%+v is held against no goal", r)
	}
}
