// Package ident holds the opaque identifiers that every layer shares: tenants, devices, campaigns, names, keys, tokens,
// and the digest that names bytes by their content. It is a leaf: it imports no other package of this module, does no
// I/O, and draws no identifier itself. A value of these types has been parsed, so it can be used as one level of a
// topic name or as part of a store key without another look.
package ident

import (
	"errors"
	"fmt"
)

// MaxLen is the longest identifier, in bytes.
const MaxLen = 64

// ErrInvalid is wrapped by every parse error of this package.
var ErrInvalid = errors.New("invalid identifier")

// ID is an opaque identifier `[A-Za-z0-9][A-Za-z0-9._:-]{0,63}`. K keeps the kinds apart at compile time, so that a
// device can't be passed where a campaign is due. The zero value is "none" and prints as the empty string.
type ID[K any] struct{ s string }

type (
	tenantKind   struct{}
	deviceKind   struct{}
	campaignKind struct{}
	nameKind     struct{}
	keyKind      struct{}
	tokenKind    struct{}
)

type (
	// Tenant names a tenant.
	Tenant = ID[tenantKind]
	// Device names a device within its tenant.
	Device = ID[deviceKind]
	// Campaign names a campaign within its tenant.
	Campaign = ID[campaignKind]
	// Name names a principal (a credential) within its tenant; a device's credential carries the device's own name.
	Name = ID[nameKind]
	// Key names a signing key (the COSE key identifier, in text) within its tenant.
	Key = ID[keyKind]
	// Token names one fetch of a device; it is a level of the chunk topic.
	Token = ID[tokenKind]
)

// System is the platform's own tenant, where administrators live.
var System = MustTenant("system")

// ParseTenant parses a tenant identifier. The error wraps ErrInvalid.
func ParseTenant(s string) (Tenant, error) { return parse[tenantKind]("tenant", s) }

// ParseDevice parses a device identifier. The error wraps ErrInvalid.
func ParseDevice(s string) (Device, error) { return parse[deviceKind]("device", s) }

// ParseCampaign parses a campaign identifier. The error wraps ErrInvalid.
func ParseCampaign(s string) (Campaign, error) { return parse[campaignKind]("campaign", s) }

// ParseName parses the name of a principal. The error wraps ErrInvalid.
func ParseName(s string) (Name, error) { return parse[nameKind]("name", s) }

// ParseKey parses a key identifier. The error wraps ErrInvalid.
func ParseKey(s string) (Key, error) { return parse[keyKind]("key", s) }

// ParseToken parses a fetch token. The error wraps ErrInvalid.
func ParseToken(s string) (Token, error) { return parse[tokenKind]("token", s) }

// MustTenant is ParseTenant for constants; it panics on a bad one.
func MustTenant(s string) Tenant {
	t, err := ParseTenant(s)
	if err != nil {
		panic(err)
	}
	return t
}

// String returns the identifier's text, "" for the zero value.
func (i ID[K]) String() string { return i.s }

// IsZero reports whether i names nothing; encoders use it for "omitzero".
func (i ID[K]) IsZero() bool { return i.s == "" }

// MarshalText writes the identifier's text.
func (i ID[K]) MarshalText() ([]byte, error) { return []byte(i.s), nil }

// UnmarshalText parses text. Empty text gives the zero value: whether a member may be absent is its message's rule.
func (i *ID[K]) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*i = ID[K]{}
		return nil
	}
	v, err := parse[K]("identifier", string(text))
	if err != nil {
		return err
	}
	*i = v
	return nil
}

func parse[K any](kind, s string) (ID[K], error) {
	if s == "" {
		return ID[K]{}, fmt.Errorf("parse %s: empty: %w", kind, ErrInvalid)
	}
	if len(s) > MaxLen {
		return ID[K]{}, fmt.Errorf("parse %s: %d bytes, at most %d: %w", kind, len(s), MaxLen, ErrInvalid)
	}
	for i := range len(s) {
		if !allowed(s[i], i == 0) {
			return ID[K]{}, fmt.Errorf("parse %s %q: byte %d: only letters, digits and ._:- after a first letter or digit: %w", kind, s, i, ErrInvalid)
		}
	}
	return ID[K]{s}, nil
}

func allowed(b byte, first bool) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		return true
	case b == '.', b == '_', b == ':', b == '-':
		return !first
	}
	return false
}
