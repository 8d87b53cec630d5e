package suit

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Describe prints every field of e for people, one a line. Text from the manifest is quoted: it may hold anything.
func Describe(e *Envelope) string {
	p := &printer{}
	m := e.Manifest
	p.line(0, "manifest %s", e.Digest)
	p.line(0, "sequence number %d", m.Sequence)
	if m.ReferenceURI != "" {
		p.line(0, "reference-uri %q", m.ReferenceURI)
	}
	if m.SetVersion != nil {
		p.line(0, "set-version %d", m.SetVersion)
	}
	for i, c := range m.Components {
		p.line(0, "component %d: %s", i, c)
	}
	p.section("shared", m.Shared)
	p.section(MemberFetch.String(), m.Fetch)
	p.section(MemberInstall.String(), m.Install)
	p.section(MemberValidate.String(), m.Validate)
	p.section(MemberLoad.String(), m.Load)
	p.section(MemberInvoke.String(), m.Invoke)
	for _, s := range m.Absent {
		p.line(0, "%s: severed, not in this envelope", s)
	}
	for _, l := range m.Text {
		p.line(0, "text %q", l.Tag)
		p.notes(1, manifestText, l.Notes)
		for _, c := range l.Components {
			p.line(1, "component %s", c.Component)
			p.notes(2, componentText, c.Notes)
		}
	}
	for _, i := range e.Payloads {
		p.line(0, "integrated payload %q: %d bytes", i.Name, len(i.Bytes))
	}
	p.line(0, "signature blocks: %d", len(e.Blocks))
	return p.String()
}

type printer struct{ strings.Builder }

func (p *printer) line(depth int, format string, args ...any) {
	fmt.Fprintf(p, strings.Repeat("  ", depth)+format+"\n", args...)
}

func (p *printer) section(name string, s Sequence) {
	if s == nil {
		return
	}
	p.line(0, "%s", name)
	p.sequence(1, s)
}

func (p *printer) sequence(depth int, s Sequence) {
	for _, c := range s {
		switch ops[c.Op].arg {
		case argPolicy:
			p.line(depth, "%s (report %d)", c.Op, c.Policy)
		case argIndex:
			if c.All {
				p.line(depth, "%s all", c.Op)
			} else {
				p.line(depth, "%s %d", c.Op, c.Indexes)
			}
		default:
			p.line(depth, "%s", c.Op)
		}
		for _, v := range c.Parameters {
			p.line(depth+1, "%s %s", v.ID, v.value())
		}
		for i, nested := range c.Cases {
			p.line(depth+1, "case %d", i)
			p.sequence(depth+2, nested)
		}
		if c.Otherwise {
			p.line(depth+1, "or none")
		}
	}
}

func (p *printer) notes(depth int, names []string, notes []Note) {
	for _, n := range notes {
		p.line(depth, "%s %q", names[n.Key], n.Text)
	}
}

func (p Parameter) value() string {
	const useBefore ParameterID = 4
	switch parameters[p.ID].form {
	case formUUID:
		return p.UUID.String()
	case formDigest:
		return p.Digest.String()
	case formUint:
		if p.ID == useBefore && p.Uint < 1<<40 {
			return fmt.Sprintf("%d (%s)", p.Uint, time.Unix(int64(p.Uint), 0).UTC().Format(time.RFC3339))
		}
		return fmt.Sprint(p.Uint)
	case formInt:
		return fmt.Sprint(p.Int)
	case formBool:
		return fmt.Sprint(p.Uint == 1)
	case formURI:
		return fmt.Sprintf("%q", p.Text)
	case formVersion:
		words := [...]string{1: "greater than", 2: "at least", 3: "equal to", 4: "at most", 5: "less than"}
		return fmt.Sprintf("%s %d", words[p.Version.Comparison], p.Version.Numbers)
	}
	return "h'" + hex.EncodeToString(p.Bytes) + "'"
}
