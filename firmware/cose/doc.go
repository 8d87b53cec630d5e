// Package cose signs and verifies COSE_Sign1 messages with detached payloads (RFC 9052), and reads and writes the keys
// that do so. It is a pure codec: bytes in, values out; no file, no clock, no random source of its own.
//
// The profile is narrow on purpose: tag 18, a protected header of exactly alg (1) and optionally kid (4), an empty
// unprotected header, a nil payload, P-256 or Ed25519, and one deterministic encoding. A message outside of it is
// refused, so that nothing in an accepted message is unsigned. The one freedom left is ECDSA's own: for a signature (r,
// s) the pair (r, n-s) verifies too, so a message's bytes never identify what was signed.
//
// It is the only importer of go-cose, whose own signers don't know the algorithms of RFC 9864.
package cose
