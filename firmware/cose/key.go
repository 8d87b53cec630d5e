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
	"io"
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
	if err != nil {
		return PublicKey{}, fmt.Errorf("parse public key: %w: %w", ErrKey, err)
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
	case len(b) > 0 && b[0]>>5 == 5: // a CBOR map
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

// PrivateKey is a P-256 or Ed25519 private key. It belongs to an author, offline; no server code holds one. It prints
// as "redacted".
type PrivateKey struct {
	ec *ecdsa.PrivateKey
	ed ed25519.PrivateKey
}

// GeneratePrivateKey draws a key of kind k from rand, and is a function of what rand returns.
func GeneratePrivateKey(k Kind, rand io.Reader) (PrivateKey, error) {
	if k != P256 && k != Curve25519 {
		return PrivateKey{}, fmt.Errorf("generate key of kind %q: %w", k, ErrUnknownAlg)
	}
	// Rejection sampling: a P-256 scalar is out of range once in 2^32 draws, so only a broken source needs a third one.
	for range 3 {
		var seed [scalarSize]byte
		if _, err := io.ReadFull(rand, seed[:]); err != nil {
			return PrivateKey{}, fmt.Errorf("generate key: %w", err)
		}
		if k == Curve25519 {
			return PrivateKey{ed: ed25519.NewKeyFromSeed(seed[:])}, nil
		}
		if ec, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:]); err == nil {
			return PrivateKey{ec: ec}, nil
		}
	}
	return PrivateKey{}, fmt.Errorf("generate key: random source is broken: %w", ErrKey)
}

// Public returns the public half, the zero value for the zero value.
func (k PrivateKey) Public() PublicKey {
	switch {
	case k.ec != nil:
		return PublicKey{ec: &k.ec.PublicKey}
	case k.ed != nil:
		return PublicKey{ed: k.ed.Public().(ed25519.PublicKey)}
	}
	return PublicKey{}
}

// String keeps the key out of logs.
func (k PrivateKey) String() string { return "redacted" }

// Format keeps the key out of logs under every verb.
func (k PrivateKey) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, k.String()) // the state keeps the error
}

// PEM returns the key as an unencrypted PKCS#8 PEM block; the caller writes it where only its owner can read.
func (k PrivateKey) PEM() ([]byte, error) {
	var key any = k.ed
	if k.ec != nil {
		key = k.ec
	} else if k.ed == nil {
		return nil, fmt.Errorf("write private key: none: %w", ErrKey)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("write private key: %w: %w", ErrKey, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der}), nil
}

// ParsePrivateKey parses a PKCS#8 PEM block ("PRIVATE KEY"). The error wraps ErrKey and never quotes the input.
func ParsePrivateKey(b []byte) (PrivateKey, error) {
	if len(b) > maxKey {
		return PrivateKey{}, fmt.Errorf("parse private key: %d bytes, at most %d: %w", len(b), maxKey, ErrKey)
	}
	der, err := pemBytes(b, privateBlock)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("parse private key: %w", err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("parse private key: %w: %w", ErrKey, err)
	}
	switch p := key.(type) {
	case *ecdsa.PrivateKey:
		if p.Curve == elliptic.P256() {
			return PrivateKey{ec: p}, nil
		}
	case ed25519.PrivateKey:
		return PrivateKey{ed: p}, nil
	}
	return PrivateKey{}, fmt.Errorf("parse private key: %T, want P-256 or Ed25519: %w", key, ErrKey)
}
