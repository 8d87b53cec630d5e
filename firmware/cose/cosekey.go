package cose

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// COSEKey is a public key as a COSE_Key (RFC 9052 section 7) carries it. KID may be empty and Alg may be zero.
type COSEKey struct {
	Key PublicKey
	KID []byte
	Alg Alg
}

// Values of COSE_Key's kty (1) and crv (-1), RFC 9053 section 7.
const (
	ktyOKP     = 1
	ktyEC2     = 2
	crvP256    = 1
	crvEd25519 = 6
)

// coseKey is the wire form. go-cose's own Key refuses the algorithms of RFC 9864, so it isn't used here.
type coseKey struct {
	Kty int64           `cbor:"1,keyasint"`
	KID cbor.ByteString `cbor:"2,keyasint,omitempty"`
	Alg int64           `cbor:"3,keyasint,omitempty"`
	Crv int64           `cbor:"-1,keyasint"`
	X   cbor.ByteString `cbor:"-2,keyasint"`
	Y   cbor.ByteString `cbor:"-3,keyasint,omitempty"`
}

// The two modes are constants; a mistake in their options is returned by whoever uses them.
var (
	strictDec, errDec = cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   4,
		MaxArrayElements:  16,
		MaxMapPairs:       16,
	}.DecMode()
	coreEnc, errEnc = cbor.CoreDetEncOptions().EncMode()
)

// ParseCOSEKey parses a COSE_Key in deterministic encoding that holds a public key of ours and nothing else; a private
// part (-4) is refused. The error wraps ErrKey.
func ParseCOSEKey(b []byte) (COSEKey, error) {
	if len(b) > maxKey {
		return COSEKey{}, fmt.Errorf("parse COSE_Key: %d bytes, at most %d: %w", len(b), maxKey, ErrKey)
	}
	if errDec != nil {
		return COSEKey{}, fmt.Errorf("parse COSE_Key: %w", errDec)
	}
	var w coseKey
	if err := strictDec.Unmarshal(b, &w); err != nil {
		return COSEKey{}, fmt.Errorf("parse COSE_Key: %w: %w", ErrKey, err)
	}
	pub, err := w.public()
	if err != nil {
		return COSEKey{}, fmt.Errorf("parse COSE_Key: %w", err)
	}
	k := COSEKey{Key: pub, Alg: Alg(w.Alg)}
	if w.KID != "" {
		k.KID = []byte(w.KID)
	}
	again, err := k.Marshal()
	if err != nil {
		return COSEKey{}, err
	}
	if !bytes.Equal(again, b) {
		return COSEKey{}, fmt.Errorf("parse COSE_Key: not in deterministic encoding: %w", ErrKey)
	}
	return k, nil
}

func (w coseKey) public() (PublicKey, error) {
	switch {
	case w.Kty == ktyOKP && w.Crv == crvEd25519:
		if len(w.X) != ed25519.PublicKeySize || w.Y != "" {
			return PublicKey{}, fmt.Errorf("x of %d bytes, want %d and no y: %w", len(w.X), ed25519.PublicKeySize, ErrKey)
		}
		return PublicKey{ed: ed25519.PublicKey(w.X)}, nil
	case w.Kty == ktyEC2 && w.Crv == crvP256:
		if len(w.X) != scalarSize || len(w.Y) != scalarSize {
			return PublicKey{}, fmt.Errorf("x and y of %d and %d bytes, want %d: %w", len(w.X), len(w.Y), scalarSize, ErrKey)
		}
		ec, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), []byte("\x04"+string(w.X)+string(w.Y)))
		if err != nil {
			return PublicKey{}, fmt.Errorf("%w: %w", ErrKey, err)
		}
		return PublicKey{ec: ec}, nil
	}
	return PublicKey{}, fmt.Errorf("key type %d with curve %d: %w", w.Kty, w.Crv, ErrKey)
}

// Marshal writes k in deterministic encoding. An algorithm that doesn't fit the key is refused.
func (k COSEKey) Marshal() ([]byte, error) {
	w, err := k.wire()
	if err != nil {
		return nil, err
	}
	b, err := coreEnc.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("write COSE_Key: %w: %w", ErrKey, err)
	}
	return b, nil
}

func (k COSEKey) wire() (coseKey, error) {
	if k.Alg != 0 && k.Alg.Kind() != k.Key.Kind() {
		return coseKey{}, fmt.Errorf("write COSE_Key: %s with a %s key: %w", k.Alg, k.Key.Kind(), ErrKey)
	}
	if errEnc != nil {
		return coseKey{}, fmt.Errorf("write COSE_Key: %w", errEnc)
	}
	w := coseKey{KID: cbor.ByteString(k.KID), Alg: int64(k.Alg)}
	switch k.Key.Kind() {
	case Curve25519:
		w.Kty, w.Crv, w.X = ktyOKP, crvEd25519, cbor.ByteString(k.Key.ed)
	case P256:
		point, err := k.Key.ec.Bytes()
		if err != nil {
			return coseKey{}, fmt.Errorf("write COSE_Key: %w: %w", ErrKey, err)
		}
		w.Kty, w.Crv = ktyEC2, crvP256
		w.X, w.Y = cbor.ByteString(point[1:1+scalarSize]), cbor.ByteString(point[1+scalarSize:])
	default:
		return coseKey{}, fmt.Errorf("write COSE_Key: none: %w", ErrKey)
	}
	return w, nil
}
