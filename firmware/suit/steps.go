package suit

import (
	"fmt"
	"maps"
	"slices"
)

// place is a command on a component.
type place struct {
	op        Op
	component int
}

func (o Op) on(component int) place { return place{o, component} }

func (p place) String() string { return fmt.Sprintf("%s of component %d", p.op, p.component) }

type parameterSet map[ParameterID]Parameter

// step is a command as a device runs it: with its component and the parameters in force.
type step struct {
	place
	with parameterSet
}

func (s step) content() Content {
	return Content{s.with[ParamDigest].Digest, s.with[ParamImageSize].Uint}
}

func (s step) encryption() []byte { return s.with[ParamEncryption].Bytes }

// needs lists the parameters that a command of the profile needs, uses those that it takes if they are there.
var (
	needs = map[Op][]ParameterID{
		VendorIdentifier: {ParamVendor},
		ClassIdentifier:  {ParamClass},
		ImageMatch:       {ParamDigest, ParamImageSize},
		Fetch:            {ParamDigest, ParamImageSize, ParamURI},
		Copy:             {ParamDigest, ParamImageSize, ParamSourceComponent},
	}
	uses = map[Op][]ParameterID{
		ClassIdentifier: {ParamDigest, ParamImageSize}, // of the shared sequence: for every other one
		Copy:            {ParamEncryption},
	}
)

// tracer runs sequences without doing anything.
type tracer struct {
	components int
	shared     parameterSet // of component 0, in force at the start of every sequence
}

// steps wants s to do exactly what is asked, in this order, and returns it with the parameters of each step. Any other
// command is an error, and so is a parameter that none of them uses, one that is set again before it is used, and one that the
// shared sequence has set.
func (w tracer) steps(s Sequence, want ...place) ([]step, error) {
	run := newRun(w)
	var out []step
	for _, c := range s {
		switch at := c.Op.on(run.index); {
		case c.Op == SetComponentIndex && !c.All && len(c.Indexes) == 1:
			run.index = c.Indexes[0]
		case c.Op == OverrideParameters:
			if err := run.override(c.Parameters); err != nil {
				return nil, err
			}
		case len(out) == len(want) || at != want[len(out)]:
			return nil, fmt.Errorf("%s, out of turn", at)
		default:
			with, err := run.take(c.Op)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", at, err)
			}
			out = append(out, step{at, with})
		}
	}
	if len(out) < len(want) {
		return nil, fmt.Errorf("%s is missing", want[len(out)])
	}
	return out, run.leftover()
}

// run is a sequence being run.
type run struct {
	shared parameterSet
	index  int            // of the component that commands are about
	set    []parameterSet // in force, by component
	unused []parameterSet // set by the sequence and not used yet, by component
}

func newRun(w tracer) *run {
	r := &run{shared: w.shared}
	for range w.components {
		r.set, r.unused = append(r.set, parameterSet{}), append(r.unused, parameterSet{})
	}
	maps.Copy(r.set[0], w.shared)
	return r
}

func (r *run) override(list []Parameter) error {
	for _, p := range list {
		_, again := r.unused[r.index][p.ID]
		if _, ok := r.shared[p.ID]; again || ok && r.index == 0 {
			return fmt.Errorf("%s is set again", p.ID)
		}
		r.set[r.index][p.ID], r.unused[r.index][p.ID] = p, p
	}
	return nil
}

// take returns the parameters in force for a command, which must be all that it needs.
func (r *run) take(op Op) (parameterSet, error) {
	set := r.set[r.index]
	for _, id := range needs[op] {
		if _, ok := set[id]; !ok {
			return nil, fmt.Errorf("%s is missing", id)
		}
	}
	for _, id := range slices.Concat(needs[op], uses[op]) {
		delete(r.unused[r.index], id)
	}
	return maps.Clone(set), nil
}

// leftover is an error about a parameter that was set for nothing.
func (r *run) leftover() error {
	for i, set := range r.unused {
		if len(set) > 0 {
			return fmt.Errorf("%s of component %d is set, and nothing uses it", slices.Min(slices.Collect(maps.Keys(set))), i)
		}
	}
	return nil
}

// onlyTryEach wants s to select a component at most, and then to try.
func onlyTryEach(s Sequence) ([]Sequence, error) {
	for len(s) > 0 && s[0].Op == SetComponentIndex && !s[0].All && len(s[0].Indexes) == 1 {
		s = s[1:]
	}
	switch {
	case len(s) == 0:
		return nil, fmt.Errorf("%s is missing", TryEach)
	case s[0].Op != TryEach || len(s) > 1:
		return nil, fmt.Errorf("more than %s", TryEach)
	case s[0].Otherwise:
		return nil, fmt.Errorf("%s may install nothing", TryEach)
	}
	return s[0].Cases, nil
}
