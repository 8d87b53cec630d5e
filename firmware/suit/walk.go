package suit

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"github.com/fxamacker/cbor/v2"
)

// walker makes items of an envelope. Its input is well-formed; each of its methods takes exactly one CBOR item, and shows
// what is not as its name says without a name.
type walker struct {
	envelopeMembers map[string][]byte // as they are encoded, by key
	components      []string          // by index
	domains, models []string          // what the text says of vendors and classes
	embedded        int               // depth of CBOR in byte strings
}

const (
	maxEmbedded = 16 // depth of CBOR in byte strings; below that it is shown as bytes
	maxNames    = 16 // domains and models that identifiers are compared with
)

// read is how an item is shown.
type read func(w *walker, b []byte) *Item

// head takes an item's head off. Indefinite lengths and floats have no argument.
func head(b []byte) (major byte, arg uint64, rest []byte, ok bool) {
	major = b[0] >> 5
	info := b[0] & 0x1f
	switch {
	case info < 24:
		return major, uint64(info), b[1:], true
	case info > 27 || major == majorSimple:
		return major, 0, nil, false
	}
	size := 1 << (info - 24)
	var wide [8]byte
	copy(wide[8-size:], b[1:1+size])
	return major, binary.BigEndian.Uint64(wide[:]), b[1+size:], true
}

// first splits off an item of well-formed CBOR.
func first(b []byte) (item, rest []byte) {
	var raw cbor.RawMessage
	rest, err := cbor.UnmarshalFirst(b, &raw)
	if err != nil {
		return b, nil // can't be: it is well-formed
	}
	return b[:len(b)-len(rest)], rest
}

// plain shows an item by its form alone.
func plain(w *walker, b []byte) *Item {
	major, arg, rest, ok := head(b)
	switch {
	case ok && major == majorArray:
		return w.array(b, func(int) (string, read) { return "", plain })
	case ok && major == majorMap:
		return w.members(b, func(string) (string, read) { return "", plain })
	case ok && major == majorTag:
		return &Item{Value: strconv.FormatUint(arg, 10), kind: kindTag, Items: []*Item{plain(w, rest)}}
	}
	i := &Item{}
	var err error
	if i.Value, err = cbor.Diagnose(b); err != nil {
		i.Value, i.Note = "h'"+hex.EncodeToString(b)+"'", "an item that has no notation, in its encoded form"
	}
	if ok && major == majorText {
		i.text = string(rest)
	}
	return i
}

// array shows the elements of an array, each under a name and in a way of its own.
func (w *walker) array(b []byte, each func(n int) (string, read)) *Item {
	major, count, rest, ok := head(b)
	if !ok || major != majorArray {
		return plain(w, b)
	}
	i := &Item{kind: kindArray}
	for n := range count {
		var item []byte
		item, rest = first(rest)
		name, show := each(int(n))
		in := show(w, item)
		if name != "" {
			in.Name = name
		}
		i.Items = append(i.Items, in)
	}
	return i
}

// members shows the members of a map by their keys, which are given in diagnostic notation.
func (w *walker) members(b []byte, each func(key string) (string, read)) *Item {
	major, count, rest, ok := head(b)
	if !ok || major != majorMap {
		return plain(w, b)
	}
	i := &Item{kind: kindMap}
	for range count {
		var key, value []byte
		key, rest = first(rest)
		value, rest = first(rest)
		k, err := cbor.Diagnose(key)
		if err != nil {
			k = "h'" + hex.EncodeToString(key) + "'"
		}
		name, show := each(k)
		in := show(w, value)
		in.Key = k
		if name != "" {
			in.Name = name
		}
		i.Items = append(i.Items, in)
	}
	return i
}

// tagged shows a tag's content, if it is one of those that are named.
func (w *walker) tagged(b []byte, each func(tag uint64) (string, read)) *Item {
	major, tag, rest, ok := head(b)
	if !ok || major != majorTag {
		return plain(w, b)
	}
	name, show := each(tag)
	return &Item{Name: name, Value: strconv.FormatUint(tag, 10), kind: kindTag, Items: []*Item{show(w, rest)}}
}

// wrapped shows the CBOR in a byte string.
func wrapped(inside read) read {
	return func(w *walker, b []byte) *Item {
		major, _, content, ok := head(b)
		if !ok || major != majorBytes {
			return plain(w, b)
		}
		if w.embedded == maxEmbedded || cbor.Wellformed(content) != nil {
			i := plain(w, b)
			i.Note = "not one CBOR item, or nested too deep"
			return i
		}
		w.embedded++
		defer func() { w.embedded-- }()
		return &Item{kind: kindWrapped, Items: []*Item{inside(w, content)}}
	}
}
