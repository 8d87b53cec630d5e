package spec

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// parseTOML lets the decoder judge the text and make its values, then walks the syntax tree for where each stands.
func (d *Document) parseTOML() (*node, error) {
	var values map[string]any
	if err := toml.Unmarshal(d.text, &values); err != nil {
		var bad *toml.DecodeError
		if errors.As(err, &bad) {
			row, column := bad.Position()
			from := d.offset(row, column)
			return nil, d.complain(span{from, from + 1}, "%s", strings.TrimPrefix(bad.Error(), "toml: "))
		}
		return nil, d.complain(span{}, "%v", err)
	}
	w := &tomlWalk{d: d, places: map[string]place{}, tables: map[string]int{}}
	w.p.Reset(d.text)
	if err := w.run(); err != nil {
		return nil, err
	}
	return w.build("", values, span{}, 0)
}

// offset is the byte at a line and column, both from 1; the column counts bytes.
func (d *Document) offset(row, column int) int {
	at := 0
	for line := range strings.Lines(string(d.text)) {
		if row--; row == 0 {
			return min(at+column-1, at+len(line))
		}
		at += len(line)
	}
	return len(d.text)
}

// place is where a name and its value stand.
type place struct{ name, value span }

// tomlWalk collects places by JSON pointer.
type tomlWalk struct {
	d      *Document
	p      unstable.Parser
	places map[string]place
	tables map[string]int // elements of each array of tables
	at     string         // the table that the next keys are in
}

func (w *tomlWalk) run() error {
	for w.p.NextExpression() {
		switch e := w.p.Expression(); e.Kind {
		case unstable.Table:
			w.at, _ = w.path("", e.Key(), false)
		case unstable.ArrayTable:
			w.at, _ = w.path("", e.Key(), true)
		case unstable.KeyValue:
			w.keyValue(w.at, e, 0)
		default: // comments
		}
	}
	if err := w.p.Error(); err != nil { // the decoder has read it already
		return w.d.complain(span{}, "%v", err)
	}
	return nil
}

// path follows a dotted key from base, and notes where each of its parts stands. Through an array of tables it goes
// into the last element; grow adds one.
func (w *tomlWalk) path(base string, key unstable.Iterator, grow bool) (string, span) {
	var last span
	for key.Next() {
		n := key.Node()
		last = spanOf(n.Raw)
		base += "/" + escape(string(n.Data))
		if _, ok := w.places[base]; !ok {
			w.places[base] = place{last, last}
		}
		if grow && key.IsLast() {
			w.tables[base]++
		}
		if count := w.tables[base]; count > 0 {
			base = fmt.Sprintf("%s/%d", base, count-1)
			if _, ok := w.places[base]; !ok {
				w.places[base] = place{last, last}
			}
		}
	}
	return base, last
}

func (w *tomlWalk) keyValue(base string, e *unstable.Node, depth int) {
	at, name := w.path(base, e.Key(), false)
	w.value(at, name, e.Value(), depth)
}

func (w *tomlWalk) value(at string, name span, v *unstable.Node, depth int) {
	where := spanOf(v.Raw)
	if v.Raw.Length == 0 {
		where = name
	}
	w.places[at] = place{name, where}
	if depth > maxDepth {
		return
	}
	switch v.Kind {
	case unstable.Array:
		items := v.Children()
		for i := 0; items.Next(); i++ {
			w.value(fmt.Sprintf("%s/%d", at, i), where, items.Node(), depth+1)
		}
	case unstable.InlineTable:
		for items := v.Children(); items.Next(); {
			w.keyValue(at, items.Node(), depth+1)
		}
	default:
	}
}

func spanOf(r unstable.Range) span { return span{int(r.Offset), int(r.Offset + r.Length)} }

func escape(s string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(s) }

// build makes the nodes of a decoded value.
func (w *tomlWalk) build(at string, v any, fallback span, depth int) (*node, error) {
	where := fallback
	if p, ok := w.places[at]; ok {
		where = p.value
	}
	if depth > maxDepth {
		return nil, w.d.complain(where, "nested deeper than %d", maxDepth)
	}
	n := &node{kind: scalar, at: where, value: v}
	switch v := v.(type) {
	case map[string]any:
		n.kind, n.value = table, nil
		for name, item := range v {
			path := at + "/" + escape(name)
			child, err := w.build(path, item, where, depth+1)
			if err != nil {
				return nil, err
			}
			n.add(name, w.places[path].name, child)
		}
		n.sort()
	case []any:
		n.kind, n.value = list, nil
		for i, item := range v {
			child, err := w.build(fmt.Sprintf("%s/%d", at, i), item, where, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, child)
		}
	case toml.LocalDate, toml.LocalTime, toml.LocalDateTime:
		return nil, w.d.complain(where, "a date with time and offset is wanted, such as 2026-12-01T02:00:00Z")
	}
	return n, nil
}
