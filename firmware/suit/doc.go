// Package suit reads and writes SUIT envelopes as draft-ietf-suit-manifest-37 defines them. It is a pure codec: bytes in,
// values out; no keys, no clock, no I/O. Section numbers in comments are that draft's.
//
// Reading is strict. Only the one deterministic encoding of RFC 8949 section 4.2.1 is taken, at every layer that is
// wrapped in a byte string; so two envelopes of equal meaning have equal bytes, save for their signatures. An unknown
// member, command or parameter is an error (section 6.1: the processor must fail), and so are private ones (negative
// numbers). Every count, size and depth has a limit, which is checked before anything is allocated for it.
//
// Reading has two stages, so that unsigned bytes meet as little code as possible: Split finds the signature blocks and
// what they sign; (Parts).Decode, called once a signature has verified, checks digests and reads the manifest.
package suit

import (
	"errors"
	"fmt"
)

// The classes of errors. Each error of this package wraps exactly one of them.
var (
	ErrMalformed   = errors.New("malformed envelope")   // not what the draft defines, or over a limit
	ErrUnsupported = errors.New("unsupported manifest") // defined, or private, but outside of what we implement
	ErrDigest      = errors.New("digest mismatch")      // a member isn't what the digest over it says
)

// Narrower classes of ErrUnsupported.
var (
	ErrUnknown = fmt.Errorf("not a command, parameter or member that is known: %w", ErrUnsupported)
	ErrSevered = fmt.Errorf("severed member other than text: %w", ErrUnsupported)
)

// Limits on what is read.
const (
	MaxEnvelope   = 64 << 10 // bytes
	MaxIntegrated = 48 << 10 // bytes of all integrated payloads: what is larger is fetched

	maxBlocks     = 8
	maxPayloads   = 8
	maxComponents = 16
	maxParts      = 5   // byte strings of a component identifier
	maxPart       = 32  // bytes of one of them
	maxCommands   = 256 // in one manifest, nested ones included
	maxDepth      = 4   // of command sequences, the outermost included
	maxCases      = 16  // sequences of one try-each
	maxParameters = 16  // of one override-parameters
	maxVersion    = 16  // numbers of a version
	maxURI        = 255 // bytes; what constrained processors take
	maxLanguages  = 8
)
