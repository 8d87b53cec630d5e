package spec_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleetbridge/internal/spec"
)

type wave struct {
	Percent float64 `json:"percent"`
	Count   int     `json:"count,omitempty"`
}

type policy struct {
	Waves   []wave            `json:"waves"`
	Success *float64          `json:"success_percent"`
	Labels  map[string]string `json:"labels"`
	At      time.Time         `json:"start_at"`
}

type inner struct {
	Limit uint `json:"limit"`
}

type campaign struct {
	inner
	Name   string   `json:"campaign"`
	Tags   []string `json:"tags"`
	Manual bool     `json:"manual"`
	Policy policy   `json:"policy"`
	//lint:ignore U1000 it must not be reachable
	secret string
}

const asTOML = `# spring
campaign = "spring" # the name
tags = ["a", "b"]
manual = true
limit = 7

[policy]
success_percent = 95
start_at = 2026-12-01T02:00:00Z
labels = { site = "north", "a/b" = "x" }

[[policy.waves]]
percent = 5
[[policy.waves]]
count = 10
`

const asJSON = `{"campaign": "spring", "tags": ["a", "b"], "manual": true, "limit": 7,
 "policy": {"success_percent": 95, "start_at": "2026-12-01T02:00:00Z",
  "labels": {"site": "north", "a/b": "x"},
  "waves": [{"percent": 5}, {"count": 10}]}}`

func read(text string) (campaign, *spec.Document, error) {
	var c campaign
	d, err := spec.Parse("c.toml", []byte(text))
	if err == nil {
		err = d.Decode(&c)
	}
	return c, d, err
}

