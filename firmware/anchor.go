package firmware

import (
	"fmt"
	"time"

	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
)

// Anchor is a trust anchor of a tenant: one public key, one algorithm, and what its signature is good for. It never
// changes but by its revocation.
type Anchor struct {
	ID      ident.Key
	Alg     cose.Alg
	SPKI    []byte // the public key, DER SubjectPublicKeyInfo
	Grants  Grants
	Created time.Time
	Revoked time.Time // zero while live
}

// NewAnchor makes the trust anchor of a public key, which is granted everything.
func NewAnchor(id ident.Key, key cose.PublicKey, alg cose.Alg, at time.Time) (Anchor, error) {
	if id.IsZero() || alg.Kind() == "" || alg.Kind() != key.Kind() {
		return Anchor{}, fmt.Errorf("make anchor %q: %s with a %q key: %w", id, alg, key.Kind(), cose.ErrUnknownAlg)
	}
	return Anchor{ID: id, Alg: alg, SPKI: key.SPKI(), Created: at}, nil
}

// Live reports whether the anchor is not revoked.
func (a Anchor) Live() bool { return a.Revoked.IsZero() }

func (a Anchor) verify(block, signed []byte) error {
	key, err := cose.ParseSPKI(a.SPKI)
	if err != nil {
		return err
	}
	return cose.Verify1(block, signed, key, a.Alg)
}
