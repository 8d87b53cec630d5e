package firmware

import (
	"errors"
	"fmt"
	"slices"

	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

// ToBeSigned returns what a signer outside of this program, such as an HSM, signs to add a block with alg and id to
// envelope: see cose.ToBeSigned. Like Sign it answers only for an envelope whose digests match and that can be read.
func ToBeSigned(envelope []byte, alg cose.Alg, id ident.Key) ([]byte, error) {
	p, err := signable(envelope, alg, id)
	if err != nil {
		return nil, err
	}
	return cose.ToBeSigned(p.Signed(), alg, []byte(id.String()))
}

// Attach returns envelope with one more block, of a signature over ToBeSigned. A signature that key does not verify is
// refused with ErrUntrusted.
func Attach(envelope, signature []byte, key cose.PublicKey, alg cose.Alg, id ident.Key) ([]byte, error) {
	p, err := signable(envelope, alg, id)
	if err != nil {
		return nil, err
	}
	block, err := cose.Assemble(p.Signed(), signature, key, alg, []byte(id.String()))
	if errors.Is(err, cose.ErrSignature) {
		err = fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if err != nil {
		return nil, err
	}
	signed, err := suit.AddBlock(envelope, block)
	if err != nil {
		return nil, fmt.Errorf("attach signature: %w", classify(err))
	}
	return signed, nil
}

// ErrSigned is wrapped where an envelope has a block under that name and algorithm already.
var ErrSigned = errors.New("signed already")

// Signable reports whether envelope may get a block with alg under the name id: its digests match, it can be read, and
// it has none such. The error wraps ErrSigned or those of Verify.
func Signable(envelope []byte, alg cose.Alg, id ident.Key) error {
	_, err := signable(envelope, alg, id)
	return err
}

// signable takes apart an envelope that may get a block with alg under the name id.
func signable(envelope []byte, alg cose.Alg, id ident.Key) (*suit.Parts, error) {
	p, err := suit.Split(envelope)
	if err != nil {
		return nil, fmt.Errorf("sign manifest: %w", classify(err))
	}
	if _, err := p.Decode(); err != nil {
		return nil, fmt.Errorf("sign manifest: %w", classify(err))
	}
	if slices.ContainsFunc(p.Blocks, func(b []byte) bool {
		h, err := cose.Parse(b)
		return err == nil && h.Alg == alg && string(h.KID) == id.String()
	}) {
		return nil, fmt.Errorf("sign manifest: it has a block with %s by %s: %w", alg, id, ErrSigned)
	}
	return p, nil
}
