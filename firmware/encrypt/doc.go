// Package encrypt encrypts payloads for devices and reads what SUIT calls encryption-info (suit-firmware-encryption): a
// COSE_Encrypt (RFC 9052 section 5.1) whose ciphertext is elsewhere, with the content key wrapped for each recipient. It
// is used by authors and devices; the server only looks whether encryption-info is well formed, and has no key.
//
// Content is encrypted with A128GCM, or with A128CTR where a device must decrypt as the bytes come: that authenticates
// nothing, and the manifest's digest of the plaintext is what protects it. The content key is wrapped with AES Key Wrap,
// under a key that device and author share or under one agreed with the device's P-256 key (ECDH-ES+A128KW). Randomness is
// an argument.
package encrypt

import (
	"errors"
	"fmt"
)

// Errors of this package.
var (
	ErrMalformed   = errors.New("malformed encryption-info") // not what COSE and SUIT define, or over a limit
	ErrUnsupported = errors.New("unsupported encryption")    // an algorithm that isn't ours
	ErrKey         = errors.New("invalid encryption key")
	ErrRecipient   = errors.New("encrypted for others") // no recipient is one of the keys
	ErrCorrupt     = errors.New("ciphertext does not decrypt")
	ErrTooLarge    = errors.New("too large to be encrypted as a whole")
)

// Limits.
const (
	MaxInfo = 4 << 10 // bytes of encryption-info
	// MaxWhole bounds a plaintext under A128GCM, in bytes: it is held in memory, as nothing of it may be used before its
	// tag has been checked. A128CTR has no bound.
	MaxWhole = 64 << 20

	maxRecipients = 16
	maxKID        = 64 // bytes
)

// Content is a content encryption algorithm (IANA COSE registry).
type Content int64

// The content encryption algorithms.
const (
	A128GCM Content = 1
	A128CTR Content = -65534
)

// String returns the algorithm's IANA name.
func (c Content) String() string {
	switch c {
	case A128GCM:
		return "A128GCM"
	case A128CTR:
		return "A128CTR"
	}
	return fmt.Sprintf("alg(%d)", int64(c))
}

// ParseContent parses an algorithm's IANA name.
func ParseContent(s string) (Content, error) {
	for _, c := range []Content{A128GCM, A128CTR} {
		if c.String() == s {
			return c, nil
		}
	}
	return 0, fmt.Errorf("parse algorithm %q: A128GCM or A128CTR: %w", s, ErrUnsupported)
}

// Overhead is by how many bytes a ciphertext is longer than its plaintext.
func (c Content) Overhead() int64 {
	if c == A128GCM {
		return tagSize
	}
	return 0
}

func (c Content) ivSize() int {
	if c == A128GCM {
		return gcmIV
	}
	return ctrIV
}

const (
	keySize = 16 // of content keys and of key encryption keys
	tagSize = 16
	gcmIV   = 12
	ctrIV   = 16
)

// Exchange is how a content key gets to a recipient (IANA COSE registry).
type Exchange int64

// The ways of a content key.
const (
	A128KW       Exchange = -3  // wrapped under a shared key
	ECDHESA128KW Exchange = -29 // wrapped under a key agreed with the recipient's P-256 key
)

// String returns the algorithm's IANA name.
func (e Exchange) String() string {
	switch e {
	case A128KW:
		return "A128KW"
	case ECDHESA128KW:
		return "ECDH-ES+A128KW"
	}
	return fmt.Sprintf("alg(%d)", int64(e))
}
