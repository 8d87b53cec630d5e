package suit

import (
	"slices"

	"fleetbridge/ident"
)

// decoder reads one manifest. budget is what is left of maxCommands, over all sequences.
type decoder struct {
	m       Manifest
	severed map[Member][]byte
	budget  int
}

// manifest reads a SUIT_Manifest (section 8.4). The order of keys puts the components before every sequence.
func (d *decoder) manifest(r *reader) {
	seen := map[Member]bool{}
	r.pairs("manifest", 3, 16, func() {
		m := Member(r.uint("member"))
		seen[m] = true
		d.member(r, m)
	})
	if r.err == nil && !(seen[memberVersion] && seen[memberSequence] && seen[memberCommon]) {
		r.fail(ErrMalformed, "version, sequence number or common is missing")
	}
}

func (d *decoder) member(r *reader, m Member) {
	switch m {
	case memberVersion:
		if v := r.uint("manifest version"); r.err == nil && v != 1 {
			r.fail(ErrUnsupported, "manifest version %d, want 1", v)
		}
	case memberSequence:
		d.m.Sequence = r.uint("sequence number")
	case memberCommon:
		r.wrapped("common", d.common)
	case memberReferenceURI:
		d.m.ReferenceURI = r.text("reference URI", maxURI)
	case memberSetVersion:
		r.wrapped("set version", func(r *reader) { d.m.SetVersion = r.version() })
	case MemberValidate:
		d.m.Validate = d.outermost(r, m.String(), false)
	case MemberLoad:
		d.m.Load = d.outermost(r, m.String(), false)
	case MemberInvoke:
		d.m.Invoke = d.outermost(r, m.String(), false)
	case MemberFetch:
		d.severable(r, m, func(r *reader) { d.m.Fetch = d.outermost(r, m.String(), false) })
	case MemberInstall:
		d.severable(r, m, func(r *reader) { d.m.Install = d.outermost(r, m.String(), false) })
	case MemberText:
		d.severable(r, m, func(r *reader) { r.wrapped(m.String(), d.text) })
	default:
		r.fail(ErrUnknown, "manifest %s", m)
	}
}

// severable reads a member that is either here, or here as a digest and perhaps in the envelope (section 5.5).
func (d *decoder) severable(r *reader, m Member, read func(*reader)) {
	if r.next() != majorArray {
		read(r)
		return
	}
	want := r.digest()
	if r.err != nil {
		return
	}
	d.m.Severed = append(d.m.Severed, m)
	b, ok := d.severed[m]
	if !ok {
		d.m.Absent = append(d.m.Absent, m)
		return
	}
	if got := ident.SumDigest(b); got != want {
		r.fail(ErrDigest, "severed %s has %s, signed is %s", m, got, want)
		return
	}
	in := &reader{layer: "severed " + m.String(), b: b}
	read(in)
	r.err = in.end()
}

// common reads SUIT_Common: the components, and the sequence that runs before every other one.
func (d *decoder) common(r *reader) {
	r.pairs("common", 1, 2, func() {
		switch key := r.uint("common member"); {
		case r.err != nil:
		case key == 2:
			for range r.array("components", 1, maxComponents) {
				c := r.component()
				if r.err == nil && slices.ContainsFunc(d.m.Components, c.Equal) {
					r.fail(ErrMalformed, "component %s is there twice", c)
				}
				d.m.Components = append(d.m.Components, c)
			}
		case key == 4:
			d.m.Shared = d.outermost(r, "shared sequence", true)
		default:
			r.fail(ErrUnknown, "common member %d", key)
		}
	})
	if r.err == nil && len(d.m.Components) == 0 {
		r.fail(ErrMalformed, "no components")
	}
}

func (r *reader) component() ComponentID {
	var c ComponentID
	for range r.array("component identifier", 1, maxParts) {
		c = append(c, r.bytes("part of a component identifier", maxPart))
	}
	return c
}

func (r *reader) version() []int64 {
	var v []int64
	for range r.array("version", 1, maxVersion) {
		v = append(v, r.int("number of a version"))
	}
	return v
}

// text reads SUIT_Text_Map: by language, then by key or component.
func (d *decoder) text(r *reader) {
	r.pairs("text", 1, maxLanguages, func() {
		l := Language{Tag: r.text("language tag", 64)}
		r.pairs("text of a language", 1, len(manifestText)+maxComponents, func() {
			if r.next() != majorArray {
				l.Notes = append(l.Notes, r.note(manifestText))
				return
			}
			c := ComponentNotes{Component: r.component()}
			if r.err == nil && !slices.ContainsFunc(d.m.Components, c.Component.Equal) {
				r.fail(ErrMalformed, "text on component %s, which the manifest doesn't have", c.Component)
			}
			r.pairs("text of a component", 1, len(componentText), func() { c.Notes = append(c.Notes, r.note(componentText)) })
			l.Components = append(l.Components, c)
		})
		d.m.Text = append(d.m.Text, l)
	})
}

func (r *reader) note(keys []string) Note {
	n := Note{Key: r.uint("text key")}
	if r.err == nil && (n.Key == 0 || n.Key >= uint64(len(keys))) {
		r.fail(ErrUnsupported, "text key %d", n.Key)
	}
	n.Text = r.text("text", MaxEnvelope)
	return n
}
