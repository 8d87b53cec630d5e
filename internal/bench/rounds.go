package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Contender is one side of a case.
type Contender struct {
	Name string
	Run  func(ctx context.Context) (Sample, error)
}

// Noise is how many cores other processes may take while something is measured.
const Noise = 0.1

// ErrNoisy says that other processes took too much CPU for the figures to be worth anything.
var ErrNoisy = errors.New("other processes took more than a tenth of a core")

// Rounds runs the contenders in turn until each has runs samples, which it returns by name. A sample that other processes
// disturbed is taken again, as often in all as there are runs, and then refused; with noisy it counts like any other.
func Rounds(ctx context.Context, runs int, noisy bool, contenders ...Contender) (map[string][]Sample, error) {
	out := map[string][]Sample{}
	again := runs
	for range runs {
		for _, c := range contenders {
			for {
				s, err := c.Run(ctx)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", c.Name, err)
				}
				if s.Others <= Noise || noisy {
					out[c.Name] = append(out[c.Name], s)
					break
				}
				if again--; again < 0 {
					return nil, fmt.Errorf("%s: %w (%.2f)", c.Name, ErrNoisy, s.Others)
				}
			}
		}
	}
	return out, nil
}

// Spread is what several runs came to.
type Spread struct{ Median, Min, Max float64 }

// SpreadOf is the spread of values; NaN in all members for none.
func SpreadOf(values ...float64) Spread {
	if len(values) == 0 {
		return Spread{math.NaN(), math.NaN(), math.NaN()}
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return Spread{(v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]}
}

// Over is the spread of a figure of samples.
func Over(samples []Sample, figure func(Sample) float64) Spread {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = figure(s)
	}
	return SpreadOf(values...)
}

// Ratios is the spread of a figure of one contender over that of another, run by run.
func Ratios(a, b []Sample, figure func(Sample) float64) Spread {
	var values []float64
	for i := range min(len(a), len(b)) {
		values = append(values, figure(a[i])/figure(b[i]))
	}
	return SpreadOf(values...)
}

// Round rounds to the digits that a measurement is worth: four.
func Round(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}
