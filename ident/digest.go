package ident

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest names bytes by their SHA-256, the one digest algorithm of our SUIT profile (id -16). It is comparable and can
// be a map key. The zero value is "none". Text form: `sha256:` and 64 lower-case hex digits.
type Digest [sha256.Size]byte

// DigestAlg is SHA-256's identifier in a SUIT_Digest.
const DigestAlg = -16

const digestPrefix = "sha256:"

// SumDigest is the digest of b.
func SumDigest(b []byte) Digest { return sha256.Sum256(b) }

// ParseDigest parses `sha256:<hex>`, or the bare 64 hex digits that a payload URI carries. The error wraps ErrInvalid.
func ParseDigest(s string) (Digest, error) {
	h := strings.TrimPrefix(s, digestPrefix)
	var d Digest
	if len(h) != 2*len(d) || strings.ToLower(h) != h {
		return Digest{}, fmt.Errorf("parse digest: want sha256: and %d lower-case hex digits: %w", 2*len(d), ErrInvalid)
	}
	if _, err := hex.Decode(d[:], []byte(h)); err != nil {
		return Digest{}, fmt.Errorf("parse digest: not hex: %w", ErrInvalid)
	}
	return d, nil
}

// String returns `sha256:<hex>`, "" for the zero value.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return digestPrefix + d.Hex()
}

// Hex returns the 64 lower-case hex digits.
func (d Digest) Hex() string { return hex.EncodeToString(d[:]) }

// IsZero reports whether d names nothing.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText writes the text form.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses the text form; empty text gives the zero value.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	v, err := ParseDigest(string(text))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// suitDigestHead is the CBOR of a SUIT_Digest up to the hash: array(2), -16, bytes(32).
var suitDigestHead = []byte{0x82, 0x2f, 0x58, 0x20}

// MarshalCBOR writes a SUIT_Digest `[-16, bstr .size 32]`, or null for the zero value.
func (d Digest) MarshalCBOR() ([]byte, error) {
	if d.IsZero() {
		return []byte{0xf6}, nil
	}
	return append(append(make([]byte, 0, len(suitDigestHead)+len(d)), suitDigestHead...), d[:]...), nil
}

// UnmarshalCBOR reads what MarshalCBOR writes, and nothing else. The error wraps ErrInvalid.
func (d *Digest) UnmarshalCBOR(b []byte) error {
	if len(b) == 1 && b[0] == 0xf6 {
		*d = Digest{}
		return nil
	}
	if len(b) != len(suitDigestHead)+len(d) || string(b[:4]) != string(suitDigestHead) {
		return fmt.Errorf("decode digest: want [-16, bytes(32)]: %w", ErrInvalid)
	}
	copy(d[:], b[4:])
	return nil
}
