package main

import (
	"context"

	"github.com/spf13/cobra"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func trustCommand(a *app) *cobra.Command {
	return group("trust", "Trust anchors: the public keys that may sign manifests", trustAdd(a), trustList(a), trustRevoke(a))
}

func trustAdd(a *app) *cobra.Command {
	var alg string
	c := &cobra.Command{Use: "add ID PUBLIC_KEY_FILE", Short: "Add a trust anchor: one public key with one algorithm", Args: cobra.ExactArgs(2)}
	c.Flags().StringVar(&alg, "alg", "", "ES256, ESP256, EdDSA or Ed25519 (default: ESP256 or Ed25519, as the key is)")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := ident.ParseKey(args[0])
		if err != nil {
			return err
		}
		key, err := a.readPublicKey(args[1], "")
		if err != nil {
			return err
		}
		var v topics.AnchorView
		if err := cl.Do(ctx, "trust", "add", topics.TrustAdd{ID: id, Key: key.PEM(), Alg: alg}, &v); err != nil {
			return err
		}
		return a.printAnchor(v)
	})
	return c
}

func trustList(a *app) *cobra.Command {
	type view = topics.AnchorView
	return &cobra.Command{Use: "ls", Short: "List the trust anchors", Args: cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, _ []string) error {
			items := client.List[view](ctx, cl, "trust", "list", func(p topics.Page) any { return p })
			return printList(a, items,
				column[view]{"anchor", func(v view) string { return v.ID.String() }},
				column[view]{"algorithm", func(v view) string { return v.Alg }},
				column[view]{"fingerprint", func(v view) string { return v.Fingerprint.String() }},
				column[view]{"created", func(v view) string { return when(v.Created) }},
				column[view]{"revoked", func(v view) string { return yes(v.Revoked) }})
		})}
}

func trustRevoke(a *app) *cobra.Command {
	return &cobra.Command{Use: "revoke ID", Short: "Revoke a trust anchor, for good: what it signed is no longer offered", Args: cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			id, err := ident.ParseKey(args[0])
			if err != nil {
				return err
			}
			var v topics.AnchorView
			if err := cl.Do(ctx, "trust", "revoke", topics.TrustRevoke{ID: id}, &v); err != nil {
				return err
			}
			return a.printAnchor(v)
		})}
}

func (a *app) printAnchor(v topics.AnchorView) error {
	return a.printOne(v, row{"anchor", v.ID.String()}, row{"algorithm", v.Alg}, row{"fingerprint", v.Fingerprint.String()},
		row{"revoked", yes(v.Revoked)})
}
