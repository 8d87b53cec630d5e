package bridge

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

func serverInfo(_ context.Context, c *call, _ topics.None) (any, error) {
	return topics.ServerInfo{Version: c.b.o.Version, Protocol: topics.Version, MaxAppend: topics.MaxAppend, MaxPacket: c.b.o.MaxPacket}, nil
}

func tenantAdd(ctx context.Context, c *call, req topics.TenantAdd) (any, error) {
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		t, err := tx.Tenant(req.Tenant)
		switch {
		case err == nil && t.Name != req.Name:
			return nil, campaign.Result{}, problem(topics.ProblemAlreadyExists, "tenant %s exists under the name %q", req.Tenant, t.Name)
		case errors.Is(err, campaign.ErrNotFound):
			t = campaign.Tenant{ID: req.Tenant, Name: req.Name, Created: c.now}
			err = tx.PutTenant(t)
		}
		return tenantView(t), campaign.Result{}, err
	})
}

func tenantList(ctx context.Context, c *call, req topics.Page) (any, error) {
	return lister[ident.Tenant, campaign.Tenant, topics.TenantView]{
		parse: ident.ParseTenant,
		place: func(t campaign.Tenant) string { return t.ID.String() },
		read: func(r campaign.Reader, after ident.Tenant, limit int) ([]campaign.Tenant, error) {
			return r.Tenants(after, limit)
		},
		view: plainly(tenantView),
	}.run(ctx, c, req)
}

// target is the tenant whose credentials a command is about: an admin names it, everyone else has one only.
func (c *call) target(named ident.Tenant) (ident.Tenant, error) {
	if named.IsZero() || named == c.tenant {
		return c.tenant, nil
	}
	if c.by.Role != topics.RoleAdmin {
		return ident.Tenant{}, &campaign.NotFoundError{Kind: "tenant", ID: named.String()}
	}
	return named, nil
}

// mayGive says whether credentials of a role can exist in tenant t: admins in the system tenant, and nobody else there.
func mayGive(t ident.Tenant, role topics.Role) bool {
	return (t == ident.System) == (role == topics.RoleAdmin)
}

// newToken draws the secret of a credential: 256 random bits, in base64url.
func newToken(rand io.Reader) (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("draw token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// NewCredential draws a credential and its token, for whoever sets up a store: the first admin can't ask over MQTT.
func NewCredential(rand io.Reader, name ident.Name, role topics.Role) (campaign.Credential, string, error) {
	token, err := newToken(rand)
	if err != nil {
		return campaign.Credential{}, "", err
	}
	return campaign.Credential{Name: name, Role: string(role), Hash: hashToken(token)}, token, nil
}

func credentialAdd(ctx context.Context, c *call, req topics.CredentialAdd) (any, error) {
	t, err := c.target(req.Tenant)
	if err != nil {
		return nil, err
	}
	if !mayGive(t, req.Role) {
		return nil, problem(topics.ProblemNotAllowed, "tenant %s can't have a credential of role %s", t, req.Role)
	}
	c.secret = true
	issued := topics.CredentialIssued{}
	var creds []campaign.Credential
	for _, name := range req.Names {
		cred, token, err := NewCredential(c.b.o.Rand, name, req.Role)
		if err != nil {
			return nil, err
		}
		cred.Created = c.now
		creds = append(creds, cred)
		issued.Items = append(issued.Items, topics.IssuedCredential{User: userName(t, name), Token: token, Role: req.Role})
	}
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		if _, err := tx.Tenant(t); err != nil {
			return nil, campaign.Result{}, orMissing(err, "tenant", t)
		}
		for i, cred := range creds {
			if err := addCredential(tx, t, cred, fmt.Sprintf("/names/%d", i)); err != nil {
				return nil, campaign.Result{}, err
			}
		}
		return issued, campaign.Result{}, nil
	})
}

// addCredential stores a credential unless a live one has its name.
func addCredential(tx campaign.Tx, t ident.Tenant, cred campaign.Credential, pointer string) error {
	old, err := tx.Credential(t, cred.Name)
	if err == nil && old.Revoked.IsZero() {
		p := problem(topics.ProblemAlreadyExists, "credential %s is live: revoke it first", userName(t, cred.Name))
		p.Errors = []topics.FieldError{{Pointer: pointer, Detail: "exists"}}
		return p
	}
	if err != nil && !errors.Is(err, campaign.ErrNotFound) {
		return fmt.Errorf("read credential: %w", err)
	}
	return tx.PutCredential(t, cred)
}

func credentialList(ctx context.Context, c *call, req topics.CredentialList) (any, error) {
	t, err := c.target(req.Tenant)
	if err != nil {
		return nil, err
	}
	return lister[ident.Name, campaign.Credential, topics.CredentialView]{
		parse: ident.ParseName,
		place: func(v campaign.Credential) string { return v.Name.String() },
		read: func(r campaign.Reader, after ident.Name, limit int) ([]campaign.Credential, error) {
			if _, err := r.Tenant(t); err != nil {
				return nil, orMissing(err, "tenant", t)
			}
			return r.Credentials(t, after, limit)
		},
		view: plainly(func(v campaign.Credential) topics.CredentialView { return credentialView(t, v) }),
	}.run(ctx, c, req.Page)
}

func credentialRevoke(ctx context.Context, c *call, req topics.CredentialRevoke) (any, error) {
	t, err := c.target(req.Tenant)
	if err != nil {
		return nil, err
	}
	var ended campaign.Credential
	reply, err := c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		cred, err := tx.Credential(t, req.Name)
		if err != nil {
			return nil, campaign.Result{}, orMissing(err, "credential", req.Name)
		}
		if cred.Revoked.IsZero() {
			cred.Revoked = c.now
			err = tx.PutCredential(t, cred)
		}
		ended = cred
		return credentialView(t, cred), campaign.Result{}, err
	})
	if _, stored := reply.(rawReply); err == nil && !stored && c.b.o.Disconnect != nil {
		c.b.o.Disconnect(topics.Principal{Tenant: t, Role: topics.Role(ended.Role), Name: req.Name})
	}
	return reply, err
}
