package scenario_test

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleetbridge/internal/spec"
	"fleetbridge/simulator"
	"fleetbridge/simulator/scenario"
	"fleetbridge/topics"
)

func TestLibrary(t *testing.T) {
	names := scenario.Names()
	if len(names) < 17 {
		t.Fatalf("%d scenarios found", len(names))
	}
	for _, name := range names {
		text, ok := scenario.Source(name)
		if !ok {
			t.Fatalf("%s: no text", name)
		}
		s, _, err := scenario.Parse(name, text)
		if err != nil {
			t.Error(err)
		}
		if s.About == "" || len(s.Summary) > 80 {
			t.Errorf("%s: it must say what it shows", name)
		}
	}
	if _, ok := scenario.Source("../scenario"); ok {
		t.Error("a name leads out of the library")
	}
}

const least = `summary = "x"
[[group]]
name = "g"
devices = 3
[[campaign]]
name = "c"
version = "2"
[[expect]]
campaign = "c"
outcome = "succeeded"
`

func TestParse(t *testing.T) {
	if _, _, err := scenario.Parse("f", []byte(least)); err != nil {
		t.Fatal(err)
	}
	action := func(text string) string { return least + "[[action]]\n" + text }
	for name, tt := range map[string]struct{ text, want string }{
		"no group":             {`summary = "x"`, "group: 1 to 16 groups"},
		"no summary":           {strings.Replace(least, `summary = "x"`, "", 1), "summary: one line"},
		"no time":              {"within = \"0s\"\n" + least, "f:1:10: more than 0"},
		"no devices":           {strings.Replace(least, "devices = 3", "devices = 0", 1), "f:4:11: at least 1"},
		"group twice":          {least + "[[group]]\nname = \"g\"\ndevices = 1", "f:12:8: a name of its own"},
		"campaign twice":       {least + "[[campaign]]\nname = \"c\"\nversion = \"3\"", "f:12:8: a name of its own"},
		"no version":           {strings.Replace(least, `version = "2"`, "", 1), "version: the release"},
		"expects of nothing":   {strings.Replace(least, `outcome = "succeeded"`, "", 1), "outcome: nothing is expected"},
		"expects of nobody":    {strings.Replace(least, "[[expect]]\ncampaign = \"c\"", "[[expect]]\ncampaign = \"d\"", 1), "no such campaign"},
		"an unknown state":     {least + "counts = { finished = 3 }", "f:11:23: no such state"},
		"an unknown reason":    {least + "reasons = { rolled-back = 3 }", "f:11:27: a state and a reason"},
		"a bad range":          {least + "counts = { failed = \"3..1\" }", "f:11:21: want a number, or a range"},
		"a bad size":           {"payload = \"2GiB\"\n" + least, "f:1:11: want bytes"},
		"power of no group":    {action(`do = "off"`), "group: no such group"},
		"command on nothing":   {action(`do = "stop"`), "campaign: whose?"},
		"an unknown action":    {action(`do = "dance"`), "f:12:6: one of start"},
		"refused power":        {action("do = \"off\"\ngroup = \"g\"\nrefused = \"not-allowed\""), "f:12:6: a command is wanted"},
		"an unknown answer":    {least + "answers = { maybe = 3 }", "f:11:21: no such answer"},
		"reopens":              {strings.Replace(least, `version = "2"`, "version = \"2\"\nreopens = true", 1), "f:8:11: what never closes"},
		"a moment of nobody":   {action("do = \"wait\"\nwhen = \"active\""), "f:13:8: a moment of which campaign?"},
		"a moment of somebody": {action("do = \"wait\"\ncampaign = \"d\""), "f:13:12: no such campaign"},
	} {
		if _, _, err := scenario.Parse("f", []byte(tt.text)); !errors.Is(err, spec.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRange(t *testing.T) {
	for text, tt := range map[string]struct {
		in, out []uint64
		back    string
	}{
		`5`:      {[]uint64{5}, []uint64{4, 6}, "5"},
		`"5"`:    {[]uint64{5}, []uint64{4, 6}, "5"},
		`"2..4"`: {[]uint64{2, 3, 4}, []uint64{1, 5}, "2..4"},
		`"1.."`:  {[]uint64{1, 1 << 60}, []uint64{0}, "1.."},
	} {
		var r scenario.Range
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		for _, n := range tt.in {
			if !r.Holds(n) {
				t.Errorf("%s does not hold %d", text, n)
			}
		}
		for _, n := range tt.out {
			if r.Holds(n) {
				t.Errorf("%s holds %d", text, n)
			}
		}
		if r.String() != tt.back {
			t.Errorf("%s prints as %s", text, r)
		}
	}
	for _, wrong := range []string{`-1`, `1.5`, `"x"`, `"..3"`, `"3..x"`, `true`} {
		var r scenario.Range
		if err := json.Unmarshal([]byte(wrong), &r); err == nil {
			t.Errorf("%s: %s", wrong, r)
		}
	}
}

func TestJudge(t *testing.T) {
	total := scenario.Range{Low: 10, High: 10}
	e := scenario.Expect{Campaign: "c", Outcome: "autostopped", Reason: "wave 1", Total: &total,
		Counts: map[string]scenario.Range{"failed": {Low: 2, High: 3}}, Reasons: map[string]scenario.Range{"failed no-space": {Low: 2, High: 2}},
		Answers: map[string]scenario.Range{"stopped": {Low: 4, High: 4}}, AtOnce: map[string]scenario.Range{"north": {Low: 1, High: 2}}, OffersOver: topics.Duration(3 * time.Second)}
	p := topics.Progress{State: "stopped", Outcome: "autostopped", Reason: "wave 1: bad", Total: 10, Counts: map[string]uint64{"failed": 2, "withdrawn": 8}}
	for _, c := range e.Judge(scenario.Outcome{Progress: p, Reasons: map[string]int{"failed no-space": 2}, Answers: map[string]int{"stopped": 4},
		AtOnce: map[string]int{"north": 2}, Offers: 3 * time.Second}) {
		if !c.OK {
			t.Errorf("%+v", c)
		}
	}
	p = topics.Progress{State: "active", Reason: "x", Total: 11, Counts: map[string]uint64{"failed": 4}}
	var wrong []string
	for _, c := range e.Judge(scenario.Outcome{Progress: p, AtOnce: map[string]int{"north": 3}, Offers: 3*time.Second - 1}) {
		if !c.OK {
			wrong = append(wrong, c.What)
		}
	}
	if diff := cmp.Diff([]string{"state", "outcome", "reason", "devices", "failed", "failed no-space", "answer stopped",
		"most installing at once, as devices tell: north", "offers spread over", "counts add up"}, wrong); diff != "" {
		t.Error(diff)
	}
}

func TestWindow(t *testing.T) {
	now := time.Date(2026, 11, 24, 23, 59, 58, 0, time.FixedZone("x", 3600))
	c := scenario.Campaign{OpenFor: topics.Duration(4 * time.Second)}
	want := []topics.Window{{Cron: "58 22 * * *", Duration: topics.Duration(122 * time.Second)}}
	if diff := cmp.Diff(want, c.Windows(now)); diff != "" {
		t.Error(diff)
	}
	c.Reopens = true // closes at 23:00:02, shut until 23:00:04 at least
	want = append(want, topics.Window{Cron: "1 23 * * *", Duration: topics.Duration(time.Hour)})
	if diff := cmp.Diff(want, c.Windows(now)); diff != "" {
		t.Error(diff)
	}
	if len((scenario.Campaign{}).Windows(now)) != 0 {
		t.Error("a window of nothing")
	}
}

func TestAtOnce(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	span := func(from, to int) simulator.Span { return simulator.Span{From: at(from), To: at(to)} }
	for name, tt := range map[string]struct {
		spans []simulator.Span
		want  int
	}{
		"none":      {nil, 0},
		"in turn":   {[]simulator.Span{span(3, 4), span(1, 3), span(4, 9)}, 1},
		"nested":    {[]simulator.Span{span(1, 9), span(2, 3), span(4, 5)}, 2},
		"all":       {[]simulator.Span{span(1, 9), span(2, 8), span(3, 7), span(10, 11)}, 3},
		"never end": {[]simulator.Span{{From: at(1)}, {From: at(2)}, span(5, 6)}, 3},
	} {
		if have := scenario.AtOnce(tt.spans); have != tt.want {
			t.Errorf("%s: %d, want %d", name, have, tt.want)
		}
	}
}

// TestDocumented finds each member of a scenario in its reference.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/scenarios.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[scenario.Scenario](), reflect.TypeFor[scenario.Group](), reflect.TypeFor[scenario.Campaign](),
		reflect.TypeFor[scenario.Action](), reflect.TypeFor[scenario.Expect]()} {
		for i := range typ.NumField() {
			name := typ.Field(i).Tag.Get("json")
			if !strings.Contains(string(text), "`"+name+"`") && !strings.Contains(string(text), "`[["+name+"]]`") {
				t.Errorf("docs/scenarios.md lacks `%s`", name)
			}
		}
	}
}
