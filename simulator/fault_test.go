package simulator_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleetbridge/simulator"
)

func TestPlanIsAFunctionOfSeedAndName(t *testing.T) {
	mix := simulator.DefaultMix()
	differs := false
	for i := range 1000 {
		id := fmt.Sprintf("acme/d-%d", i)
		a, b := simulator.Plan(7, id, mix), simulator.Plan(7, id, mix)
		if a != b {
			t.Fatalf("%s: %v and %v", id, a, b)
		}
		if a.At < 0 || a.At >= 1 {
			t.Errorf("%s: At %v", id, a.At)
		}
		differs = differs || a != simulator.Plan(8, id, mix)
	}
	if !differs {
		t.Error("the seed makes no difference")
	}
}

func TestPlanFollowsTheMix(t *testing.T) {
	const n = 20_000
	mix := simulator.DefaultMix()
	count := make(map[simulator.Kind]int)
	for i := range n {
		count[simulator.Plan(1, fmt.Sprintf("acme/d-%d", i), mix).Kind]++
	}
	for k, percent := range mix {
		want := percent / 100 * n
		if got := float64(count[k]); math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("%s: %v of %d devices, want about %v", k, got, n, want)
		}
	}
	if len(count) != len(mix)+1 {
		t.Errorf("kinds %v", count)
	}
}

// The fault of a device must not change when another part of the mix grows after it in the order, or the fleet grows.
func TestPlanOfNobody(t *testing.T) {
	for i := range 100 {
		if f := simulator.Plan(1, fmt.Sprint(i), nil); f.Kind != simulator.None || f.Expect() != simulator.Confirmed {
			t.Errorf("a fault %v from an empty mix", f)
		}
	}
}

func TestEveryKindHasAnExpectation(t *testing.T) {
	want := map[simulator.Kind]simulator.Outcome{
		simulator.None: "confirmed", simulator.PowerLoss: "confirmed", simulator.SlowLink: "confirmed",
		simulator.Duplicate: "confirmed", simulator.Late: "confirmed", simulator.BadFlash: "failed",
		simulator.Rollback: "failed", simulator.BadSignature: "rejected", simulator.Mute: "silent",
		simulator.Absent: "silent", simulator.Current: "skipped",
		simulator.FlakyLink: "failed",
	}
	got := map[simulator.Kind]simulator.Outcome{simulator.None: simulator.Fault{Kind: simulator.None}.Expect()}
	for _, k := range simulator.Kinds {
		got[k] = simulator.Fault{Kind: k}.Expect()
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestMixRoundTrip(t *testing.T) {
	tests := map[string]string{
		"":                            "none",
		"none":                        "none",
		"power=5%":                    "power=5%",
		"flash=1.5 , power=5":         "power=5%,flash=1.5%",
		"mute=0%":                     "none",
		"default":                     simulator.DefaultMix().String(),
		"signature=50%,current=50%":   "signature=50%,current=50%",
		"absent=33.3%,rollback=66.7%": "absent=33.3%,rollback=66.7%",
	}
	for in, want := range tests {
		m, err := simulator.ParseMix(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if m.String() != want {
			t.Errorf("%q prints as %q, want %q", in, m, want)
		}
		if again, err := simulator.ParseMix(m.String()); err != nil || again.String() != want {
			t.Errorf("%q reads back as %q, %v", want, again, err)
		}
	}
}

func TestBadMixIsRefused(t *testing.T) {
	for _, in := range []string{"power", "power=", "power=x%", "power=-1%", "power=101%", "power=NaN%", "power=Inf", "fire=1%",
		"power=1%,power=2%", "power=60%,flash=41%", "=5%", ",", "none=5%", "power=5%%"} {
		if m, err := simulator.ParseMix(in); !errors.Is(err, simulator.ErrMix) {
			t.Errorf("%q: %v, %v", in, m, err)
		}
	}
}
