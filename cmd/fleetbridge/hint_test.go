package main

import (
	"strings"
	"testing"

	"fleetbridge/topics"
)

// TestHintsNameCommandLines finds each command line that a hint names, and no command of the contract that has one.
func TestHintsNameCommandLines(t *testing.T) {
	root := newRoot(&app{env: env{getenv: func(string) string { return "" }}})
	for i := 0; i < len(ourCommands); i += 2 {
		if got, rest, err := root.Find(strings.Fields(ourCommands[i+1])); err != nil || len(rest) > 0 || got.RunE == nil {
			t.Errorf("%s: no such command line: %v", ourCommands[i+1], err)
		}
	}
	for _, p := range topics.Problems {
		hint := commandHint(p)
		for _, topic := range []string{"campaign/", "device/", "trust/", "credential/", "tenant/"} {
			if strings.Contains(hint, topic) && !strings.Contains(hint, "fleet/v1/") && !strings.Contains(hint, "tenant/name") {
				t.Errorf("%s: %s", p.Type, hint)
			}
		}
	}
}
