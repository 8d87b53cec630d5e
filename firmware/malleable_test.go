package firmware_test

import (
	"testing"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
)

// TestOneBit: an envelope of any shape of which one bit differs is refused.
func TestOneBit(t *testing.T) {
	a := newAuthor(t, "author-1", cose.Ed25519)
	secret, _ := ciphertext(t)
	for name, set := range map[string]func(*firmware.Spec){
		"image":      func(*firmware.Spec) {},
		"delta":      func(s *firmware.Spec) { s.Deltas = deltasOf(old) },
		"encrypted":  func(s *firmware.Spec) { s.Encrypted = secret },
		"integrated": func(s *firmware.Spec) { s.Integrated = []byte("payload") },
	} {
		s := spec()
		set(&s)
		b := a.sign(t, create(t, s))
		if _, err := firmware.Verify(b, []firmware.Anchor{a.Anchor}, at); err != nil {
			t.Fatal(err)
		}
		for i := range 8 * len(b) {
			b[i/8] ^= 1 << (i % 8)
			if m, err := firmware.Verify(b, []firmware.Anchor{a.Anchor}, at); err == nil {
				t.Errorf("%s: bit %d of byte %d is of no meaning: %s", name, i%8, i/8, m.Digest)
			}
			b[i/8] ^= 1 << (i % 8)
		}
	}
}
