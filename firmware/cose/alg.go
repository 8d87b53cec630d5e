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

// Kind is the sort of key that an algorithm works with.
type Kind string

// The kinds of keys, by the curve's name in the IANA registry.
const (
	P256       Kind = "P-256"
	Curve25519 Kind = "Ed25519"
)

// Kind returns the kind of key that a signs with, "" for an algorithm that isn't ours.
func (a Alg) Kind() Kind {
	switch a {
	case ES256, ESP256:
		return P256
	case EdDSA, Ed25519:
		return Curve25519
	}
	return ""
}

// DefaultAlg returns the fully specified algorithm of a key's kind: ESP256 or Ed25519.
func DefaultAlg(k PublicKey) Alg {
	if k.Kind() == P256 {
		return ESP256
	}
	return Ed25519
}
