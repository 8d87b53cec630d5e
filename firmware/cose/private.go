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

	"github.com/fxamacker/cbor/v2"
)

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
	der, err := k.pkcs8()
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: der}), nil
}

func (k PrivateKey) pkcs8() ([]byte, error) {
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
	return der, nil
}

// HoldsPrivateKey reports whether b looks like a private key in any form, encrypted or not, so that its file must be
// its owner's alone.
func HoldsPrivateKey(b []byte) bool {
	if bytes.Contains(b, []byte("PRIVATE KEY-----")) {
		return true
	}
	_, err := parsePrivateCOSEKey(b)
	return err == nil
}

// ParsePrivateKey parses a PKCS#8 PEM block ("PRIVATE KEY") or a COSE_Key with its private part. The error wraps ErrKey,
// and ErrEncrypted for a block that DecryptPrivateKey takes; it never quotes the input.
func ParsePrivateKey(b []byte) (PrivateKey, error) {
	switch {
	case len(b) > maxKey:
		return PrivateKey{}, fmt.Errorf("parse private key: %d bytes, at most %d: %w", len(b), maxKey, ErrKey)
	case isMap(b):
		k, err := parsePrivateCOSEKey(b)
		if err != nil {
			return PrivateKey{}, fmt.Errorf("parse private key: %w", err)
		}
		return k, nil
	}
	block, _ := pem.Decode(b)
	switch {
	case block == nil:
	case block.Type == encryptedBlock:
		return PrivateKey{}, fmt.Errorf("parse private key: %w: %w", ErrKey, ErrEncrypted)
	case block.Type == "EC PRIVATE KEY" || block.Type == "EC PARAMETERS":
		return PrivateKey{}, fmt.Errorf("parse private key: SEC 1 form; `openssl pkcs8 -topk8 -nocrypt` writes PKCS#8: %w", ErrKey)
	case block.Type == publicBlock:
		return PrivateKey{}, fmt.Errorf("parse private key: it is a public key: %w", ErrKey)
	}
	der, err := pemBytes(b, privateBlock)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("parse private key: %w", err)
	}
	return parsePKCS8(der)
}

// errNotPKCS8 is wrapped where DER is no PrivateKeyInfo at all.
var errNotPKCS8 = errors.New("not PKCS#8")

func parsePKCS8(der []byte) (PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("parse private key: %w: %w: %w", ErrKey, errNotPKCS8, err)
	}
	switch p := key.(type) {
	case *ecdsa.PrivateKey:
		if p.Curve == elliptic.P256() {
			return PrivateKey{ec: p}, nil
		}
		return PrivateKey{}, fmt.Errorf("parse private key: curve %s, want P-256: %w", p.Curve.Params().Name, ErrKey)
	case ed25519.PrivateKey:
		return PrivateKey{ed: p}, nil
	}
	return PrivateKey{}, fmt.Errorf("parse private key: %T, want P-256 or Ed25519: %w", key, ErrKey)
}

// privateCOSEKey is the wire form of a COSE_Key with its private part d (RFC 9053 section 7).
type privateCOSEKey struct {
	coseKey
	D cbor.ByteString `cbor:"-4,keyasint"`
}

// COSEKey returns the key as an unencrypted COSE_Key with its private part, in deterministic encoding. An empty kid and
// a zero alg leave the member out.
func (k PrivateKey) COSEKey(kid []byte, alg Alg) ([]byte, error) {
	w, err := COSEKey{Key: k.Public(), KID: kid, Alg: alg}.wire()
	if err != nil {
		return nil, err
	}
	var d []byte
	if k.ed != nil {
		d = k.ed.Seed()
	} else if d, err = k.ec.Bytes(); err != nil {
		return nil, fmt.Errorf("write COSE_Key: %w: %w", ErrKey, err)
	}
	b, err := coreEnc.Marshal(privateCOSEKey{w, cbor.ByteString(d)})
	if err != nil {
		return nil, fmt.Errorf("write COSE_Key: %w: %w", ErrKey, err)
	}
	return b, nil
}

// parsePrivateCOSEKey wants a deterministic encoding, and both halves to belong together.
func parsePrivateCOSEKey(b []byte) (PrivateKey, error) {
	if errDec != nil {
		return PrivateKey{}, errDec
	}
	var w privateCOSEKey
	if err := strictDec.Unmarshal(b, &w); err != nil {
		return PrivateKey{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	pub, err := w.public()
	if err != nil {
		return PrivateKey{}, err
	}
	if len(w.D) != scalarSize {
		return PrivateKey{}, fmt.Errorf("private part of %d bytes, want %d: %w", len(w.D), scalarSize, ErrKey)
	}
	var k PrivateKey
	if pub.Kind() == Curve25519 {
		k.ed = ed25519.NewKeyFromSeed([]byte(w.D))
	} else if k.ec, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), []byte(w.D)); err != nil {
		return PrivateKey{}, fmt.Errorf("%w: private part is out of range", ErrKey)
	}
	if !k.Public().Equal(pub) {
		return PrivateKey{}, fmt.Errorf("private and public part don't belong together: %w", ErrKey)
	}
	again, err := k.COSEKey([]byte(w.KID), Alg(w.Alg))
	if err != nil {
		return PrivateKey{}, err
	}
	if !bytes.Equal(again, b) {
		return PrivateKey{}, fmt.Errorf("not in deterministic encoding: %w", ErrKey)
	}
	return k, nil
}

// isMap reports whether b begins as a CBOR map, which no PEM and no DER does.
func isMap(b []byte) bool { return len(b) > 0 && b[0]>>5 == 5 }
