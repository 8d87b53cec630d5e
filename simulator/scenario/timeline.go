package scenario

import (
	"slices"
	"time"

	"fleetbridge/simulator"
)

// AtOnce is the most of the spans that hold a common moment. One that is not over holds every moment after its begin; one
// that ends as another begins does not meet it.
func AtOnce(spans []simulator.Span) int {
	type edge struct {
		at   time.Time
		step int
	}
	var edges []edge
	for _, s := range spans {
		edges = append(edges, edge{s.From, 1})
		if !s.To.IsZero() {
			edges = append(edges, edge{s.To, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return a.step - b.step
	})
	now, most := 0, 0
	for _, e := range edges {
		now += e.step
		most = max(most, now)
	}
	return most
}
