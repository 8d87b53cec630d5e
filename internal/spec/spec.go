// Package spec reads files that people write, TOML or JSON, into the structs of the contract: the names in the file are
// the JSON names of the struct. It is strict, and every complaint shows the line it is about with the place underlined,
// also complaints that come later and from elsewhere, as long as they carry a JSON pointer (Document.At).
//
// It knows no struct in particular, opens no file, and is free of the domain.
package spec

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrInvalid is wrapped by every error about what a file says.
var ErrInvalid = errors.New("invalid file")

// Bounds of a file.
const (
	MaxSize   = 1 << 20 // bytes
	maxDepth  = 16
	maxErrors = 10 // told at once
)

// Document is a parsed file.
type Document struct {
	name string
	text []byte
	root *node
}

// kind is what a node is.
type kind int

const (
	scalar kind = iota
	table
	list
)

// span is a range of bytes of the text.
type span struct{ from, to int }

// node is one value of the file, and where it stands.
type node struct {
	kind  kind
	at    span
	value any // of a scalar: string, bool, int64, float64, json.Number, or time.Time; nil is null
	names []string
	in    map[string]member
	items []*node
}

// member is a named value of a table.
type member struct {
	name span
	*node
}

func (n *node) add(name string, at span, v *node) bool {
	if _, twice := n.in[name]; twice {
		return false
	}
	if n.in == nil {
		n.in = map[string]member{}
	}
	n.names = append(n.names, name)
	n.in[name] = member{at, v}
	return true
}

// Parse reads a text: JSON if it begins with a brace, TOML otherwise. name is what errors call it. The error wraps
// ErrInvalid.
func Parse(name string, text []byte) (*Document, error) {
	d := &Document{name: name, text: text}
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%s: %d bytes, at most %d: %w", name, len(text), MaxSize, ErrInvalid)
	}
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%s: not UTF-8: %w", name, ErrInvalid)
	}
	parse := d.parseTOML
	if bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) {
		parse = d.parseJSON
	}
	root, err := parse()
	if err != nil {
		return nil, err
	}
	d.root = root
	return d, nil
}

// Error is one complaint about a file.
type Error struct {
	File         string
	Line, Column int // from 1; the column counts characters
	Text         string
	Width        int // characters to underline, at least 1
	Detail       string
}

// Error shows the line and underlines the place.
func (e *Error) Error() string {
	number := fmt.Sprint(e.Line)
	return fmt.Sprintf("%s:%d:%d: %s\n %s | %s\n %s | %s%s", e.File, e.Line, e.Column, e.Detail,
		number, strings.ReplaceAll(e.Text, "\t", " "),
		strings.Repeat(" ", len(number)), strings.Repeat(" ", e.Column-1), strings.Repeat("^", e.Width))
}

// Unwrap returns ErrInvalid.
func (e *Error) Unwrap() error { return ErrInvalid }

// Errors are all complaints of one reading, at most maxErrors.
type Errors []*Error

// Error shows them one after the other.
func (e Errors) Error() string {
	parts := make([]string, len(e))
	for i, one := range e {
		parts[i] = one.Error()
	}
	return strings.Join(parts, "\n")
}

// Unwrap returns ErrInvalid.
func (e Errors) Unwrap() error { return ErrInvalid }

// complain makes an error about a range of the text.
func (d *Document) complain(at span, format string, args ...any) *Error {
	from := min(max(at.from, 0), len(d.text))
	start := bytes.LastIndexByte(d.text[:from], '\n') + 1
	line := d.text[start:]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	end := min(max(at.to, from), start+len(line))
	width := 1
	if end > from {
		width = utf8.RuneCount(d.text[from:end])
	}
	return &Error{File: d.name, Line: bytes.Count(d.text[:start], []byte("\n")) + 1,
		Column: utf8.RuneCount(d.text[start:from]) + 1, Text: string(line), Width: width, Detail: fmt.Sprintf(format, args...)}
}

// At makes an error about the member that a JSON pointer names. Of a member that is not in the file it shows the
// closest one around it; pointer then is part of the words.
func (d *Document) At(pointer, detail string) *Error {
	n, at, rest := d.root, span{}, strings.Split(pointer, "/")[1:]
	if pointer == "" {
		rest = nil
	}
	missing := ""
	for i, part := range rest {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		next, where := n.child(part)
		if next == nil {
			missing = strings.Join(rest[i:], "/") + ": "
			break
		}
		n, at = next, where
	}
	if n.kind == scalar {
		at = n.at
	}
	return d.complain(at, "%s%s", missing, detail)
}

// child finds a member or an element, and where its name or the element stands.
func (n *node) child(part string) (*node, span) {
	switch n.kind {
	case table:
		if m, ok := n.in[part]; ok {
			return m.node, m.name
		}
	case list:
		var i int
		if _, err := fmt.Sscanf(part, "%d", &i); err == nil && i >= 0 && i < len(n.items) {
			return n.items[i], n.items[i].at
		}
	case scalar:
	}
	return nil, span{}
}
