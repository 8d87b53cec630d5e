package topics_test

import (
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"fleetbridge/topics"
)

// TestRolloutIsDocumented finds each member that says how a campaign is paced in docs/rollout.md.
func TestRolloutIsDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/rollout.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, typ := range []reflect.Type{reflect.TypeFor[topics.Policy](), reflect.TypeFor[topics.Window](), reflect.TypeFor[topics.Rate]()} {
		for i := range typ.NumField() {
			f := typ.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("cbor"), ",")
			if n, err := strconv.Atoi(key); err != nil || n >= 20 {
				continue // has a page of its own
			}
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			found++
			if doc := string(b); name != "deadlines" && !strings.Contains(doc, "`"+name+"`") && !strings.Contains(doc, "."+name+"`") && !strings.Contains(doc, "`"+name+".") {
				t.Errorf("docs/rollout.md lacks `%s`", name)
			}
		}
	}
	if found < 20 {
		t.Errorf("%d members looked at", found)
	}
}
