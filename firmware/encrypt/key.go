package encrypt

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// Recipient is whom a content key is wrapped for: the holder of a shared key, or of the private half of a P-256 key.
type Recipient struct {
	kid []byte
	kek []byte
	pub *ecdh.PublicKey
}

// SharedKey makes a recipient of a key of 16 bytes that author and device share. kid names it, and may be empty.
func SharedKey(kid, kek []byte) (Recipient, error) {
	if len(kek) != keySize || len(kid) > maxKID {
		return Recipient{}, fmt.Errorf("shared key of %d bytes with a name of %d, want %d and at most %d: %w", len(kek), len(kid), keySize, maxKID, ErrKey)
	}
	return Recipient{kid: bytes.Clone(kid), kek: bytes.Clone(kek)}, nil
}

// PublicKey makes a recipient of a device's public key. kid names it, and may be empty.
func PublicKey(kid []byte, pub *ecdh.PublicKey) (Recipient, error) {
	if pub == nil || pub.Curve() != ecdh.P256() || len(kid) > maxKID {
		return Recipient{}, fmt.Errorf("public key, want one of P-256 and a name of at most %d bytes: %w", maxKID, ErrKey)
	}
	return Recipient{kid: bytes.Clone(kid), pub: pub}, nil
}

// Key is what a device decrypts with.
type Key struct {
	kid  []byte
	kek  []byte
	priv *ecdh.PrivateKey
}

// DeviceSharedKey is the device's side of SharedKey.
func DeviceSharedKey(kid, kek []byte) (Key, error) {
	r, err := SharedKey(kid, kek)
	return Key{kid: r.kid, kek: r.kek}, err
}

// DevicePrivateKey is the device's side of PublicKey.
func DevicePrivateKey(kid []byte, priv *ecdh.PrivateKey) (Key, error) {
	if priv == nil {
		return Key{}, fmt.Errorf("no private key: %w", ErrKey)
	}
	r, err := PublicKey(kid, priv.PublicKey())
	return Key{kid: r.kid, priv: priv}, err
}

// Format keeps a key out of logs, whatever the verb.
func (Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "redacted") }

// wrap wraps a content key for r.
func (r Recipient) wrap(cek []byte, rand io.Reader) (Wrapped, error) {
	w := Wrapped{Exchange: A128KW, KID: r.kid}
	kek := r.kek
	if r.pub != nil {
		ephemeral, err := newPrivateKey(rand)
		if err != nil {
			return Wrapped{}, err
		}
		w.Exchange, w.Ephemeral = ECDHESA128KW, ephemeral.PublicKey()
		if kek, err = agree(ephemeral, r.pub); err != nil {
			return Wrapped{}, err
		}
	}
	var err error
	w.Key, err = wrapKey(kek, cek)
	return w, err
}

// unwrap returns the content key if w is for k. A recipient without a name may be anybody.
func (k Key) unwrap(w Wrapped) ([]byte, error) {
	if w.KID != nil && !bytes.Equal(w.KID, k.kid) {
		return nil, ErrRecipient
	}
	kek := k.kek
	switch {
	case w.Exchange == A128KW && k.kek != nil:
	case w.Exchange == ECDHESA128KW && k.priv != nil:
		var err error
		if kek, err = agree(k.priv, w.Ephemeral); err != nil {
			return nil, err
		}
	default:
		return nil, ErrRecipient
	}
	return unwrapKey(kek, w.Key)
}

// contentKey finds the content key of i. A wrapped key that names one of keys and does not unwrap is corrupt.
func (i Info) contentKey(keys []Key) ([]byte, error) {
	why := ErrRecipient
	for _, w := range i.Recipients {
		for _, k := range keys {
			cek, err := k.unwrap(w)
			if err == nil {
				return cek, nil
			}
			if w.KID != nil && !errors.Is(err, ErrRecipient) {
				why = err
			}
		}
	}
	return nil, why
}

// kdfContext is the COSE_KDF_Context of a key for AES Key Wrap with 128 bits (suit-firmware-encryption):
// [-3, [null, null, null], [null, null, null], [128, <<{1: -29}>>, 'SUIT Payload Encryption']].
const kdfContext = "\x84\x22\x83\xf6\xf6\xf6\x83\xf6\xf6\xf6\x83\x18\x80\x44" + protectedECDH + "\x57SUIT Payload Encryption"

// agree derives the key encryption key that both sides of ECDHESA128KW get.
func agree(priv *ecdh.PrivateKey, pub *ecdh.PublicKey) ([]byte, error) {
	secret, err := priv.ECDH(pub)
	if err != nil {
		return nil, fmt.Errorf("agree on a key: %w: %w", ErrKey, err)
	}
	kek, err := hkdf.Key(sha256.New, secret, nil, kdfContext, keySize)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	return kek, nil
}

// newPrivateKey draws a private key from rand alone, which the standard library's generator does not.
func newPrivateKey(rand io.Reader) (*ecdh.PrivateKey, error) {
	const attempts = 16 // each fails with a chance of 2^-32
	var b [coordinate]byte
	for range attempts {
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return nil, fmt.Errorf("draw an ephemeral key: %w", err)
		}
		if k, err := ecdh.P256().NewPrivateKey(b[:]); err == nil {
			return k, nil
		}
	}
	return nil, fmt.Errorf("draw an ephemeral key: none in %d attempts: %w", attempts, ErrKey)
}

// For says whether encryption-info is for one of keys. The error wraps ErrMalformed, ErrUnsupported, ErrRecipient or
// ErrCorrupt.
func For(info []byte, keys []Key) error {
	i, err := Parse(info)
	if err == nil {
		_, err = i.contentKey(keys)
	}
	if err != nil {
		return fmt.Errorf("find the content key: %w", err)
	}
	return nil
}
