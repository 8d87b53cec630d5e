package simulator

import (
	"crypto/sha256"
	"hash"

	"fleetbridge/ident"
)

// slot is the part of a device's flash that takes the new image: it survives loss of power. A simulated device needs
// the digest of what it stored, not the bytes, so chunks are hashed as the gap before them closes; those that came out of
// order are held until then, at most one window of them. That keeps 2,000 devices with a MiB each in little memory.
type slot struct {
	digest ident.Digest
	size   int64
	chunk  uint32 // bytes per chunk
	total  uint32 // chunks
	next   uint32 // chunks before it are stored without a gap
	held   map[uint32][]byte
	sum    hash.Hash // of the chunks before next, as received
	// cell is the offset of a byte that does not hold what is written to it; negative means the flash is good.
	cell  int64
	flash hash.Hash // of the chunks before next, as the flash reads back; nil while it is good
}

func newSlot(digest ident.Digest, size int64, chunk uint32, cell int64) *slot {
	s := &slot{digest: digest, size: size, chunk: chunk, cell: cell, sum: sha256.New()}
	s.total = uint32((size + int64(chunk) - 1) / int64(chunk))
	if cell >= 0 {
		s.flash = sha256.New()
	}
	return s
}

// written is what became of a chunk.
type written int

const (
	stored  written = iota
	again           // it was stored before
	foreign         // no chunk of this payload, or not of its length, or too far ahead
)

// write stores chunk i; ahead bounds how far beyond the gap a chunk is held.
func (s *slot) write(i uint32, data []byte, ahead uint32) written {
	if i >= s.total || int64(len(data)) != s.length(i) {
		return foreign
	}
	if i < s.next || s.held[i] != nil {
		return again
	}
	if i > s.next {
		if i-s.next > ahead {
			return foreign
		}
		if s.held == nil {
			s.held = make(map[uint32][]byte)
		}
		s.held[i] = append([]byte(nil), data...)
		return stored
	}
	s.append(data)
	for len(s.held) > 0 {
		data, ok := s.held[s.next]
		if !ok {
			break
		}
		delete(s.held, s.next)
		s.append(data)
	}
	return stored
}

// append takes the chunk next. hash.Hash never returns an error.
func (s *slot) append(data []byte) {
	s.sum.Write(data)
	if s.flash != nil {
		at := s.cell - s.stored()
		if at >= 0 && at < int64(len(data)) {
			bad := append([]byte(nil), data...)
			bad[at] ^= 0xff
			data = bad
		}
		s.flash.Write(data)
	}
	s.next++
}

// length is how many bytes chunk i has: the last one may be short.
func (s *slot) length(i uint32) int64 {
	return min(int64(s.chunk), s.size-int64(i)*int64(s.chunk))
}

// stored is how many bytes lie before the first gap.
func (s *slot) stored() int64 { return min(int64(s.next)*int64(s.chunk), s.size) }

// has reports whether anything is stored.
func (s *slot) has() bool { return s.next > 0 || len(s.held) > 0 }

func (s *slot) complete() bool { return s.next == s.total }

// missing names the next chunks to fetch, at most window from the first gap on: a first chunk, a count, and a bitmap
// where some of them are held already (topics.Fetch). Only for a slot that is not complete.
func (s *slot) missing(window uint32) (first, count uint32, bitmap []byte) {
	first, count = s.next, min(window, s.total-s.next)
	if len(s.held) == 0 {
		return first, count, nil
	}
	bitmap = make([]byte, (count+7)/8)
	for i := range count {
		if s.held[first+i] == nil {
			bitmap[i/8] |= 1 << (i % 8)
		}
	}
	return first, count, bitmap
}

// received is the digest of the bytes that came; readBack is that of what the flash holds. Both only when complete.
func (s *slot) received() ident.Digest { return ident.Digest(s.sum.Sum(nil)) }

func (s *slot) readBack() ident.Digest {
	if s.flash == nil {
		return s.received()
	}
	return ident.Digest(s.flash.Sum(nil))
}
