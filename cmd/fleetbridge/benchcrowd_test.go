package main

import "testing"

// TestBenchCrowds runs the benches of many devices on a few: no figure is judged, but that there are all, and that everybody is
// served.
func TestBenchCrowds(t *testing.T) {
	tests := []struct {
		args           []string
		positive, with []string // figures above 0; with: where mosquitto is installed
	}{
		{[]string{"connect", "--devices", "30", "--runs", "1", "--in-flight", "7"},
			[]string{"ours_per_s", "p50_ms", "p99_ms", "in_flight"}, []string{"peer_per_s", "peer_p99_ms"}},
		{[]string{"idle", "--devices", "30", "--runs", "1", "--duration", "100ms"},
			[]string{"rss_kib_per_device", "rss_goal", "cpu_goal", "watched_s"}, nil},
		{[]string{"storm", "--devices", "30", "--runs", "2", "--rest", "10ms"},
			[]string{"served", "ours_s", "manifest_size", "goal", "rss_before_bytes", "rss_peak_bytes", "rss_after_bytes", "rss_ratio"}, []string{"peer_s"}},
	}
	for _, tt := range tests {
		t.Run(tt.args[0], func(t *testing.T) {
			measured, missing := peers(runBenchCommand(t, append(tt.args, "--noisy")...))
			if len(measured) != 1 {
				t.Fatalf("%d results", len(measured))
			}
			r := measured[0]
			figures(t, r, tt.positive...)
			if missing == 0 {
				figures(t, r, tt.with...)
			}
			for _, k := range []string{"devices", "served"} {
				if r[k] != nil && r[k] != 30.0 {
					t.Errorf("%s is %v", k, r[k])
				}
			}
		})
	}
}
