package bridge

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// Directory answers from the store what a broker asks: who may connect, and what a topic holds. It is a [link.Retained].
// It exists before the bridge does, because a broker needs it before it can be a Link. Safe for concurrent use.
type Directory struct {
	store     campaign.Store
	now       func() time.Time
	manifests *manifestCache
}

// NewDirectory returns a Directory over store. now nil means time.Now.
func NewDirectory(store campaign.Store, now func() time.Time) *Directory {
	if now == nil {
		now = time.Now
	}
	return &Directory{store: store, now: now, manifests: newManifestCache(maxCached)}
}

// errDenied is all that a failed authentication says: not which half was wrong.
var errDenied = errors.New("no such user or wrong token")

// Authenticate checks what CONNECT carried: the user name `tenant/name` and the token. Any error means no; one that wraps
// link.ErrUnavailable means that nobody can tell now. The client identifier takes no part in it.
func (d *Directory) Authenticate(ctx context.Context, user string, password []byte, _ string) (topics.Principal, error) {
	tenant, name, err := parseUser(user)
	if err != nil {
		return topics.Principal{}, fmt.Errorf("authenticate: %w", errDenied)
	}
	var c campaign.Credential
	err = d.store.View(ctx, func(r campaign.Reader) error {
		c, err = r.Credential(tenant, name)
		return err
	})
	if errors.Is(err, campaign.ErrNotFound) {
		return topics.Principal{}, fmt.Errorf("authenticate %s: %w", user, errDenied)
	}
	if err != nil {
		return topics.Principal{}, fmt.Errorf("authenticate %s: %w: %w", user, link.ErrUnavailable, err)
	}
	sum := hashToken(string(password))
	if subtle.ConstantTimeCompare(sum[:], c.Hash[:]) != 1 || !c.Revoked.IsZero() {
		return topics.Principal{}, fmt.Errorf("authenticate %s: %w", user, errDenied)
	}
	role, err := topics.ParseRole(c.Role)
	if err != nil {
		return topics.Principal{}, fmt.Errorf("authenticate %s: %w", user, err)
	}
	return topics.Principal{Tenant: tenant, Role: role, Name: name}, nil
}

// parseUser parses `tenant/name`.
func parseUser(user string) (ident.Tenant, ident.Name, error) {
	t, n, ok := strings.Cut(user, "/")
	if !ok {
		return ident.Tenant{}, ident.Name{}, fmt.Errorf("parse user: want tenant/name: %w", ident.ErrInvalid)
	}
	tenant, err := ident.ParseTenant(t)
	if err != nil {
		return ident.Tenant{}, ident.Name{}, fmt.Errorf("parse user: %w", err)
	}
	name, err := ident.ParseName(n)
	if err != nil {
		return ident.Tenant{}, ident.Name{}, fmt.Errorf("parse user: %w", err)
	}
	return tenant, name, nil
}

// hashToken is how a token is kept. A token has 256 random bits, so that no slow hash is needed (decision 0004).
func hashToken(token string) [32]byte { return sha256.Sum256([]byte(token)) }
