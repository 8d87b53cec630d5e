package cose

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ErrKey is wrapped by every error about a key that can't be read or is not of our kinds.
var ErrKey = errors.New("unusable key")

const (
	publicBlock  = "PUBLIC KEY"
	privateBlock = "PRIVATE KEY"
	maxKey       = 4096 // bytes of any key form that is looked at
	scalarSize   = 32   // of P-256, and the seed of Ed25519
)

// PublicKey is a P-256 or Ed25519 public key. The zero value is no key and verifies nothing. Values are never changed
// and may be shared between goroutines.
type PublicKey struct {
	ec *ecdsa.PublicKey
	ed ed25519.PublicKey
}

// Kind returns the key's kind, "" for the zero value.
func (k PublicKey) Kind() Kind {
	switch {
	case k.ec != nil:
		return P256
	case k.ed != nil:
		return Curve25519
	}
	return ""
}

// Equal reports whether k and o are the same key.
func (k PublicKey) Equal(o PublicKey) bool {
	return k.Kind() == o.Kind() && bytes.Equal(k.SPKI(), o.SPKI())
}

// SPKI returns the key as DER SubjectPublicKeyInfo (RFC 5280), nil for the zero value.
func (k PublicKey) SPKI() []byte {
	var pub any = k.ed
	if k.ec != nil {
		pub = k.ec
	} else if k.ed == nil {
		return nil
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil // can't happen: every non-zero value was parsed or generated
	}
	return der
}

// PEM returns the key as a PEM block of its SPKI.
func (k PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: k.SPKI()})
}

// ParseSPKI parses a DER SubjectPublicKeyInfo in its one canonical form. The error wraps ErrKey.
func ParseSPKI(der []byte) (PublicKey, error) {
	if len(der) > maxKey {
		return PublicKey{}, fmt.Errorf("parse public key: %d bytes, at most %d: %w", len(der), maxKey, ErrKey)
	}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil { // what the decoder of ASN.1 says of itself tells nobody anything
		return PublicKey{}, fmt.Errorf("parse public key: neither PEM, nor a DER SubjectPublicKeyInfo of a known kind, nor a COSE_Key: %w", ErrKey)
	}
	k, err := newPublicKey(pub)
	if err != nil {
		return PublicKey{}, fmt.Errorf("parse public key: %w", err)
	}
	if !bytes.Equal(k.SPKI(), der) {
		return PublicKey{}, fmt.Errorf("parse public key: not in canonical form: %w", ErrKey)
	}
	return k, nil
}

// ParsePublicKey parses a public key as PEM ("PUBLIC KEY"), DER SubjectPublicKeyInfo or COSE_Key, told apart by the
// first byte. The error wraps ErrKey.
func ParsePublicKey(b []byte) (PublicKey, error) {
	switch {
	case len(b) > maxKey:
		return PublicKey{}, fmt.Errorf("parse public key: %d bytes, at most %d: %w", len(b), maxKey, ErrKey)
	case bytes.HasPrefix(b, []byte("-----BEGIN")):
		der, err := pemBytes(b, publicBlock)
		if err != nil {
			return PublicKey{}, fmt.Errorf("parse public key: %w", err)
		}
		return ParseSPKI(der)
	case isMap(b):
		k, err := ParseCOSEKey(b)
		return k.Key, err
	}
	return ParseSPKI(b)
}

// pemBytes returns the contents of the one PEM block in b, which must be of type want.
func pemBytes(b []byte, want string) ([]byte, error) {
	block, rest := pem.Decode(b)
	switch {
	case block == nil:
		return nil, fmt.Errorf("no PEM block: %w", ErrKey)
	case block.Type != want:
		return nil, fmt.Errorf("PEM block %q, want %q: %w", block.Type, want, ErrKey)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, fmt.Errorf("more than one PEM block: %w", ErrKey)
	}
	return block.Bytes, nil
}

func newPublicKey(pub any) (PublicKey, error) {
	switch p := pub.(type) {
	case *ecdsa.PublicKey:
		if p.Curve != elliptic.P256() {
			return PublicKey{}, fmt.Errorf("curve %s, want P-256: %w", p.Curve.Params().Name, ErrKey)
		}
		return PublicKey{ec: p}, nil
	case ed25519.PublicKey:
		return PublicKey{ed: p}, nil
	}
	return PublicKey{}, fmt.Errorf("%T, want a P-256 or Ed25519 key: %w", pub, ErrKey)
}
