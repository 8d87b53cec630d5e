package bench

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   Spread
	}{
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{5, 1, 3}, Spread{3, 1, 5}},
		{[]float64{4, 1, 2, 9}, Spread{3, 1, 9}},
	} {
		if got := SpreadOf(tt.values...); got != tt.want {
			t.Errorf("%v: %+v, want %+v", tt.values, got, tt.want)
		}
	}
	if got := SpreadOf(); !math.IsNaN(got.Median) {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestRound(t *testing.T) {
	for v, want := range map[float64]float64{0: 0, 1.23456: 1.235, 0.000123456: 0.0001235, 98765.4: 98770, -2.00051: -2.001, math.Inf(1): 0} {
		if got := Round(v); math.Abs(got-want) > 1e-9*math.Abs(want) {
			t.Errorf("%v: %v, want %v", v, got, want)
		}
	}
}

// Each bucket begins where floor says, and quantiles are those of what was added.
func TestHistogram(t *testing.T) {
	for us := range uint64(100_000) {
		b := bucket(us)
		if low := floor(b); low > us || b > 0 && floor(b-1) >= low || float64(us-low) > max(0, float64(us)/16) {
			t.Fatalf("%d µs is in bucket %d, which begins at %d", us, b, low)
		}
	}
	if b := bucket(math.MaxInt64 / 1000); b >= len((&Histogram{}).n) {
		t.Fatalf("the longest duration has no bucket: %d", b)
	}
	var h Histogram
	for ms := range 100 {
		h.Add(time.Duration(ms+1) * time.Millisecond)
	}
	q := h.Take()
	for _, v := range []struct{ got, want float64 }{{q.P50, 50}, {q.P99, 99}, {q.Max, 100}} {
		if v.got > v.want || v.got < v.want*15/16 {
			t.Errorf("%+v: %v, want about %v", q, v.got, v.want)
		}
	}
	if again := h.Take(); again != (Quantiles{}) {
		t.Errorf("after it was emptied: %+v", again)
	}
}

// Contenders take turns, and what others disturbed is taken again, within bounds.
func TestRounds(t *testing.T) {
	var order []string
	loud := 0 // runs of a that are still disturbed
	side := func(name string) Contender {
		return Contender{name, func(context.Context) (Sample, error) {
			order = append(order, name)
			s := Sample{}
			if name == "a" && loud > 0 {
				loud--
				s.Others = 2 * Noise
			}
			return s, nil
		}}
	}
	for _, tt := range []struct {
		loud  int
		noisy bool
		want  []string
		fails bool
	}{
		{0, false, []string{"a", "b", "a", "b"}, false},
		{1, false, []string{"a", "a", "b", "a", "b"}, false},
		{3, false, []string{"a", "a", "a"}, true},
		{9, true, []string{"a", "b", "a", "b"}, false},
	} {
		order, loud = nil, tt.loud
		got, err := Rounds(t.Context(), 2, tt.noisy, side("a"), side("b"))
		if !slices.Equal(order, tt.want) || errors.Is(err, ErrNoisy) != tt.fails || err == nil == tt.fails {
			t.Errorf("%d disturbed, noisy %v: %v, %v", tt.loud, tt.noisy, order, err)
		}
		if !tt.fails && (len(got["a"]) != 2 || len(got["b"]) != 2) {
			t.Errorf("%d disturbed: %v", tt.loud, got)
		}
	}
	broken := Contender{"b", func(context.Context) (Sample, error) { return Sample{}, context.Canceled }}
	if _, err := Rounds(t.Context(), 1, true, side("a"), broken); !errors.Is(err, context.Canceled) {
		t.Errorf("a contender that fails: %v", err)
	}
}

// The tree of a process is itself and all below it, and a loop in what was read does not hold us.
func TestTree(t *testing.T) {
	s := system{procs: map[int]process{1: {parent: 0, cpu: 1}, 2: {parent: 1, cpu: 10, rss: 5}, 3: {parent: 2, cpu: 100, rss: 7}, 4: {parent: 1, cpu: 1000},
		8: {parent: 9, cpu: 5}, 9: {parent: 8, cpu: 5}}}
	if got := s.tree(2); got != (Usage{CPU: 110, RSS: 12}) {
		t.Errorf("%+v", got)
	}
}
