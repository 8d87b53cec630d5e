package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/internal/config"
	"fleetbridge/topics"
)

func tenantCommand(a *app) *cobra.Command {
	return group("tenant", "Parties whose devices, keys and campaigns nobody else sees (admin)", tenantAdd(a), tenantList(a))
}

func tenantAdd(a *app) *cobra.Command {
	var name string
	c := &cobra.Command{Use: "add TENANT", Short: "Create a tenant; again is not an error", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&name, "name", "", "name for people")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		t, err := ident.ParseTenant(args[0])
		if err != nil {
			return err
		}
		var v topics.TenantView
		if err := cl.Do(ctx, "tenant", "add", topics.TenantAdd{Tenant: t, Name: name}, &v); err != nil {
			return err
		}
		return a.printOne(v, row{"tenant", v.Tenant.String()}, row{"name", v.Name}, row{"created", when(v.Created)})
	})
	return c
}

func tenantList(a *app) *cobra.Command {
	return &cobra.Command{Use: "ls", Short: "List the tenants", Args: cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, _ []string) error {
			items := client.List[topics.TenantView](ctx, cl, "tenant", "list", func(p topics.Page) any { return p })
			return printList(a, items,
				column[topics.TenantView]{"tenant", func(v topics.TenantView) string { return v.Tenant.String() }},
				column[topics.TenantView]{"name", func(v topics.TenantView) string { return v.Name }},
				column[topics.TenantView]{"created", func(v topics.TenantView) string { return when(v.Created) }})
		})}
}

func credentialCommand(a *app) *cobra.Command {
	return group("credential", "Users and tokens for CONNECT", credentialAdd(a), credentialList(a), credentialRevoke(a))
}

func credentialAdd(a *app) *cobra.Command {
	var role, tenant, save string
	c := &cobra.Command{Use: "add NAME…", Short: "Create credentials; the tokens are shown once, here", Args: cobra.RangeArgs(1, topics.MaxCredentials)}
	c.Flags().StringVar(&role, "role", "", "device, viewer, operator, or admin (needed)")
	c.Flags().StringVar(&tenant, "tenant", "", "tenant of the credentials (admin only; default: your own)")
	c.Flags().StringVar(&save, "save", "", "write a context file for the one new credential, readable by its owner only")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		req, err := credentialRequest(role, tenant, args)
		if err != nil {
			return err
		}
		if save != "" && len(args) != 1 {
			return usagef("--save: one name at a time, not %d", len(args))
		}
		var v topics.CredentialIssued
		if err := cl.Do(ctx, "credential", "add", req, &v); err != nil {
			return err
		}
		if save != "" && len(v.Items) == 1 {
			return a.saveContext(save, v.Items[0])
		}
		return printList(a, all(v.Items),
			column[topics.IssuedCredential]{"user", func(v topics.IssuedCredential) string { return v.User }},
			column[topics.IssuedCredential]{"role", func(v topics.IssuedCredential) string { return string(v.Role) }},
			column[topics.IssuedCredential]{"token", func(v topics.IssuedCredential) string { return v.Token }})
	})
	return c
}

func credentialRequest(role, tenant string, args []string) (topics.CredentialAdd, error) {
	var req topics.CredentialAdd
	var err error
	if role == "" {
		return req, usagef("--role is needed: device, viewer, operator or admin")
	}
	if req.Role, err = topics.ParseRole(role); err != nil {
		return req, err
	}
	if tenant != "" {
		if req.Tenant, err = ident.ParseTenant(tenant); err != nil {
			return req, err
		}
	}
	for _, s := range args {
		n, err := ident.ParseName(s)
		if err != nil {
			return req, err
		}
		req.Names = append(req.Names, n)
	}
	return req, nil
}

// saveContext writes a context for a new credential of the server that this run talks to.
func (a *app) saveContext(path string, c topics.IssuedCredential) error {
	own, err := a.readContext()
	if err != nil {
		return err
	}
	ctx := config.Context{Server: own.Server, User: c.User, Token: config.Secret(c.Token), CA: own.CA}
	if err := config.WriteNew(path, "fleetbridge context of "+c.User+" ("+string(c.Role)+")", ctx); err != nil {
		return fmt.Errorf("the credential %s exists now, but its token is lost: %w", c.User, err)
	}
	a.say("wrote %s", path)
	return nil
}

func credentialList(a *app) *cobra.Command {
	var tenant string
	c := &cobra.Command{Use: "ls", Short: "List the credentials, without their tokens", Args: cobra.NoArgs}
	c.Flags().StringVar(&tenant, "tenant", "", "tenant to list (admin only; default: your own)")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, _ []string) error {
		var t ident.Tenant
		if err := t.UnmarshalText([]byte(tenant)); err != nil {
			return err
		}
		items := client.List[topics.CredentialView](ctx, cl, "credential", "list",
			func(p topics.Page) any { return topics.CredentialList{Page: p, Tenant: t} })
		return printList(a, items,
			column[topics.CredentialView]{"user", func(v topics.CredentialView) string { return v.User }},
			column[topics.CredentialView]{"role", func(v topics.CredentialView) string { return string(v.Role) }},
			column[topics.CredentialView]{"created", func(v topics.CredentialView) string { return when(v.Created) }},
			column[topics.CredentialView]{"revoked", func(v topics.CredentialView) string { return yes(v.Revoked) }})
	})
	return c
}

func credentialRevoke(a *app) *cobra.Command {
	var tenant string
	c := &cobra.Command{Use: "revoke NAME", Short: "End a credential and its live connections", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&tenant, "tenant", "", "tenant of the credential (admin only; default: your own)")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		n, err := ident.ParseName(args[0])
		if err != nil {
			return err
		}
		req := topics.CredentialRevoke{Name: n}
		if err := req.Tenant.UnmarshalText([]byte(tenant)); err != nil {
			return err
		}
		var v topics.CredentialView
		if err := cl.Do(ctx, "credential", "revoke", req, &v); err != nil {
			return err
		}
		return a.printOne(v, row{"user", v.User}, row{"role", string(v.Role)}, row{"revoked", yes(v.Revoked)})
	})
	return c
}

// all is a list as a sequence without errors.
func all[T any](items []T) func(func(T, error) bool) {
	return func(yield func(T, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
	}
}

// labels prints a map in the order of its names.
func labels(m map[string]string) string {
	var out []string
	for _, k := range sortedKeys(m) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, ",")
}
