package cose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/big"

	gocose "github.com/veraison/go-cose"
)

// Errors of messages; a caller branches on which of the two it is.
var (
	ErrMalformed = errors.New("malformed COSE_Sign1") // not a message of our profile
	ErrSignature = errors.New("signature does not verify")
)

// Limits of a message.
const (
	MaxMessage = 8 << 10 // bytes of a COSE_Sign1; room for the largest registered signature, so that its algorithm is seen
	MaxKID     = 64      // bytes of a key identifier

	signatureSize = 64 // both of P-256 (r and s, 32 bytes each) and of Ed25519
)

// Header is the protected header of a message: which algorithm, and by which key, if the signer said so.
type Header struct {
	Alg Alg
	KID []byte // nil if absent
}

// Sign1 signs payload and returns the tagged COSE_Sign1 without it (detached, RFC 9052 section 4.2). An empty kid leaves
// the header out. With a nil rand the signature is a function of key and payload (RFC 6979, RFC 8032); with any other,
// ECDSA is randomized.
func Sign1(payload []byte, key PrivateKey, alg Alg, kid []byte, rand io.Reader) ([]byte, error) {
	if alg.Kind() == "" || alg.Kind() != key.Public().Kind() {
		return nil, fmt.Errorf("sign with %s and a %q key: %w", alg, key.Public().Kind(), ErrUnknownAlg)
	}
	return seal(payload, alg, kid, rand, signer{key, alg})
}

// seal makes the message that by signs.
func seal(payload []byte, alg Alg, kid []byte, rand io.Reader, by gocose.Signer) ([]byte, error) {
	if len(kid) > MaxKID {
		return nil, fmt.Errorf("sign: key identifier of %d bytes, at most %d: %w", len(kid), MaxKID, ErrMalformed)
	}
	m := gocose.NewSign1Message()
	m.Headers.Protected.SetAlgorithm(gocose.Algorithm(alg))
	if len(kid) > 0 {
		m.Headers.Protected[gocose.HeaderLabelKeyID] = kid
	}
	m.Payload = payload
	if err := m.Sign(rand, nil, by); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	m.Payload = nil // nil encodes as null, which is what makes it detached; an empty slice would be an attached payload
	b, err := m.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("encode signature: %w", err)
	}
	return b, nil
}

// Parse reads the header of a message and checks its whole form, but not its signature. The error wraps ErrMalformed,
// and ErrUnknownAlg too where only the algorithm isn't ours.
func Parse(msg []byte) (Header, error) {
	h, _, err := parse(msg)
	return h, err
}

func parse(msg []byte) (Header, *gocose.Sign1Message, error) {
	fail := func(err error) (Header, *gocose.Sign1Message, error) {
		return Header{}, nil, fmt.Errorf("parse signature: %w: %w", ErrMalformed, err)
	}
	if len(msg) > MaxMessage {
		return fail(fmt.Errorf("%d bytes, at most %d", len(msg), MaxMessage))
	}
	var m gocose.Sign1Message
	if err := m.UnmarshalCBOR(msg); err != nil {
		return fail(err)
	}
	if m.Payload != nil { // an attached payload would be silently replaced below
		return fail(errors.New("payload is attached"))
	}
	if len(m.Headers.Unprotected) != 0 {
		return fail(errors.New("unprotected header isn't empty"))
	}
	h, err := header(m.Headers.Protected)
	if err != nil {
		return fail(err)
	}
	if len(m.Signature) != signatureSize {
		return fail(fmt.Errorf("signature of %d bytes, want %d", len(m.Signature), signatureSize))
	}
	m.Headers.RawProtected, m.Headers.RawUnprotected = nil, nil // else they win over what was decoded
	again, err := m.MarshalCBOR()
	if err != nil {
		return fail(err)
	}
	if !bytes.Equal(again, msg) {
		return fail(errors.New("not in deterministic encoding"))
	}
	return h, &m, nil
}

// header takes exactly alg (1) and kid (4). Any other label, crit (2) included, could change what the message means, and
// go-cose doesn't act on it.
func header(p gocose.ProtectedHeader) (Header, error) {
	var h Header
	for label, v := range p {
		switch label {
		case gocose.HeaderLabelAlgorithm:
			a, err := p.Algorithm()
			if err != nil {
				return Header{}, err
			}
			h.Alg = Alg(a)
		case gocose.HeaderLabelKeyID:
			kid, ok := v.([]byte)
			if !ok || len(kid) == 0 || len(kid) > MaxKID {
				return Header{}, fmt.Errorf("key identifier isn't 1 to %d bytes", MaxKID)
			}
			h.KID = kid
		default:
			return Header{}, fmt.Errorf("header parameter %v", label)
		}
	}
	if h.Alg.Kind() == "" {
		return Header{}, fmt.Errorf("%s: %w", h.Alg, ErrUnknownAlg)
	}
	return h, nil
}

// Verify1 verifies msg over payload with the key and algorithm that the caller trusts; what msg says of its algorithm
// must agree. The error wraps ErrMalformed or ErrSignature.
func Verify1(msg, payload []byte, key PublicKey, alg Alg) error {
	h, m, err := parse(msg)
	if err != nil {
		return err
	}
	if h.Alg != alg || alg.Kind() != key.Kind() {
		return fmt.Errorf("verify: message says %s, want %s with a %q key: %w", h.Alg, alg, key.Kind(), ErrSignature)
	}
	m.Payload = payload
	if err := m.Verify(nil, verifier{key, alg}); err != nil {
		return fmt.Errorf("verify: %w: %w", ErrSignature, err)
	}
	return nil
}

// signer and verifier are ours because go-cose has none for ESP256 (-9) and Ed25519 (-19), RFC 9864.
type signer struct {
	key PrivateKey
	alg Alg
}

func (s signer) Algorithm() gocose.Algorithm { return gocose.Algorithm(s.alg) }

func (s signer) Sign(rand io.Reader, content []byte) ([]byte, error) {
	if s.key.ed != nil {
		return ed25519.Sign(s.key.ed, content), nil
	}
	sum := sha256.Sum256(content)
	der, err := s.key.ec.Sign(rand, sum[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return rawSignature(der)
}

type verifier struct {
	key PublicKey
	alg Alg
}

func (v verifier) Algorithm() gocose.Algorithm { return gocose.Algorithm(v.alg) }

func (v verifier) Verify(content, sig []byte) error {
	if v.key.ed != nil {
		if !ed25519.Verify(v.key.ed, content, sig) {
			return gocose.ErrVerification
		}
		return nil
	}
	sum := sha256.Sum256(content)
	r, s := new(big.Int).SetBytes(sig[:scalarSize]), new(big.Int).SetBytes(sig[scalarSize:])
	if !ecdsa.Verify(v.key.ec, sum[:], r, s) {
		return gocose.ErrVerification
	}
	return nil
}
