package cose

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"

	gocose "github.com/veraison/go-cose"
)

// ToBeSigned returns the bytes that a signer outside of this program signs for a message over payload: the Sig_structure
// (RFC 9052 section 4.4). With ES256 and ESP256 the signer hashes them with SHA-256; EdDSA and Ed25519 sign them as they
// are.
func ToBeSigned(payload []byte, alg Alg, kid []byte) ([]byte, error) {
	if alg.Kind() == "" {
		return nil, fmt.Errorf("sign with %s: %w", alg, ErrUnknownAlg)
	}
	s := &listener{alg: alg}
	if _, err := seal(payload, alg, kid, nil, s); err != nil {
		return nil, err
	}
	return s.content, nil
}

// Assemble makes the message of a signature over ToBeSigned, once key has verified it. An ECDSA signature may be r and s
// of 32 bytes each, or their DER; EdDSA's is 64 bytes. The error wraps ErrSignature.
func Assemble(payload, signature []byte, key PublicKey, alg Alg, kid []byte) ([]byte, error) {
	if alg.Kind() == "" || alg.Kind() != key.Kind() {
		return nil, fmt.Errorf("attach signature of %s with a %q key: %w", alg, key.Kind(), ErrUnknownAlg)
	}
	forms := [][]byte{signature}
	if key.ec != nil {
		if raw, err := rawSignature(signature); err == nil {
			forms = append(forms, raw)
		}
	}
	var why error
	for _, form := range forms {
		if len(form) != signatureSize {
			continue
		}
		msg, err := seal(payload, alg, kid, nil, &listener{alg: alg, signature: form})
		if err != nil {
			return nil, err
		}
		if why = Verify1(msg, payload, key, alg); why == nil {
			return msg, nil
		}
	}
	if why == nil {
		why = fmt.Errorf("%d bytes are neither r and s (or Ed25519) of %d nor DER: %w", len(signature), signatureSize, ErrSignature)
	}
	return nil, fmt.Errorf("attach signature: %w", why)
}

// listener stands in for a signer: it hears what there is to be signed, and answers with what it was given.
type listener struct {
	alg       Alg
	signature []byte
	content   []byte
}

// Algorithm is the one of the message.
func (l *listener) Algorithm() gocose.Algorithm { return gocose.Algorithm(l.alg) }

// Sign keeps content. A signature of zeros stands for none.
func (l *listener) Sign(_ io.Reader, content []byte) ([]byte, error) {
	l.content = content
	if l.signature == nil {
		return make([]byte, signatureSize), nil
	}
	return l.signature, nil
}

// rawSignature turns the DER of an ECDSA signature into r and s, each as long as the order (RFC 9053 section 2.1).
func rawSignature(der []byte) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &sig)
	switch {
	case err != nil:
		return nil, err
	case len(rest) > 0 || sig.R.Sign() <= 0 || sig.S.Sign() <= 0 || sig.R.BitLen() > 8*scalarSize || sig.S.BitLen() > 8*scalarSize:
		return nil, errors.New("not the signature of a P-256 key")
	}
	raw := make([]byte, signatureSize)
	sig.R.FillBytes(raw[:scalarSize])
	sig.S.FillBytes(raw[scalarSize:])
	return raw, nil
}
