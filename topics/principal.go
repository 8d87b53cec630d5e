package topics

import (
	"errors"
	"fmt"

	"fleetbridge/ident"
)

// Role is what a principal may do; the words are on the wire and in the store.
type Role string

// The roles of docs/topics.
const (
	RoleDevice   Role = "device"   // its own channels only
	RoleOperator Role = "operator" // commands of its tenant
	RoleViewer   Role = "viewer"   // reads of its tenant
	RoleAdmin    Role = "admin"    // tenant `system`: tenants, credentials, quotas
)

// ErrUnknownRole is wrapped by ParseRole.
var ErrUnknownRole = errors.New("unknown role")

// ParseRole parses a role word.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case RoleDevice, RoleOperator, RoleViewer, RoleAdmin:
		return r, nil
	}
	return "", fmt.Errorf("parse role %q: one of device, operator, viewer, admin: %w", s, ErrUnknownRole)
}

// Principal is an authenticated party. The tenant comes from the connection's credential, never from a topic.
type Principal struct {
	Tenant ident.Tenant
	Role   Role
	Name   ident.Name
}

// IsZero reports whether nobody is named (an external broker hides the publisher).
func (p Principal) IsZero() bool { return p == Principal{} }

// String is "tenant/role/name", for logs and for scoping client identifiers; no part can contain a slash.
func (p Principal) String() string {
	return p.Tenant.String() + "/" + string(p.Role) + "/" + p.Name.String()
}
