package suit

import (
	"fmt"
	"strings"
)

// maxLine is how many characters an array or map of scalars may have to stand on one line.
const maxLine = 60

// Diagnostic prints the tree in CBOR's diagnostic notation (RFC 8949 section 8), with embedded CBOR in << >> and the
// draft's names as comments, as the draft prints its examples. With elide above 0, byte strings of more bytes are cut
// short; only an integrated payload has so many.
func (i *Item) Diagnostic(elide int) string {
	p := &notation{elide: elide}
	p.item(i, 0, ": ")
	p.WriteByte('\n')
	return p.String()
}

type notation struct {
	strings.Builder
	elide int
}

// comment can't be ended early by what it says.
func (p *notation) comment(s string) string {
	if s == "" {
		return ""
	}
	return "/ " + strings.ReplaceAll(s, "/", "|") + " /"
}

// item prints an item after its name and key; between stands behind the key.
func (p *notation) item(i *Item, depth int, between string) {
	if i.Name != "" {
		p.WriteString(p.comment(i.Name) + " ")
	}
	if i.Key != "" {
		p.WriteString(i.Key + between)
	}
	switch i.kind {
	case kindScalar:
		p.WriteString(p.scalar(i.Value))
	case kindTag:
		p.WriteString(i.Value + "(")
		p.item(i.Items[0], depth, ": ")
		p.WriteString(")")
	case kindWrapped:
		p.WriteString("<< ")
		p.item(i.Items[0], depth, ": ")
		p.WriteString(" >>")
	case kindMap:
		p.list(i, depth, "{", "}", ": ")
	case kindSequence:
		p.list(i, depth, "[", "]", ", ")
	case kindArray:
		p.list(i, depth, "[", "]", ": ")
	}
	if i.Note != "" {
		p.WriteString(" " + p.comment(i.Note))
	}
}

func (p *notation) list(i *Item, depth int, open, shut, between string) {
	if flat, ok := i.flat(); ok {
		p.WriteString(open + flat + shut)
		return
	}
	p.WriteString(open + "\n")
	for n, in := range i.Items {
		p.WriteString(strings.Repeat("  ", depth+1))
		p.item(in, depth+1, between)
		if n < len(i.Items)-1 {
			p.WriteByte(',')
		}
		p.WriteByte('\n')
	}
	p.WriteString(strings.Repeat("  ", depth) + shut)
}

// flat is a short list of scalars without names, on one line.
func (i *Item) flat() (string, bool) {
	var parts []string
	n := 0
	for _, in := range i.Items {
		if in.kind != kindScalar || in.Name != "" || in.Key != "" || in.Note != "" {
			return "", false
		}
		if n += len(in.Value) + 2; n > maxLine {
			return "", false
		}
		parts = append(parts, in.Value)
	}
	return strings.Join(parts, ", "), true
}

func (p *notation) scalar(v string) string {
	if n := (len(v) - len("h''")) / 2; p.elide > 0 && n > p.elide && strings.HasPrefix(v, "h'") {
		return fmt.Sprintf("h'%s' / the first %d of %d bytes /", v[2:2+2*p.elide], p.elide, n)
	}
	return v
}
