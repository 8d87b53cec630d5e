package firmware_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/encrypt"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

// What a bomb may cost. Time is the best of several runs, so that a loaded machine doesn't matter; memory is all that is
// allocated on the way, freed or not: a few copies of what came in.
const (
	bombTime   = 10 * time.Millisecond * slowdown
	bombMemory = 512 << 10 // bytes; a signature block full of parameters needs most of it
	bombRuns   = 20        // other processes can make some of them slow
)

// array is the head of an array of n items.
func array(n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0x9a}, n) }

// pairs is the head of a map of n pairs.
func pairs(n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0xba}, n) }

// wrap is b as a byte string.
func wrap(b []byte) []byte {
	switch n := len(b); {
	case n < 24:
		return append([]byte{0x40 | byte(n)}, b...)
	case n < 1<<8:
		return append([]byte{0x58, byte(n)}, b...)
	}
	return append(binary.BigEndian.AppendUint16([]byte{0x59}, uint16(len(b))), b...)
}

// nested is byte string in byte string, n deep.
func nested(n int) []byte {
	b := []byte{0x41, 0}
	for range n {
		b = wrap(b)
	}
	return b
}

// bomber signs what nobody should: an author whose key is good, and whose manifests are not.
type bomber struct {
	t *testing.T
	author
}

