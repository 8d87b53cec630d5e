package simulator

import (
	"math/rand/v2"
	"testing"

	"fleetbridge/ident"
)

// The order of chunks within the window changes nothing, and memory holds at most the window.
func TestSlotTakesAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		payload := make([]byte, 1+rng.IntN(5000))
		for i := range payload {
			payload[i] = byte(rng.Uint32())
		}
		const chunk, window = 128, 8
		s := newSlot(ident.SumDigest(payload), int64(len(payload)), chunk, -1)
		for !s.complete() {
			first, count, bitmap := s.missing(window)
			if first != s.next || count == 0 || count > window {
				t.Fatalf("missing %d+%d of %d at %d", first, count, s.total, s.next)
			}
			for _, i := range rng.Perm(int(count)) {
				if bitmap != nil && bitmap[i/8]>>(i%8)&1 == 0 || rng.IntN(4) == 0 {
					continue
				}
				at := (int(first) + i) * chunk
				if w := s.write(first+uint32(i), payload[at:min(at+chunk, len(payload))], window); w != stored {
					t.Fatalf("chunk %d: %v", i, w)
				}
				if len(s.held) > window {
					t.Fatalf("%d chunks held", len(s.held))
				}
			}
		}
		if s.received() != ident.SumDigest(payload) || s.readBack() != s.received() {
			t.Fatalf("digest of %d bytes is wrong", len(payload))
		}
	}
}

func TestSlotRefusesForeignChunks(t *testing.T) {
	s := newSlot(ident.Digest{}, 1000, 128, -1) // 7 chunks of 128 and one of 104
	tests := []struct {
		index uint32
		n     int
		want  written
	}{
		{8, 128, foreign}, {7, 128, foreign}, {0, 127, foreign}, {0, 0, foreign}, {5, 128, foreign}, {1 << 31, 128, foreign},
		{0, 128, stored}, {0, 128, again}, {2, 128, stored}, {2, 128, again}, {1, 128, stored}, {2, 128, again},
	}
	for _, tt := range tests {
		if got := s.write(tt.index, make([]byte, tt.n), 4); got != tt.want {
			t.Errorf("chunk %d of %d bytes: %v, want %v", tt.index, tt.n, got, tt.want)
		}
	}
	if s.next != 3 || s.stored() != 384 {
		t.Errorf("next %d, stored %d", s.next, s.stored())
	}
}

func TestSlotReadsBackABadCell(t *testing.T) {
	payload := make([]byte, 1000)
	for _, cell := range []int64{0, 127, 128, 999} {
		s := newSlot(ident.SumDigest(payload), 1000, 128, cell)
		for i := uint32(0); !s.complete(); i++ {
			s.write(i, payload[int64(i)*128:int64(i)*128+s.length(i)], 8)
		}
		if s.received() != ident.SumDigest(payload) || s.readBack() == s.received() {
			t.Errorf("cell %d does not show", cell)
		}
	}
}
