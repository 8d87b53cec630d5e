package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fleetbridge/topics"
)

// TestPermitsByHand runs the commands of docs/rollout.md on install permits, exactly those: two devices made of
// mosquitto_pub and mosquitto_sub ask the built server.
func TestPermitsByHand(t *testing.T) {
	needTools(t, "bash", "mosquitto_sub", "mosquitto_pub")
	page, err := os.ReadFile("../../docs/rollout.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := consoleLines(string(page), "Install permits")
	if len(lines) < 25 {
		t.Fatalf("%d commands in the section: the extraction is wrong", len(lines))
	}
	dir, said := runLines(t, lines)
	for device, want := range map[string][]topics.PermitState{
		"pump-1": {topics.PermitGranted}, "pump-2": {topics.PermitWaiting, topics.PermitGranted},
	} {
		text, err := os.ReadFile(filepath.Join(dir, device+".permits"))
		if err != nil {
			t.Fatal(err)
		}
		var have []topics.PermitState
		for line := range strings.Lines(string(text)) {
			p, _, err := topics.DecodePermit([]byte(strings.TrimSpace(line)))
			if err != nil {
				t.Fatalf("%s: %q: %v", device, line, err)
			}
			if p.State == topics.PermitGranted && (p.ExpiresIn < 280 || p.ExpiresIn > 300) {
				t.Errorf("%s may begin within %d s, want the 300 of the default", device, p.ExpiresIn)
			}
			have = append(have, p.State)
		}
		if len(have) != len(want) || have[len(have)-1] != want[len(want)-1] || have[0] != want[0] {
			t.Errorf("%s was told %v, want %v\n%s", device, have, want, said)
		}
	}
}