// signed is an envelope around the bytes of a manifest; more goes behind the members that it has anyway.
func (b bomber) signed(manifest []byte, more ...byte) []byte {
	b.t.Helper()
	wrapped := wrap(manifest)
	digest, err := ident.SumDigest(wrapped).MarshalCBOR()
	if err != nil {
		b.t.Fatal(err)
	}
	block, err := cose.Sign1(digest, b.private, b.Alg, []byte(b.ID.String()), rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.envelope(digest, wrapped, [][]byte{block}, more...)
}

func (b bomber) envelope(digest, wrapped []byte, blocks [][]byte, more ...byte) []byte {
	auth := append([]byte{0x81 + byte(len(blocks))}, wrap(digest)...)
	for _, block := range blocks {
		auth = append(auth, wrap(block)...)
	}
	members := byte(2)
	if len(more) > 0 {
		members++
	}
	return slices.Concat([]byte{0xd8, 107, 0xa0 | members, 2}, wrap(auth), []byte{3}, wrapped, more)
}

// with is a manifest of version 1 and sequence number 2, its common part, and what follows.
func with(common []byte, more ...byte) []byte {
	n := byte(3)
	if len(more) > 0 {
		n++
	}
	return slices.Concat([]byte{0xa0 | n, 1, 1, 2, 2, 3}, wrap(common), more)
}

// common has one component and the commands of a sequence.
func common(sequence []byte) []byte {
	return slices.Concat([]byte{0xa2, 2, 0x81, 0x81, 0x41, 0, 4}, wrap(sequence))
}

// bomb is an envelope, and what is said of it: proof that it comes as far as it is meant to.
type bomb struct {
	envelope []byte
	words    string
}

// unsignedBombs are envelopes as anybody sends them.
func unsignedBombs(t *testing.T) map[string]bomb {
	t.Helper()
	b := bomber{t, newAuthor(t, "author-1", cose.ESP256)}
	digest, err := ident.SumDigest([]byte("x")).MarshalCBOR()
	if err != nil {
		t.Fatal(err)
	}
	blocks := func(block []byte) []byte {
		return b.envelope(digest, wrap(with(common(small))), slices.Repeat([][]byte{block}, 8))
	}
	sign1 := func(protected []byte) []byte {
		return slices.Concat([]byte{0xd2, 0x84}, wrap(protected), []byte{0xa0, 0xf6}, wrap(make([]byte, 64)))
	}
	labels := []byte{0xb9, 0x04, 0x00}
	for i := range uint16(1024) {
		labels = append(binary.BigEndian.AppendUint16(append(labels, 0x19), 0x1000+i), 0x01)
	}
	return map[string]bomb{
		"64 KiB and a byte":          {append([]byte{0xd8, 107}, make([]byte, suit.MaxEnvelope-1)...), "65537 bytes, at most 65536"},
		"10^9 members":               {fill(slices.Concat([]byte{0xd8, 107}, pairs(billion)), 2, 0x40), "envelope of 1000000000 items"},
		"10^9 blocks":                {slices.Concat([]byte{0xd8, 107, 0xa2, 2}, wrap(fill(array(billion), 0x40)), []byte{3, 0x40}), "wrapper of 1000000000 items"},
		"chain of tags":              {bytes.Repeat([]byte{0xd8, 107}, 32_000), "major type 6"},
		"chain of other tags":        {append([]byte{0xd8, 107}, bytes.Repeat([]byte{0xc1}, 65_000)...), "major type 6"},
		"bytes in bytes":             {slices.Concat([]byte{0xd8, 107, 0xa2, 2}, nested(8000), []byte{3, 0x40}), "major type 2"},
		"many payloads":              {fill([]byte{0xd8, 107, 0xb9, 0xff, 0xff, 2, 0x40, 3, 0x40}, 0x61, 'a', 0x40), "envelope of 65535 items"},
		"long payload name":          {b.signed(with(common(small)), append(longText(60_000), 0x40)...), "payload name of 60000 bytes"},
		"payload too large":          {b.signed(with(common(small)), slices.Concat([]byte{0x61, '#'}, wrap(make([]byte, 60_000)))...), "payload of 60000 bytes"},
		"payload of 4 GiB":           {b.signed(with(common(small)), 0x61, '#', 0x5a, 0xff, 0xff, 0xff, 0xff), "payload of 4294967295 bytes"},
		"block of nested arrays":     {blocks(bytes.Repeat([]byte{0x81}, 7000)), "block 0"},
		"block of bytes in bytes":    {blocks(nested(1500)), "block 0"},
		"block with nested values":   {blocks(sign1(append([]byte{0xa1, 1}, bytes.Repeat([]byte{0x81}, 4000)...))), "block 0: parse signature"},
		"block with 10^9 parameters": {blocks(sign1(fill(pairs(billion), 1)[:1500])), "block 0: parse signature"},
		"block with 1024 parameters": {blocks(sign1(labels)), "block 0: parse signature"},
	}
}

// signedBombs are envelopes of an author who is trusted.
func signedBombs(t *testing.T) map[string]bomb {
	t.Helper()
	b := bomber{t, newAuthor(t, "author-1", cose.ESP256)}
	install := func(sequence []byte) []byte {
		return b.signed(with(common(small), append([]byte{20}, wrap(sequence)...)...))
	}
	return map[string]bomb{
		"signed: 10^9 members":     {b.signed(fill(pairs(billion), 1, 1)), "manifest of 1000000000 items"},
		"signed: bytes in bytes":   {b.signed(nested(8000)), "major type 2"},
		"signed: chain of tags":    {b.signed(bytes.Repeat([]byte{0xc1}, 60_000)), "major type 6"},
		"signed: deep key":         {b.signed(append([]byte{0xa3}, bytes.Repeat([]byte{0x81}, 60_000)...)), "nested too deep"},
		"signed: 10^9 components":  {b.signed(with(slices.Concat([]byte{0xa1, 2}, fill(array(billion), 0x81, 0x41, 0)))), "components of 1000000000"},
		"signed: 9,000 components": {b.signed(with(slices.Concat([]byte{0xa1, 2, 0x99, 0x23, 0x28}, bytes.Repeat([]byte{0x81, 0x41, 0}, 9000)))), "components of 9000"},
		"signed: 10^9 commands":    {b.signed(with(common(fill(array(billion), 3, 15)))), "sequence of 1000000000"},
		"signed: 10^9 cases":       {install(append([]byte{0x82, 15}, fill(array(billion), 0x43, 0x82, 3, 15)...)), "try-each of 1000000000"},
		"signed: nested cases":     {install(deepCases(3000)), "nested deeper"},
		"signed: 10^9 parameters":  {b.signed(with(common(append([]byte{0x82, 20}, fill(pairs(billion), 14, 1)...)))), "parameters of 1000000000"},
		"signed: 10^9 languages":   {b.signed(with(common(small), append([]byte{23}, wrap(fill(pairs(billion), 0x61, 'a', 0xa0))...)...)), "text of 1000000000"},
		"signed: long language":    {b.signed(with(common(small), append([]byte{23}, wrap(slices.Concat([]byte{0xa1}, longText(60_000), []byte{0xa0}))...)...)), "language tag of 60000 bytes"},
		"signed: long URI":         {b.signed(with(common(slices.Concat([]byte{0x82, 20, 0xa1, 21}, longText(60_000))))), "uri of 60000 bytes"},
		"signed: version numbers":  {install(slices.Concat([]byte{0x82, 20, 0xa1, 0x18, 28}, wrap(append([]byte{0x82, 1}, fill(array(billion), 1)...)))), "version of 1000000000"},
	}
}

const billion = 1_000_000_000

// small is the shortest command sequence.
var small = []byte{0x82, 3, 15}

// fill is head, and items for as long as an envelope can be.
func fill(head []byte, item ...byte) []byte {
	return append(head, bytes.Repeat(item, 50_000/len(item))...)
}

func longText(n int) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0x79}, uint16(n)), bytes.Repeat([]byte{'k'}, n)...)
}

