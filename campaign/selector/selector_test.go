package selector_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"fleetbridge/campaign/selector"
	"fleetbridge/ident"
)

var (
	now    = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	class  = uuid.MustParse("22222222-aaaa-4222-8222-222222222222")
	vendor = uuid.MustParse("11111111-bbbb-4111-8111-111111111111")
	image  = ident.SumDigest([]byte("image"))
)

// lamp is the device of the tests.
func lamp(t testing.TB) selector.Device {
	t.Helper()
	id, err := ident.ParseDevice("lamp-7")
	if err != nil {
		t.Fatal(err)
	}
	return selector.Device{
		ID: id, Vendor: vendor, Class: class, Component: "00", Boot: 12, LastSeen: now.Add(-time.Hour),
		Installed: []selector.Image{{Component: "00", Digest: image, Version: "2.4.10"}, {Component: "01", Version: "mystery"}},
		Labels:    map[string]string{"ring": "canary", "site": "oslo-1", "a b": "c"},
		Facts:     map[string]string{"radio": "lte"},
		Groups:    []string{"north", "prod"},
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		filter string
		want   bool
	}{
		{`id == "lamp-7"`, true},
		{`id startsWith "lamp-"`, true},
		{`id matches "^lamp-[0-9]+$"`, true},
		{`id matches "^lamp-[8-9]+$"`, false},
		{`class == "22222222-AAAA-4222-8222-222222222222"`, true},
		{`"22222222-AAAA-4222-8222-222222222222" == class`, true},
		{`class in ["22222222-AAAA-4222-8222-222222222222"]`, true},
		{`class != "22222222-AAAA-4222-8222-222222222222"`, false},
		{`vendor == "11111111-bbbb-4111-8111-111111111111"`, true},
		{`version < semver("2.5.0")`, true},
		{`version < semver("2.4.9")`, false},
		{`version <= semver("2.4.10")`, true},
		{`version == semver("v2.4.10+build.7")`, true},
		{`version != semver("2.4.10")`, false},
		{`semver("2.5.0") > version`, true},
		{`semver("2.4.9") > version`, false},
		{`version >= semver("2.4.10-rc.1")`, true},
		{`versions["00"] > semver("2.4")`, true},
		{`version == "2.4.10"`, true},
		{`digest == "` + image.String() + `"`, true},
		{`installed["00"] == "` + image.String() + `" && "01" in installed`, true},
		{`boot > 10 && boot <= 12`, true},
		{`boot == -1`, false},
		{`seen_within("72h")`, true},
		{`seen_within("1h")`, true},
		{`seen_within("59m")`, false},
		{`last_seen < "2026-11-24T12:00:00+01:00"`, false},
		{`last_seen >= "2026-11-24T12:00:00+01:00"`, true},
		{`"2026-11-24T11:00:00Z" == last_seen`, true},
		{`labels.ring == "canary" && "prod" in groups`, true},
		{`labels["a b"] == "c"`, true},
		{`labels.ring in ["beta", "canary"]`, true},
		{`labels.ring not in ["beta", "canary"]`, false},
		{`labels.missing == ""`, true},
		{`labels.missing == "x"`, false},
		{`"missing" in labels`, false},
		{`"ring" in labels`, true},
		{`facts.radio == "lte" and not (facts.radio == "nb")`, true},
		{`"south" in groups || labels.site startsWith "oslo"`, true},
		{`!("south" in groups)`, true},
		{`labels.ring == facts.radio`, false},
		{`true`, true},
		{`ring=canary`, true},
		{`ring=canary,site in (oslo-1, oslo-2)`, true},
		{`ring!=canary`, false},
		{`ring notin (a,b),facts.radio=lte`, true},
		{`version=2.4.10`, true},
		{`ring=`, false},
		{strings.Repeat("(", 2000) + "true" + strings.Repeat(")", 2000), true},
	}
	for _, tt := range tests {
		t.Run(tt.filter, func(t *testing.T) {
			f, err := selector.Compile(tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.Match(lamp(t), now)
			if err != nil || got != tt.want {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// TestMatchNothingKnown: what a device has not said compares as empty, and was never seen.
func TestMatchNothingKnown(t *testing.T) {
	for filter, want := range map[string]bool{
		`labels.ring == ""`: true, `facts.x != ""`: false, `version == ""`: true, `digest == ""`: true, `installed["00"] == ""`: true,
		`boot == 0`: true, `seen_within("876000h")`: false, `last_seen < "1970-01-01T00:00:00Z"`: true, `"a" in groups`: false,
	} {
		f, err := selector.Compile(filter)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.Match(selector.Device{}, now); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", filter, got, err, want)
		}
	}
}

// TestMatchFails: a version that is none selects nobody, whatever the comparison, and says why.
func TestMatchFails(t *testing.T) {
	for _, filter := range []string{`versions["01"] < semver("9.0.0")`, `versions["01"] >= semver("0.0.0")`, `!(versions["01"] == semver("1.0.0"))`, `labels.none < semver("1.0.0")`} {
		f, err := selector.Compile(filter)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.Match(lamp(t), now)
		if err == nil || got || !strings.Contains(err.Error(), "is not a version") {
			t.Errorf("%s: %v, %v", filter, got, err)
		}
	}
	f, err := selector.Compile(`labels.ring == "beta" && versions["01"] < semver("9.0.0")`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Match(lamp(t), now); got || err != nil {
		t.Errorf("what is not looked at does not fail: %v, %v", got, err)
	}
}

func TestCompileRefuses(t *testing.T) {
	tests := []struct {
		filter       string
		line, column int
		message      string
	}{
		{`lables.ring == "canary"`, 1, 1, "did you mean labels?"},
		{`labels.ring == canary`, 1, 16, "unknown name canary"},
		{"labels.ring == \"a\" &&\n  labels.ring = \"b\"", 2, 15, ""},
		{`version < "2.5.0"`, 1, 9, `semver("…")`},
		{`version < semver("2.x")`, 1, 18, "is not a version"},
		{`version < semver(labels.v)`, 1, 11, "one text in quotes"},
		{`semver("1.0.0") < semver("2.0.0")`, 1, 17, "can't be compared"},
		{`boot < "5"`, 1, 6, "can't be compared"},
		{`class == "esp32"`, 1, 10, "is a UUID"},
		{`last_seen < "yesterday"`, 1, 13, "compared with a time"},
		{`seen_within("3 days")`, 1, 13, "not a duration"},
		{`id matches "("`, 1, 12, "missing closing"},
		{`id matches labels.x`, 1, 19, "pattern in quotes"},
		{`labels.ring`, 1, 8, "a condition is wanted"},
		{`all(groups, # == "a")`, 1, 1, ""},
		{`len(groups) > 1`, 1, 1, "not a function"},
		{`let x = 1; true`, 1, 1, ""},
		{`boot + 1 == 2`, 1, 6, "operator +"},
		{`boot > 1 ? true : false`, 1, 1, ""},
		{`labels?.ring == "a"`, 1, 1, ""},
		{`labels[id] == "a"`, 1, 8, "name is a text"},
		{`id in id`, 1, 7, "in takes a list"},
		{`id in [1]`, 1, 8, "texts only"},
		{`nil == nil`, 1, 1, "not a part"},
		{`now == 1`, 1, 1, "unknown name now"},
		{`semver_compare("1", "2") == 0`, 1, 1, "not a function"},
		{``, 1, 1, ""},
		{`,`, 1, 1, ""},
		{`boot != 1 && rings != 2`, 1, 14, "unknown name rings"},
		{strings.Repeat(`true||`, 600) + "true", 1, 1, "nodes"},
		{strings.Repeat(" ", selector.MaxText) + "true", 1, 1, "bytes, at most"},
		{"id == \"\xff\"", 1, 1, "not UTF-8"},
		{`id matches "` + strings.Repeat("a", selector.MaxPattern+1) + `"`, 1, 12, "the pattern has"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%.40s", tt.filter), func(t *testing.T) {
			_, err := selector.Compile(tt.filter)
			e, ok := errors.AsType[*selector.Error](err)
			if !ok {
				t.Fatalf("got %v, want an *Error", err)
			}
			if !strings.Contains(e.Message, tt.message) {
				t.Errorf("message %q, want %q in it", e.Message, tt.message)
			}
			if tt.message != "" && tt.message != "nodes" && (e.Line != tt.line || e.Column != tt.column) {
				t.Errorf("at %d:%d, want %d:%d\n%v", e.Line, e.Column, tt.line, tt.column, err)
			}
		})
	}
}

// TestCaret: the caret stands under the mistake.
func TestCaret(t *testing.T) {
	_, err := selector.Compile("labels.ring == \"a\" && lables.ring == \"b\"")
	lines := strings.Split(fmt.Sprint(err), "\n")
	if len(lines) != 3 || !strings.HasSuffix(lines[2], "^") || !strings.HasPrefix(lines[1][len(lines[2])-1:], "lables") {
		t.Errorf("got\n%v", err)
	}
}

func TestNarrow(t *testing.T) {
	tests := []struct {
		filter string
		labels map[string]string
		groups []string
	}{
		{`labels.a == "x" && "g" in groups && (boot > 1 and "y" == labels.b)`, map[string]string{"a": "x", "b": "y"}, []string{"g"}},
		{`labels.a == "x" || labels.b == "y"`, map[string]string{}, nil},
		{`!(labels.a == "x")`, map[string]string{}, nil},
		{`labels.a == "" && labels.b != "x" && facts.c == "x"`, map[string]string{}, nil},
		{`a=x,b in (y)`, map[string]string{"a": "x"}, nil},
	}
	for _, tt := range tests {
		f, err := selector.Compile(tt.filter)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.labels, f.Labels()); d != "" || !slices.Equal(tt.groups, f.Groups()) {
			t.Errorf("%s: %s %v", tt.filter, d, f.Groups())
		}
	}
}

func TestMentions(t *testing.T) {
	f, err := selector.Compile(`labels.ring in ["a", "b"] && "c" == facts.x && "g" in groups`)
	if err != nil {
		t.Fatal(err)
	}
	want := []selector.Mention{{"labels.ring", "a"}, {"labels.ring", "b"}, {"facts.x", "c"}, {"groups", "g"}}
	if d := cmp.Diff(want, f.Mentions()); d != "" {
		t.Error(d)
	}
}

func TestNearest(t *testing.T) {
	if got := selector.Nearest("canry", []string{"canary", "beta", "carry", "prod"}, 2); !slices.Equal(got, []string{"canary", "carry"}) {
		t.Errorf("got %v", got)
	}
}

// TestConcurrent: one filter serves many goroutines.
func TestConcurrent(t *testing.T) {
	f, err := selector.Compile(`labels.ring == "canary" && version < semver("3.0.0")`)
	if err != nil {
		t.Fatal(err)
	}
	d := lamp(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if ok, err := f.Match(d, now); !ok || err != nil {
					t.Errorf("%v, %v", ok, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// FuzzCompile: whatever is taken can be matched against any device without a panic, twice with the same answer, and
// what every match needs is what narrows.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`labels.ring == "canary" && version < semver("2.5.0")`, `ring=canary,site in (a,b)`, `seen_within("72h") || last_seen > "2026-11-24T12:00:00Z"`,
		`class in ["22222222-AAAA-4222-8222-222222222222"]`, `id matches "^a+$" and not ("x" in groups)`, `versions["00"] >= semver("1.0.0-rc.1")`, `((((`, `"a" in labels`} {
		f.Add(s)
	}
	d := lamp(f)
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := selector.Compile(text)
		if err != nil {
			if e, ok := errors.AsType[*selector.Error](err); !ok || e.Line < 1 || e.Column < 1 || e.Message == "" {
				t.Fatalf("error %#v", err)
			}
			return
		}
		for _, dev := range []selector.Device{d, {}} {
			a, err := filter.Match(dev, now)
			b, _ := filter.Match(dev, now)
			if a != b || err != nil && a {
				t.Fatalf("%v, then %v, %v", a, b, err)
			}
			for k, v := range filter.Labels() {
				if a && dev.Labels[k] != v {
					t.Fatalf("selected without label %s=%s", k, v)
				}
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	f, err := selector.Compile(`labels.ring == "canary" && version < semver("2.5.0") && "prod" in groups`)
	if err != nil {
		b.Fatal(err)
	}
	d := lamp(b)
	for b.Loop() {
		if ok, err := f.Match(d, now); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
