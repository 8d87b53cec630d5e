package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"fleetbridge/topics"
)

// triedElsewhere are the problems that no command of a script can bring about, and who does.
var triedElsewhere = map[string]string{
	topics.ProblemRetainedCommand:     "../../bridge/command_test.go",
	topics.ProblemResponseTopicDenied: "../../bridge/command_test.go",
	topics.ProblemDeadlinePassed:      "../../bridge/scans_test.go",
	topics.ProblemStoreUnavailable:    "../../bridge/crash_test.go",
	topics.ProblemInternal:            "../../bridge/internal_test.go",
	topics.ProblemFetchOutOfRange:     "../../bridge/device_test.go",
	topics.ProblemChunkTooLarge:       "../../bridge/fetch_test.go",
	topics.ProblemTooManyTransfers:    "../../internal/httpapi/payload_test.go",
}

// TestEveryProblemIsTried: a script shows each problem of the contract as somebody meets it, or a test that is named here.
func TestEveryProblemIsTried(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(scripts) < 10 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	var all strings.Builder
	for _, name := range scripts {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	names := constants(t)
	for _, p := range topics.Problems {
		elsewhere, ok := triedElsewhere[p.Type]
		shown := regexp.MustCompile(`(?m)^std(out|err) .*\b` + regexp.QuoteMeta(p.Type) + `\b`).MatchString(all.String())
		switch {
		case !ok && !shown:
			t.Errorf("%s: no script shows it", p.Type)
		case ok && !shown:
			b, err := os.ReadFile(elsewhere)
			if err != nil || !strings.Contains(string(b), names[p.Type]) {
				t.Errorf("%s: %s does not try it: %v", p.Type, elsewhere, err)
			}
		}
	}
}

// constants are the names of the problem types in package topics.
func constants(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("../../topics/problem.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t(Problem\w+)\s+= "([a-z-]+)"$`).FindAllStringSubmatch(string(b), -1) {
		names[m[2]] = m[1]
	}
	if len(names) != len(topics.Problems) {
		t.Fatalf("%d constants, %d problems", len(names), len(topics.Problems))
	}
	return names
}
