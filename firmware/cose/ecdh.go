package cose

import (
	"crypto/ecdh"
	"fmt"
)

// ECDH returns the key for a key agreement; only a P-256 key has one.
func (k PublicKey) ECDH() (*ecdh.PublicKey, error) {
	if k.ec == nil {
		return nil, fmt.Errorf("agree on a key with a %s key, want %s: %w", k.Kind(), P256, ErrKey)
	}
	pub, err := k.ec.ECDH()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return pub, nil
}

// ECDH returns the key for a key agreement; only a P-256 key has one.
func (k PrivateKey) ECDH() (*ecdh.PrivateKey, error) {
	if k.ec == nil {
		return nil, fmt.Errorf("agree on a key with a key that is not of %s: %w", P256, ErrKey)
	}
	priv, err := k.ec.ECDH()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return priv, nil
}