func TestBothFormatsSayTheSame(t *testing.T) {
	ninetyFive := 95.0
	want := campaign{inner: inner{7}, Name: "spring", Tags: []string{"a", "b"}, Manual: true, Policy: policy{
		Success: &ninetyFive, At: time.Date(2026, 12, 1, 2, 0, 0, 0, time.UTC), Labels: map[string]string{"site": "north", "a/b": "x"},
		Waves: []wave{{Percent: 5}, {Count: 10}}}}
	for _, text := range []string{asTOML, asJSON} {
		c, _, err := read(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, c, cmp.AllowUnexported(campaign{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// TestComplaints: each is about its line, shows it, and underlines the place.
func TestComplaints(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown name": {"campaign = \"x\"\n[policy]\nsucess_percent = 90\n",
			"c.toml:3:1: unknown name sucess_percent: success_percent?\n 3 | sucess_percent = 90\n   | ^^^^^^^^^^^^^^"},
		"unknown name, nothing alike": {"[[policy.waves]]\nxxxxxxxx = 1", "c.toml:2:1: unknown name xxxxxxxx: one of count, percent\n 2 | xxxxxxxx = 1\n   | ^^^^^^^^"},
		"wrong type":                  {"manual = \"yes\"", "c.toml:1:10: want true or false\n 1 | manual = \"yes\"\n   |          ^^^^^"},
		"wrong type in a table":       {"policy = { success_percent = \"x\" }", "c.toml:1:30: want a number\n 1 | policy = { success_percent = \"x\" }\n   |                              ^^^"},
		"a table for a text":          {"[campaign]\nx = 1", "c.toml:1:2: want a text, in quotes\n 1 | [campaign]\n   |  ^^^^^^^^"},
		"a text for a table":          {"policy = 3", "c.toml:1:10: want a table\n 1 | policy = 3\n   |          ^"},
		"a fraction":                  {"[[policy.waves]]\ncount = 1.5", "c.toml:2:9: want a whole number\n 2 | count = 1.5\n   |         ^^^"},
		"below 0":                     {"limit = -1", "c.toml:1:9: want a whole number, not below 0\n 1 | limit = -1\n   |         ^^"},
		"an element":                  {"tags = [\"a\", 2]", "c.toml:1:14: want a text, in quotes\n 1 | tags = [\"a\", 2]\n   |              ^"},
		"a date without offset":       {"[policy]\nstart_at = 2026-12-01", "c.toml:2:12: a date with time and offset is wanted, such as 2026-12-01T02:00:00Z\n 2 | start_at = 2026-12-01\n   |            ^^^^^^^^^^"},
		"twice, JSON":                 {"{\"campaign\": \"a\",\n \"campaign\": \"b\"}", "c.toml:2:2: campaign is there twice\n 2 |  \"campaign\": \"b\"}\n   |  ^^^^^^^^^^"},
		"unknown name, JSON":          {"{\n\t\"policy\": {\"wave\": []}}", "c.toml:2:13: unknown name wave: waves?\n 2 |  \"policy\": {\"wave\": []}}\n   |             ^^^^^^"},
		"wrong type, JSON":            {"{\"manual\": 1}", "c.toml:1:12: want true or false\n 1 | {\"manual\": 1}\n   |            ^"},
		"null, JSON":                  {"{\"campaign\": null}", "c.toml:1:14: want a text, in quotes\n 1 | {\"campaign\": null}\n   |              ^^^^"},
		"cut off, JSON":               {"{\"campaign\": ", "c.toml:1:13: the file ends in the middle\n 1 | {\"campaign\": \n   |             ^"},
		"more, JSON":                  {"{} {}", "c.toml:1:4: more after the object's end\n 1 | {} {}\n   |    ^"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := read(c.text)
			if err == nil || !errors.Is(err, spec.ErrInvalid) {
				t.Fatalf("%v", err)
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for name, text := range map[string]string{
		"twice": "campaign = 1\ncampaign = 2", "no value": "campaign =\n", "no end": "campaign = \"x", "brackets": "{]",
		"deep": strings.Repeat(`{"policy":`, 40) + "1" + strings.Repeat("}", 40), "not UTF-8": "campaign = \"\xff\"", "large": strings.Repeat("#", spec.MaxSize+1),
	} {
		if _, _, err := read(text); !errors.Is(err, spec.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAllComplaintsAtOnce(t *testing.T) {
	_, _, err := read("a = 1\nb = 2\nmanual = 3\n")
	all, ok := errors.AsType[spec.Errors](err)
	if !ok || len(all) != 3 || all[0].Line != 1 || all[1].Line != 2 || all[2].Line != 3 {
		t.Errorf("%v", err)
	}
	_, _, err = read(strings.Repeat("x", 1) + " = 1\n" + lines(40))
	if all, ok := errors.AsType[spec.Errors](err); !ok || len(all) != 10 {
		t.Errorf("%v", err)
	}
}

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("k" + strings.Repeat("k", i) + " = 1\n")
	}
	return b.String()
}

// TestAt: a later complaint by pointer finds its line, or the closest one.
func TestAt(t *testing.T) {
	_, d, err := read(asTOML)
	if err != nil {
		t.Fatal(err)
	}
	for pointer, want := range map[string]string{
		"/policy/waves/1/count":   "c.toml:15:9: bad",
		"/policy/waves/0":         "c.toml:12:10: bad",
		"/policy/labels/a~1b":     "c.toml:10:36: bad",
		"/policy/in_flight":       "c.toml:7:2: in_flight: bad",
		"/policy/waves/7/percent": "c.toml:12:10: 7/percent: bad",
		"/manifest":               "c.toml:1:1: manifest: bad",
		"":                        "c.toml:1:1: bad",
	} {
		if got, _, _ := strings.Cut(d.At(pointer, "bad").Error(), "\n"); got != want {
			t.Errorf("%q: %q, want %q", pointer, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(asTOML)
	f.Add(asJSON)
	f.Fuzz(func(t *testing.T, text string) {
		_, d, err := read(text)
		if err != nil && !errors.Is(err, spec.ErrInvalid) {
			t.Fatalf("%v", err)
		}
		if d != nil && d.At("/policy/waves/0", "bad").Error() == "" {
			t.Fatal("no words")
		}
	})
}
