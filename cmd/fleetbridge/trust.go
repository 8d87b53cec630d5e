package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"fleetbridge/firmware/cose"
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
		key, err := readPublicKey(args[1])
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

func keyCommand(a *app) *cobra.Command {
	return group("key", "Signing keys, offline: no server sees a private one", keyGenerate(a), keyPublic(a))
}

func keyGenerate(a *app) *cobra.Command {
	var kind string
	c := &cobra.Command{Use: "generate FILE", Short: "Make a private signing key, readable by its owner only", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&kind, "type", "p256", "p256 or ed25519")
	c.RunE = func(_ *cobra.Command, args []string) error {
		kinds := map[string]cose.Kind{"p256": cose.P256, "ed25519": cose.Curve25519}
		k, ok := kinds[kind]
		if !ok {
			return usagef("--type %q: p256 or ed25519", kind)
		}
		key, err := cose.GeneratePrivateKey(k, rand.Reader)
		if err != nil {
			return err
		}
		pem, err := key.PEM()
		if err != nil {
			return err
		}
		if err := writeNew(args[0], pem, 0o600); err != nil {
			return err
		}
		a.say("wrote %s; keep it offline, `fleetbridge key public %s` prints the half to share", args[0], args[0])
		return nil
	}
	return c
}

func keyPublic(a *app) *cobra.Command {
	return &cobra.Command{Use: "public FILE", Short: "Print the public half of a key", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			key, err := readPublicKey(args[0])
			if err != nil {
				return err
			}
			if _, err := a.stdout.Write(key.PEM()); err != nil {
				return fmt.Errorf("write key: %w", err)
			}
			return nil
		}}
}

// readPublicKey reads a public key, or the public half of a private one.
func readPublicKey(path string) (cose.PublicKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return cose.PublicKey{}, fmt.Errorf("read key: %w", err)
	}
	if private, err := cose.ParsePrivateKey(b); err == nil {
		return private.Public(), nil
	}
	key, err := cose.ParsePublicKey(b)
	if err != nil {
		return cose.PublicKey{}, fmt.Errorf("read %s: %w", path, err)
	}
	return key, nil
}

func readPrivateKey(path string) (cose.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return cose.PrivateKey{}, fmt.Errorf("read key: %w", err)
	}
	key, err := cose.ParsePrivateKey(b)
	if err != nil {
		return cose.PrivateKey{}, fmt.Errorf("read %s: %w", path, err)
	}
	return key, nil
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	if _, err := f.Write(b); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}
