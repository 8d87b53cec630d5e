package campaign_test

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func TestPolicyDefaultsAreComplete(t *testing.T) {
	p := campaign.PolicyDefaults()
	have, err := p.Complete()
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(p, have); diff != "" {
		t.Error(diff)
	}
	for _, s := range campaign.States {
		if _, ok := p.Deadlines[s]; ok != s.Live() {
			t.Errorf("deadline for %s: %v", s, ok)
		}
	}
}

func TestCompleteFillsInAndSharesNothing(t *testing.T) {
	in := campaign.Policy{SuccessPercent: 50, Waves: []campaign.Wave{{Count: 1}}, Deadlines: map[campaign.State]time.Duration{campaign.Offered: time.Minute}}
	out, err := in.Complete()
	if err != nil {
		t.Fatal(err)
	}
	if out.Deadlines[campaign.Offered] != time.Minute || out.Deadlines[campaign.Rebooting] != campaign.DefaultDeadline ||
		out.MinSample != campaign.DefaultMinSample || out.Within != campaign.MaxWithin || out.SuccessPercent != 50 || out.FailurePercent != 0 {
		t.Errorf("completed to %+v", out)
	}
	out.Waves[0].Count, out.Deadlines[campaign.Offered] = 9, time.Hour
	if in.Waves[0].Count != 1 || in.Deadlines[campaign.Offered] != time.Minute || len(in.Deadlines) != 1 {
		t.Errorf("the input changed: %+v", in)
	}
}

func TestAnythingThatMakesNoSenseMeansNo(t *testing.T) {
	waves := func(ws ...campaign.Wave) func(*campaign.Policy) {
		return func(p *campaign.Policy) { p.Waves = ws }
	}
	percent := func(v float64) campaign.Wave { return campaign.Wave{Percent: v} }
	inf := math.Inf(1)
	tests := []struct {
		name    string
		change  func(*campaign.Policy)
		pointer string
	}{
		{"33 waves", func(p *campaign.Policy) { p.Waves = slices.Repeat([]campaign.Wave{{Count: 1}}, 33) }, "/policy/waves"},
		{"percent and count", waves(campaign.Wave{Percent: 5, Count: 5}), "/policy/waves/0"},
		{"neither", waves(percent(5), campaign.Wave{}), "/policy/waves/1"},
		{"negative count", waves(campaign.Wave{Count: -1}), "/policy/waves/0/count"},
		{"huge count", waves(campaign.Wave{Count: math.MaxInt}), "/policy/waves/0/count"},
		{"negative percent", waves(percent(-1)), "/policy/waves/0/percent"},
		{"percent over 100", waves(percent(100.5)), "/policy/waves/0/percent"},
		{"percent NaN", waves(percent(math.NaN())), "/policy/waves/0/percent"},
		{"percent infinite", waves(percent(inf)), "/policy/waves/0/percent"},
		{"percents over 100", waves(percent(60), percent(60), percent(1)), "/policy/waves/1/percent"},
		{"in flight", func(p *campaign.Policy) { p.InFlight = -1 }, "/policy/in_flight"},
		{"sample", func(p *campaign.Policy) { p.MinSample = -1 }, "/policy/min_sample"},
		{"success NaN", func(p *campaign.Policy) { p.SuccessPercent = math.NaN() }, "/policy/success_percent"},
		{"success 101", func(p *campaign.Policy) { p.SuccessPercent = 101 }, "/policy/success_percent"},
		{"failure negative", func(p *campaign.Policy) { p.FailurePercent = -0.1 }, "/policy/failure_percent"},
		{"failure NaN", func(p *campaign.Policy) { p.FailurePercent = math.NaN() }, "/policy/failure_percent"},
		{"silent infinite", func(p *campaign.Policy) { p.SilentPercent = inf }, "/policy/silent_percent"},
		{"within negative", func(p *campaign.Policy) { p.Within = -1 }, "/policy/within"},
		{"within too long", func(p *campaign.Policy) { p.Within = campaign.MaxWithin + 1 }, "/policy/within"},
		{"deadline negative", func(p *campaign.Policy) { p.Deadlines[campaign.Received] = -1 }, "/policy/deadlines/received"},
		{"deadline too long", func(p *campaign.Policy) { p.Deadlines[campaign.Received] = 1 << 62 }, "/policy/deadlines/received"},
		{"deadline of a settled state", func(p *campaign.Policy) { p.Deadlines[campaign.Confirmed] = 1 }, "/policy/deadlines/confirmed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := policy(tt.change).Complete()
			bad, ok := errors.AsType[*campaign.InvalidError](err)
			if !ok || len(bad.Fields) != 1 || bad.Fields[0].Pointer != tt.pointer {
				t.Errorf("error %v, want one at %s", err, tt.pointer)
			}
		})
	}
}

