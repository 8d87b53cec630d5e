package cose

import (
	"errors"
	"fmt"
)

// Alg is a COSE algorithm identifier (IANA registry). A key has exactly one.
type Alg int64

// The signature algorithms of our profile. ESP256 and Ed25519 are the fully specified ids of RFC 9864; ES256 and EdDSA
// are what today's devices understand.
const (
	ES256   Alg = -7
	EdDSA   Alg = -8
	ESP256  Alg = -9
	Ed25519 Alg = -19
)

// ErrUnknownAlg is wrapped where an algorithm is not one of ours.
var ErrUnknownAlg = errors.New("unknown algorithm")

// ParseAlg parses an algorithm's name as IANA writes it.
func ParseAlg(s string) (Alg, error) {
	for _, a := range []Alg{ES256, EdDSA, ESP256, Ed25519} {
		if a.String() == s {
			return a, nil
		}
	}
	return 0, fmt.Errorf("parse algorithm %q: one of ES256, ESP256, EdDSA, Ed25519: %w", s, ErrUnknownAlg)
}

// String returns the algorithm's IANA name.
func (a Alg) String() string {
	switch a {
	case ES256:
		return "ES256"
	case EdDSA:
		return "EdDSA"
	case ESP256:
		return "ESP256"
	case Ed25519:
		return "Ed25519"
	}
	return fmt.Sprintf("alg(%d)", int64(a))
}
