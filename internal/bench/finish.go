package bench

import (
	"context"
	"fmt"
	"os"
	"time"
)

// Task is work that has an end, in place of an [Interval] of work that goes on.
type Task struct {
	Units  uint64        // the work is done when so many are
	Within time.Duration // how long it may take
	// After is how much longer the servers are measured: for what they still owe, as what is left of dropped connections.
	After time.Duration
	// Around, if not nil, is called at its start, and what that returns at its end: for profiles.
	Around func() (end func())
}

// taskPoll is how often a load is asked whether it is done.
const taskPoll = 10 * time.Millisecond

// Finish lets a load begin, and measures until it is done. Seconds are those of the work, without After. A failure of the load
// is an error.
func (b *Bench) Finish(ctx context.Context, t Task, load *Proc, servers ...*Proc) (Sample, error) {
	if t.Around != nil {
		defer t.Around()()
	}
	from, err := look()
	if err != nil {
		return Sample{}, err
	}
	s := Sample{}
	if s.Counts, err = t.run(ctx, load, append([]*Proc{load}, servers...)); err != nil {
		return s, err
	}
	s.Seconds = time.Since(from.at).Seconds()
	if err := rest(ctx, t.After, append([]*Proc{load}, servers...)); err != nil {
		return s, err
	}
	to, err := look()
	if err != nil {
		return s, err
	}
	return s.between(from, to, load, servers), nil
}

// run lets the load begin, and waits until it is done.
func (t Task) run(ctx context.Context, load *Proc, all []*Proc) (c Counts, err error) {
	if err := load.Begin(ctx); err != nil {
		return c, err
	}
	for began := time.Now(); ; {
		if err := load.Mark(ctx, &c); err != nil {
			return c, err
		}
		switch {
		case c.Failed > 0:
			return c, fmt.Errorf("%s: %d failures, first: %s", load.Name, c.Failed, c.Problem)
		case c.Units >= t.Units:
			return c, nil
		case time.Since(began) > t.Within:
			return c, fmt.Errorf("%s: only %d of %d done in %v: %w", load.Name, c.Units, t.Units, t.Within, context.DeadlineExceeded)
		}
		if err := rest(ctx, taskPoll, all); err != nil {
			return c, err
		}
	}
}

// Watch measures what processes take while nothing is asked of them.
func (b *Bench) Watch(ctx context.Context, d time.Duration, load *Proc, servers ...*Proc) (Sample, error) {
	from, err := look()
	if err != nil {
		return Sample{}, err
	}
	if err := rest(ctx, d, append([]*Proc{load}, servers...)); err != nil {
		return Sample{}, err
	}
	to, err := look()
	if err != nil {
		return Sample{}, err
	}
	s := Sample{Seconds: to.at.Sub(from.at).Seconds()}
	return s.between(from, to, load, servers), nil
}

// between fills in what processes took between two looks.
func (s Sample) between(from, to system, load *Proc, servers []*Proc) Sample {
	s.Server, s.Load, s.Others = to.usage(servers...), to.usage(load), others(from, to)
	s.Server.CPU -= from.usage(servers...).CPU
	s.Load.CPU -= from.usage(load).CPU
	return s
}

// ResetPeak makes the peak of a process's memory count from now on.
func (p *Proc) ResetPeak() error {
	const peak = "5" // proc(5), clear_refs
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte(peak), 0); err != nil {
		return fmt.Errorf("reset peak of memory: %w", err)
	}
	return nil
}
