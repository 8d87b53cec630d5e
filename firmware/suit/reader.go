package suit

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// CBOR major types (RFC 8949 section 3.1).
const (
	majorUint   = 0
	majorNegInt = 1
	majorBytes  = 2
	majorText   = 3
	majorArray  = 4
	majorMap    = 5
	majorTag    = 6
	majorSimple = 7
)

const (
	simpleFalse = 20
	simpleTrue  = 21
	simpleNull  = 22
)

// reader walks one layer of CBOR in deterministic encoding, without copying. A CBOR library isn't used for reading: it
// takes null for a number, arrays for byte strings and long forms of short numbers, and copies at every nested layer.
//
// The first error sticks: from then on every method returns a zero value, so that callers check once, at the end.
type reader struct {
	layer string // for error messages
	b     []byte
	off   int
	err   error
}

func (r *reader) fail(class error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%s, byte %d: %s: %w", r.layer, r.off, fmt.Sprintf(format, args...), class)
	}
}

// head reads an item's head: major type and argument, in the shortest form only.
func (r *reader) head() (major byte, arg uint64) {
	if r.err != nil {
		return 0, 0
	}
	if r.off >= len(r.b) {
		r.fail(ErrMalformed, "ends too early")
		return 0, 0
	}
	first := r.b[r.off]
	major, info := first>>5, first&0x1f
	if info < 24 {
		r.off++
		return major, uint64(info)
	}
	if info > 27 || major == majorSimple {
		r.fail(ErrMalformed, "head %#02x is indefinite, reserved or a float", first)
		return 0, 0
	}
	size := 1 << (info - 24)
	if len(r.b)-r.off-1 < size {
		r.fail(ErrMalformed, "ends too early")
		return 0, 0
	}
	var wide [8]byte
	copy(wide[8-size:], r.b[r.off+1:])
	arg = binary.BigEndian.Uint64(wide[:])
	if size == 1 && arg < 24 || size > 1 && arg>>(4*size) == 0 {
		r.fail(ErrMalformed, "number not in its shortest form")
		return 0, 0
	}
	r.off += 1 + size
	return major, arg
}

// expect reads a head of the given major type.
func (r *reader) expect(major byte, what string) uint64 {
	at := r.off
	m, arg := r.head()
	if r.err == nil && m != major {
		r.off = at
		r.fail(ErrMalformed, "want %s, found major type %d", what, m)
		return 0
	}
	return arg
}

// next is the next item's major type, 255 at the end.
func (r *reader) next() byte {
	if r.err != nil || r.off >= len(r.b) {
		return 255
	}
	return r.b[r.off] >> 5
}

func (r *reader) uint(what string) uint64 { return r.expect(majorUint, what) }

func (r *reader) int(what string) int64 {
	major, arg := r.head()
	switch {
	case r.err != nil:
	case major > majorNegInt:
		r.fail(ErrMalformed, "want %s, found major type %d", what, major)
	case arg > math.MaxInt64:
		r.fail(ErrMalformed, "%s out of range", what)
	case major == majorNegInt:
		return -1 - int64(arg)
	default:
		return int64(arg)
	}
	return 0
}

func (r *reader) bool(what string) bool {
	v := r.expect(majorSimple, what)
	if r.err == nil && v != simpleFalse && v != simpleTrue {
		r.fail(ErrMalformed, "want %s", what)
	}
	return v == simpleTrue
}

// simple consumes the next item if it is the given simple value.
func (r *reader) simple(v byte) bool {
	if r.next() != majorSimple || r.b[r.off]&0x1f != v {
		return false
	}
	r.off++
	return true
}

// bytes returns a byte string of at most limit bytes, as a part of the input.
func (r *reader) bytes(what string, limit int) []byte { return r.str(majorBytes, what, limit) }

func (r *reader) text(what string, limit int) string {
	s := r.str(majorText, what, limit)
	if !utf8.Valid(s) {
		r.fail(ErrMalformed, "%s isn't UTF-8", what)
		return ""
	}
	return string(s)
}

func (r *reader) str(major byte, what string, limit int) []byte {
	n := r.expect(major, what)
	switch {
	case r.err != nil:
		return nil
	case n > uint64(limit):
		r.fail(ErrMalformed, "%s of %d bytes, at most %d", what, n, limit)
		return nil
	case n > uint64(len(r.b)-r.off):
		r.fail(ErrMalformed, "%s ends too early", what)
		return nil
	}
	s := r.b[r.off : r.off+int(n) : r.off+int(n)]
	r.off += int(n)
	return s
}

// array reads the head of an array of least to most items.
func (r *reader) array(what string, least, most int) int {
	return r.count(majorArray, what, least, most)
}

func (r *reader) count(major byte, what string, least, most int) int {
	n := r.expect(major, what)
	if r.err == nil && (n < uint64(least) || n > uint64(most)) {
		r.fail(ErrMalformed, "%s of %d items, want %d to %d", what, n, least, most)
		return 0
	}
	return int(n)
}

// pairs reads a map of least to most pairs, with its keys in order and none twice. each reads a key and its value.
func (r *reader) pairs(what string, least, most int, each func()) {
	n := r.count(majorMap, what, least, most)
	var before []byte
	for range n {
		at := r.off
		key := r.item()
		if r.err == nil && before != nil && bytes.Compare(before, key) >= 0 {
			r.fail(ErrMalformed, "%s has keys out of order or twice", what)
		}
		if r.err != nil {
			return
		}
		before, r.off = key, at
		each()
	}
}

// item skips one item and returns its bytes.
func (r *reader) item() []byte {
	at := r.off
	r.skip(maxDepth)
	if r.err != nil {
		return nil
	}
	return r.b[at:r.off:r.off]
}

func (r *reader) skip(depth int) {
	if depth == 0 {
		r.fail(ErrMalformed, "nested too deep")
		return
	}
	switch major := r.next(); major {
	case majorBytes, majorText:
		r.str(major, "string", len(r.b))
	case majorArray, majorMap, majorTag:
		_, n := r.head()
		items := 1 // in each of the n
		switch major {
		case majorMap:
			items = 2
		case majorTag:
			n = 1
		}
		for i := uint64(0); i < n && r.err == nil; i++ {
			for range items {
				r.skip(depth - 1)
			}
		}
	default:
		r.head()
	}
}

// wrapped reads a byte string that holds one CBOR item, and lets read have it.
func (r *reader) wrapped(layer string, read func(*reader)) {
	b := r.bytes(layer, len(r.b))
	if r.err != nil {
		return
	}
	in := &reader{layer: layer, b: b}
	read(in)
	r.err = in.end()
}

// end returns the error, or one about bytes that are left over.
func (r *reader) end() error {
	if r.err == nil && r.off != len(r.b) {
		r.fail(ErrMalformed, "%d bytes left over", len(r.b)-r.off)
	}
	return r.err
}
