package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Interval is the part of a load's work that is measured.
type Interval struct {
	Warmup, For time.Duration
	// Around, if not nil, is called at its start, and what that returns at its end: for profiles.
	Around func() (end func())
}

// Counts is what a load has done since it began; the latencies count from the last mark.
type Counts struct {
	Units uint64 `json:"units"` // of work: chunks, reports, connects
	Bytes uint64 `json:"bytes"` // of payload
	// Failed counts what went wrong, Problem says what the first of it was.
	Failed  uint64 `json:"failed,omitempty"`
	Problem string `json:"problem,omitempty"`
	// Starved counts the devices that got nothing since the last mark.
	Starved int `json:"starved,omitempty"`
	Quantiles
}

// Sample is one measured interval.
type Sample struct {
	Seconds float64
	Server  Usage   // CPU in the interval, memory at its end; of all processes that serve, taken together
	Load    Usage   // the same of the load
	Others  float64 // cores that other processes took meanwhile
	Counts          // what was done in the interval
}

// Measure lets a load begin, warms up, and measures an interval of its work against the processes that serve it. A failure
// of the load is an error: who breaks the rules of the work does not win by it.
func (b *Bench) Measure(ctx context.Context, i Interval, load *Proc, servers ...*Proc) (Sample, error) {
	all := append([]*Proc{load}, servers...)
	if err := load.Begin(ctx); err != nil {
		return Sample{}, err
	}
	if err := rest(ctx, i.Warmup, all); err != nil {
		return Sample{}, err
	}
	var end func()
	if i.Around != nil {
		end = i.Around()
	}
	from, before, err := mark(ctx, load)
	if err != nil {
		return Sample{}, err
	}
	if err := rest(ctx, i.For, all); err != nil {
		return Sample{}, err
	}
	to, after, err := mark(ctx, load)
	if err != nil {
		return Sample{}, err
	}
	if end != nil {
		end()
	}
	s := Sample{Seconds: to.at.Sub(from.at).Seconds(), Counts: after}.between(from, to, load, servers)
	s.Units, s.Bytes = after.Units-before.Units, after.Bytes-before.Bytes
	switch {
	case after.Failed > 0:
		return s, fmt.Errorf("%s: %d failures, first: %s", load.Name, after.Failed, after.Problem)
	case after.Units < before.Units:
		return s, fmt.Errorf("%s: %w: %d units, and %d before", load.Name, errBackwards, after.Units, before.Units)
	case s.Units == 0:
		return s, fmt.Errorf("%s: %w in %v", load.Name, errNothing, i.For)
	}
	return s, nil
}

var (
	errNothing   = errors.New("nothing was done")
	errBackwards = errors.New("counts go backwards")
)

func mark(ctx context.Context, load *Proc) (system, Counts, error) {
	var c Counts
	if err := load.Mark(ctx, &c); err != nil {
		return system{}, c, err
	}
	s, err := look()
	return s, c, err
}

// rest sleeps; it is over at once when a process that should live has ended.
func rest(ctx context.Context, d time.Duration, procs []*Proc) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dead := make(chan *Proc, len(procs))
	for _, p := range procs {
		go func() {
			select {
			case <-p.ended:
				dead <- p
			case <-ctx.Done():
			}
		}()
	}
	until := time.NewTimer(d)
	defer until.Stop()
	select {
	case <-until.C:
		return nil
	case p := <-dead:
		return p.failure()
	case <-ctx.Done():
		return ctx.Err()
	}
}
