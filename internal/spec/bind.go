package spec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Decode fills *into, a struct, with what the file says; members that it does not name keep their value. Unknown names,
// wrong types and values that a type refuses are complaints, all of them at once. The error is Errors.
func (d *Document) Decode(into any) error {
	b := &binder{d: d}
	b.bind(d.root, reflect.ValueOf(into).Elem())
	if len(b.bad) == 0 {
		return nil
	}
	return b.bad
}

type binder struct {
	d   *Document
	bad Errors
}

func (b *binder) complain(at span, format string, args ...any) {
	if len(b.bad) < maxErrors {
		b.bad = append(b.bad, b.d.complain(at, format, args...))
	}
}

// sort puts a table's names in the order in which they stand in the file.
func (n *node) sort() {
	slices.SortFunc(n.names, func(x, y string) int { return n.in[x].name.from - n.in[y].name.from })
}

func (b *binder) bind(n *node, v reflect.Value) {
	if v.Kind() == reflect.Pointer && !reads(v) {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		b.bind(n, v.Elem())
		return
	}
	switch {
	case n.kind == table && v.Kind() == reflect.Struct && !reads(v.Addr()):
		b.members(n, v)
	case n.kind == table && v.Kind() == reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		for _, name := range n.names {
			item := reflect.New(v.Type().Elem()).Elem()
			b.bind(n.in[name].node, item)
			v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), item)
		}
	case n.kind == list && v.Kind() == reflect.Slice && !reads(v.Addr()):
		out := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
		for i, item := range n.items {
			b.bind(item, out.Index(i))
		}
		v.Set(out)
	case n.kind == scalar:
		b.scalar(n, v)
	default:
		b.complain(n.at, "want %s", wanted(v.Type()))
	}
}

// reads says whether a type reads its own text or JSON.
func reads(v reflect.Value) bool {
	switch v.Interface().(type) {
	case encoding.TextUnmarshaler, json.Unmarshaler:
		return true
	}
	return false
}

func (b *binder) scalar(n *node, v reflect.Value) {
	text, err := json.Marshal(n.value)
	if err != nil || n.value == nil {
		b.complain(n.at, "want %s", wanted(v.Type()))
		return
	}
	err = json.Unmarshal(text, v.Addr().Interface())
	switch {
	case err == nil:
	case reads(v.Addr()) && text[0] == '"':
		b.complain(n.at, "%v", err)
	default:
		b.complain(n.at, "want %s", wanted(v.Type()))
	}
}

func (b *binder) members(n *node, v reflect.Value) {
	fields := map[string]reflect.Value{}
	fieldsOf(v, fields)
	for _, name := range n.names {
		m := n.in[name]
		f, ok := fields[name]
		if !ok {
			b.complain(m.name, "unknown name %s%s", name, suggest(name, fields))
			continue
		}
		b.bind(m.node, f)
	}
}

// fieldsOf lists a struct's fields by their JSON names, embedded ones included.
func fieldsOf(v reflect.Value, into map[string]reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			fieldsOf(v.Field(i), into)
		case f.IsExported() && name != "" && name != "-":
			into[name] = v.Field(i)
		}
	}
}

// suggest names the known name that is closest, or all if there are few.
func suggest(name string, fields map[string]reflect.Value) string {
	best, least := "", 3 // edits
	names := make([]string, 0, len(fields))
	for f := range fields {
		names = append(names, f)
	}
	slices.Sort(names)
	for _, f := range names {
		if n := edits(name, f); n < least {
			best, least = f, n
		}
	}
	if best != "" {
		return ": " + best + "?"
	}
	return ": one of " + strings.Join(names, ", ")
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// wanted says in words what belongs into a type.
func wanted(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reads(reflect.New(t)) {
		return fmt.Sprintf("a text, in quotes (%s)", strings.ToLower(t.Name()))
	}
	switch t.Kind() {
	case reflect.String:
		return "a text, in quotes"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a table"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, not below 0"
	}
	return "a whole number"
}