// deepCases is try-each in try-each.
func deepCases(n int) []byte {
	b := []byte{0x82, 3, 15}
	for range n {
		b = slices.Concat([]byte{0x82, 15, 0x82}, wrap(b), []byte{0x43, 0x82, 3, 15})
	}
	return b
}

// TestBombs: an envelope that asks for much work or memory is refused at once, whoever signed it.
func TestBombs(t *testing.T) {
	anchors := []firmware.Anchor{newAuthor(t, "author-1", cose.ESP256).Anchor}
	list := unsignedBombs(t)
	maps.Copy(list, signedBombs(t))
	if len(list) != 15+14 {
		t.Fatalf("%d bombs", len(list))
	}
	for name, b := range list {
		err := defused(t, name, func() error {
			_, err := firmware.Verify(b.envelope, anchors, at)
			return err
		})
		if !errors.Is(err, firmware.ErrMalformed) || !strings.Contains(err.Error(), b.words) {
			t.Errorf("%s: %v, want %q", name, err, b.words)
		}
	}
}

// TestEncryptionBombs: the same of what says how a payload is encrypted, which servers look at and devices act on.
func TestEncryptionBombs(t *testing.T) {
	head := slices.Concat([]byte{0xd8, 96, 0x84, 0x43, 0xa1, 1, 1, 0xa1, 5, 0x4c}, make([]byte, 12), []byte{0xf6})
	for name, tail := range map[string][]byte{
		"10^9 recipients":       fill(array(billion), 0x80)[:4000],
		"1,000 recipients":      append([]byte{0x99, 0x03, 0xe8}, bytes.Repeat([]byte{0x80}, 1000)...),
		"nested recipients":     bytes.Repeat([]byte{0x81}, 4000),
		"4 GiB of a key":        {0x81, 0x83, 0x5a, 0xff, 0xff, 0xff, 0xff},
		"longer than it may be": append(slices.Concat([]byte{0x81, 0x83, 0x40, 0xa0}, []byte{0x59, 0xf0, 0x00}), make([]byte, 0xf000)...),
	} {
		err := defused(t, name, func() error {
			_, err := encrypt.Parse(append(slices.Clone(head), tail...))
			return err
		})
		if !errors.Is(err, encrypt.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// defused does it several times and wants the best of them to be cheap.
func defused(t *testing.T, name string, do func() error) (err error) {
	t.Helper()
	best, memory := time.Hour, uint64(math.MaxUint64)
	for range bombRuns {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		err = do()
		best = min(best, time.Since(began))
		runtime.ReadMemStats(&after)
		memory = min(memory, after.TotalAlloc-before.TotalAlloc)
	}
	if best > bombTime || memory > bombMemory {
		t.Errorf("%s: it took %v and %d bytes of memory", name, best, memory)
	}
	return err
}
