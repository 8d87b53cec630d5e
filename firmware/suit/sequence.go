package suit

import "github.com/google/uuid"

// scope is what a sequence may do, given where it stands.
type scope struct {
	depth  int
	shared bool
}

func (d *decoder) outermost(r *reader, layer string, shared bool) Sequence {
	return d.sequence(r, layer, scope{depth: 1, shared: shared})
}

// sequence reads a command sequence in its byte string: [+(op, argument)].
func (d *decoder) sequence(r *reader, layer string, in scope) Sequence {
	if in.depth > maxDepth {
		r.fail(ErrMalformed, "sequences nested deeper than %d", maxDepth)
		return nil
	}
	var s Sequence
	r.wrapped(layer, func(r *reader) {
		n := r.array(layer, 2, 2*maxCommands)
		if r.err == nil && n%2 != 0 {
			r.fail(ErrMalformed, "sequence of %d items isn't pairs", n)
		}
		for i := 0; i < n/2 && r.err == nil; i++ {
			c := d.command(r, in)
			// Section 8.4.5: with several components, each sequence says first which one it is about.
			if r.err == nil && i == 0 && len(d.m.Components) > 1 && c.Op != SetComponentIndex {
				r.fail(ErrMalformed, "sequence doesn't begin with set-component-index")
			}
			s = append(s, c)
		}
	})
	return s
}

func (d *decoder) command(r *reader, in scope) Command {
	c := Command{Op: Op(r.int("command"))}
	if r.err != nil {
		return c
	}
	spec, ok := ops[c.Op]
	d.budget--
	switch {
	case !ok:
		r.fail(ErrUnknown, "%s", c.Op)
	case d.budget < 0:
		r.fail(ErrMalformed, "more than %d commands", maxCommands)
	case in.shared && !spec.shared:
		r.fail(ErrMalformed, "%s in the shared sequence", c.Op)
	}
	if r.err != nil {
		return c
	}
	nested := scope{in.depth + 1, in.shared}
	switch spec.arg {
	case argPolicy:
		p := r.uint("reporting policy")
		if r.err == nil && p > 15 {
			r.fail(ErrUnsupported, "reporting policy %d", p)
		}
		c.Policy = uint8(p)
	case argIndex:
		d.index(r, &c)
	case argSequence:
		c.Cases = []Sequence{d.sequence(r, "run-sequence", nested)}
	case argCases:
		d.cases(r, &c, nested)
	case argParameters:
		r.pairs("parameters", 1, maxParameters, func() { c.Parameters = append(c.Parameters, d.parameter(r, in)) })
	}
	return c
}

func (d *decoder) index(r *reader, c *Command) {
	if r.simple(simpleTrue) {
		c.All = true
		return
	}
	n := 1
	if r.next() == majorArray {
		n = r.array("component indexes", 1, maxComponents)
	}
	for range n {
		i := r.uint("component index")
		if r.err == nil && i >= uint64(len(d.m.Components)) {
			r.fail(ErrMalformed, "component index %d of %d components", i, len(d.m.Components))
		}
		c.Indexes = append(c.Indexes, int(i))
	}
}

// cases reads [2* bstr, ?nil] (section 8.4.10.2).
func (d *decoder) cases(r *reader, c *Command, nested scope) {
	n := r.array("try-each", 2, maxCases+1)
	for i := 0; i < n && r.err == nil; i++ {
		if i >= 2 && i == n-1 && r.simple(simpleNull) {
			c.Otherwise = true
			return
		}
		c.Cases = append(c.Cases, d.sequence(r, "try-each", nested))
	}
}

func (d *decoder) parameter(r *reader, in scope) Parameter {
	p := Parameter{ID: ParameterID(r.int("parameter"))}
	if r.err != nil {
		return p
	}
	name := p.ID.String()
	switch parameters[p.ID].form {
	case formUUID:
		if r.next() == majorTag {
			r.fail(ErrUnsupported, "%s that isn't a UUID", name)
		}
		if b := r.bytes(name, 16); r.err == nil && len(b) != 16 {
			r.fail(ErrMalformed, "%s of %d bytes, want 16", name, len(b))
		} else if r.err == nil {
			p.UUID = uuid.UUID(b)
		}
	case formDigest:
		r.wrapped(name, func(r *reader) { p.Digest = r.digest() })
	case formUint:
		p.Uint = r.uint(name)
	case formInt:
		p.Int = r.int(name)
	case formBool:
		if r.bool(name) {
			p.Uint = 1
		}
	case formBytes:
		p.Bytes = r.bytes(name, MaxEnvelope)
	case formURI:
		p.Text = r.text(name, maxURI)
	case formVersion:
		r.wrapped(name, func(r *reader) { p.Version = r.comparison() })
	default:
		r.fail(ErrUnknown, "%s", name)
	}
	d.checkParameter(r, p, in)
	return p
}

func (d *decoder) checkParameter(r *reader, p Parameter, in scope) {
	switch {
	case r.err != nil:
	case p.ID == paramSoftFailure && in.depth == 1:
		r.fail(ErrMalformed, "%s outside of try-each and run-sequence", p.ID)
	case p.ID == ParamSourceComponent && p.Uint >= uint64(len(d.m.Components)):
		r.fail(ErrMalformed, "%s %d of %d components", p.ID, p.Uint, len(d.m.Components))
	}
}

func (r *reader) comparison() Version {
	r.array("version", 2, 2)
	v := Version{Comparison: r.uint("comparison")}
	if r.err == nil && (v.Comparison < 1 || v.Comparison > 5) {
		r.fail(ErrMalformed, "comparison %d, want 1 to 5", v.Comparison)
	}
	v.Numbers = r.version()
	return v
}
