package topics

import (
	"time"

	"github.com/google/uuid"

	"fleetbridge/ident"
)

// Tenant commands (admin only).
type (
	// TenantAdd creates a tenant. Again with the same name is not an error.
	TenantAdd struct {
		Tenant ident.Tenant `json:"tenant" cbor:"1,keyasint"`
		Name   string       `json:"name,omitempty" cbor:"2,keyasint,omitempty"`
	}
	// TenantView is a tenant as replies show it.
	TenantView struct {
		Tenant  ident.Tenant `json:"tenant" cbor:"1,keyasint"`
		Name    string       `json:"name,omitempty" cbor:"2,keyasint,omitempty"`
		Created time.Time    `json:"created" cbor:"3,keyasint"`
	}
)

// Credential commands. An operator manages its own tenant's; an admin names the tenant.
type (
	// CredentialAdd creates one credential, or one per entry of Names (at most 500). The tokens are in the reply and
	// nowhere else.
	CredentialAdd struct {
		Tenant ident.Tenant `json:"tenant,omitzero" cbor:"1,keyasint,omitzero"` // admin only
		Role   Role         `json:"role" cbor:"2,keyasint"`
		Names  []ident.Name `json:"names" cbor:"3,keyasint"`
	}
	// CredentialIssued is the reply: user names and tokens for CONNECT.
	CredentialIssued struct {
		Items []IssuedCredential `json:"items" cbor:"1,keyasint"`
	}
	// IssuedCredential is a new credential with its secret.
	IssuedCredential struct {
		User  string `json:"user" cbor:"1,keyasint"` // tenant/name
		Token string `json:"token" cbor:"2,keyasint"`
		Role  Role   `json:"role" cbor:"3,keyasint"`
	}
	// CredentialList lists credentials, without secrets.
	CredentialList struct {
		Page
		Tenant ident.Tenant `json:"tenant,omitzero" cbor:"1,keyasint,omitzero"`
	}
	// CredentialView is a credential without its secret.
	CredentialView struct {
		User    string    `json:"user" cbor:"1,keyasint"`
		Role    Role      `json:"role" cbor:"2,keyasint"`
		Created time.Time `json:"created" cbor:"3,keyasint"`
		Revoked bool      `json:"revoked,omitempty" cbor:"4,keyasint,omitempty"`
	}
	// CredentialRevoke ends a credential and its live connection.
	CredentialRevoke struct {
		Tenant ident.Tenant `json:"tenant,omitzero" cbor:"1,keyasint,omitzero"`
		Name   ident.Name   `json:"name" cbor:"2,keyasint"`
	}
)

// Trust commands.
type (
	// TrustAdd adds a trust anchor: one public key with one algorithm.
	TrustAdd struct {
		ID  ident.Key `json:"id" cbor:"1,keyasint"`
		Key []byte    `json:"key" cbor:"2,keyasint"`                     // PEM (SPKI) or COSE_Key
		Alg string    `json:"alg,omitempty" cbor:"3,keyasint,omitempty"` // ES256, ESP256, EdDSA, Ed25519; default: ESP256 or Ed25519
		// Grants bound what the key may sign.
		Grants Grants `json:"grants,omitzero" cbor:"100,keyasint,omitzero"`
	}
	// Grants are what a key may sign. Each list that is empty, and each time that is absent, limits nothing.
	Grants struct {
		Vendors    []uuid.UUID `json:"vendors,omitempty" cbor:"1,keyasint,omitempty"`
		Classes    []uuid.UUID `json:"classes,omitempty" cbor:"2,keyasint,omitempty"`
		Components []string    `json:"components,omitempty" cbor:"3,keyasint,omitempty"` // in hex; each grants those below it too
		Uses       []string    `json:"uses,omitempty" cbor:"4,keyasint,omitempty"`       // image, delta, encrypted, integrated, https
		NotBefore  time.Time   `json:"not_before,omitzero" cbor:"5,keyasint,omitzero"`
		NotAfter   time.Time   `json:"not_after,omitzero" cbor:"6,keyasint,omitzero"`
	}
	// TrustGet asks for one trust anchor.
	TrustGet struct {
		ID ident.Key `json:"id" cbor:"1,keyasint"`
	}
	// AnchorView is a trust anchor as replies show it.
	AnchorView struct {
		ID          ident.Key    `json:"id" cbor:"1,keyasint"`
		Alg         string       `json:"alg" cbor:"2,keyasint"`
		Fingerprint ident.Digest `json:"fingerprint" cbor:"3,keyasint"` // SHA-256 of the SPKI
		Created     time.Time    `json:"created" cbor:"4,keyasint"`
		Revoked     bool         `json:"revoked,omitempty" cbor:"5,keyasint,omitempty"`
		Grants      Grants       `json:"grants,omitzero" cbor:"100,keyasint,omitzero"`
		RevokedAt   time.Time    `json:"revoked_at,omitzero" cbor:"101,keyasint,omitzero"`
	}
	// AnchorRevoked is the reply to a revocation.
	AnchorRevoked struct {
		AnchorView
		Stopped uint64 `json:"campaigns_stopped" cbor:"102,keyasint"` // campaigns behind whose manifests nobody stands now
	}
)

// TrustRevoke revokes a trust anchor, for good.
type TrustRevoke struct {
	ID ident.Key `json:"id" cbor:"1,keyasint"`
}