func TestLastWaveTakesTheRestWhateverItSays(t *testing.T) {
	p := policy(func(p *campaign.Policy) { p.Waves = []campaign.Wave{{Percent: 5}, {Percent: 25}, {Percent: 100}} })
	if _, err := p.Complete(); err != nil {
		t.Fatal(err)
	}
	orders := make([]uint64, 200)
	for i := range orders {
		orders[i] = campaign.OrderOf([16]byte{9}, device("d"+string(rune('a'+i%26))+string(rune('a'+i/26))))
	}
	slices.Sort(orders)
	c := campaign.Campaign{Bounds: campaign.BoundsOf(p.Waves, orders)}
	have := make([]int, 3)
	for _, o := range orders {
		have[c.WaveOf(o)]++
	}
	if diff := gocmp.Diff([]int{10, 50, 140}, have); diff != "" {
		t.Error(diff)
	}
}

func TestBounds(t *testing.T) {
	tests := []struct {
		name  string
		waves []campaign.Wave
		n     int
		want  []int
	}{
		{"a canary of a fraction is one device", []campaign.Wave{{Percent: 1}, {Percent: 99}}, 50, []int{1, 49}},
		{"exact percents stay exact", []campaign.Wave{{Percent: 10}, {Percent: 20}, {Percent: 70}}, 10, []int{1, 2, 7}},
		{"counts larger than the fleet", []campaign.Wave{{Count: 5}, {Count: 5}, {Count: 5}}, 7, []int{5, 2, 0}},
		{"a fleet smaller than the waves", []campaign.Wave{{Percent: 10}, {Percent: 10}, {Percent: 10}}, 1, []int{1, 0, 0}},
		{"the last takes the rest", []campaign.Wave{{Count: 1}, {Count: 1}}, 9, []int{1, 8}},
		{"nobody", []campaign.Wave{{Count: 1}, {Percent: 5}}, 0, []int{0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var orders []uint64
			for i := range tt.n {
				orders = append(orders, uint64(i)*1000+1)
			}
			c := campaign.Campaign{Bounds: campaign.BoundsOf(tt.waves, orders)}
			have := make([]int, len(tt.waves))
			for _, o := range orders {
				have[c.WaveOf(o)]++
			}
			if diff := gocmp.Diff(tt.want, have); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOrderIsKeyed(t *testing.T) {
	a, b := campaign.OrderOf([16]byte{1}, device("d")), campaign.OrderOf([16]byte{2}, device("d"))
	if a == b || a == 0 || a != campaign.OrderOf([16]byte{1}, device("d")) {
		t.Errorf("orders %d and %d", a, b)
	}
	// The value is stored in running campaigns: another one would move devices between waves.
	if a != 0x2df022a8990e0ba2 {
		t.Errorf("order is %#x", a)
	}
}

func TestSpecIsCheckedWhole(t *testing.T) {
	w := newWorld(t)
	spec := campaign.Spec{
		Description: string(make([]byte, campaign.MaxDescription+1)),
		Selection:   campaign.Selection{Devices: []ident.Device{{}, device("d")}, Labels: map[string]string{"a": "b"}},
		Policy:      policy(func(p *campaign.Policy) { p.InFlight = -1 }),
	}
	_, err := campaign.Create(w.m, w.now, acme, spec)
	bad, ok := errors.AsType[*campaign.InvalidError](err)
	if !ok {
		t.Fatalf("error %v", err)
	}
	var have []string
	for _, f := range bad.Fields {
		have = append(have, f.Pointer)
	}
	want := []string{"/policy/in_flight", "/campaign", "/manifest", "/description", "/selection", "/selection/devices"}
	if diff := gocmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
	if w.m.writes != 0 {
		t.Errorf("%d writes", w.m.writes)
	}
}
