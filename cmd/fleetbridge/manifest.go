package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func manifestCommand(a *app) *cobra.Command {
	return group("manifest", "SUIT manifests: create, sign, verify and show offline; push, ls and get on a server",
		manifestCreate(a), manifestSign(a), manifestVerify(a), manifestShow(a), manifestPush(a), manifestList(a), manifestGet(a))
}

// manifestFlags are the flags of `manifest create`.
type manifestFlags struct {
	model
	payload, out, uri, version, description, component string
	sequence                                           uint64
}

func manifestCreate(a *app) *cobra.Command {
	var m manifestFlags
	c := &cobra.Command{Use: "create PAYLOAD_FILE --vendor V --class C [--out FILE]", Args: cobra.ExactArgs(1),
		Short: "Write an unsigned manifest for a payload"}
	m.flags(c)
	f := c.Flags()
	f.StringVar(&m.out, "out", "", "file to write (default: the payload's name with .suit)")
	f.Uint64Var(&m.sequence, "sequence", 0, "sequence number, higher than any before (default: now, in UTC seconds)")
	f.StringVar(&m.version, "version", "", "version of the payload, for people")
	f.StringVar(&m.description, "description", "", "description, for people")
	f.StringVar(&m.component, "component", "00", "component identifier: byte strings in hex, joined by slashes")
	f.StringVar(&m.uri, "uri", "", "where the payload is (default: payload/<sha256>, the server's own)")
	c.RunE = func(_ *cobra.Command, args []string) error {
		m.payload = args[0]
		return a.createManifest(m)
	}
	return c
}

func (a *app) createManifest(m manifestFlags) error {
	vendor, class, err := m.ids()
	if err != nil {
		return err
	}
	if m.vendor == "" {
		return usagef("--vendor and --class are needed: a device takes only what is meant for it")
	}
	digest, size, err := digestFile(m.payload)
	if err != nil {
		return err
	}
	if m.sequence == 0 {
		m.sequence = uint64(time.Now().Unix())
	}
	component, err := parseComponent(m.component)
	if err != nil {
		return err
	}
	envelope, err := firmware.Create(firmware.Spec{
		Vendor: vendor, Class: class, Component: component, Sequence: m.sequence, Image: digest, Size: size,
		URI: m.uri, Version: m.version, Description: m.description,
	})
	if err != nil {
		return fmt.Errorf("create manifest: %w", err)
	}
	if m.out == "" {
		m.out = m.payload + ".suit"
	}
	if err := writeNew(m.out, envelope, 0o644); err != nil {
		return err
	}
	a.say("wrote %s: unsigned, sequence %d, %s of payload; sign it with `fleetbridge manifest sign %s --key FILE --id ID`",
		m.out, m.sequence, bytesText(size), m.out)
	return nil
}

func parseComponent(s string) ([][]byte, error) {
	var out [][]byte
	for part := range strings.SplitSeq(s, "/") {
		b, err := hex.DecodeString(part)
		if err != nil || len(b) == 0 {
			return nil, usagef("--component %q: want hex byte strings joined by slashes, such as 00 or 00/0102", s)
		}
		out = append(out, b)
	}
	return out, nil
}

func manifestSign(a *app) *cobra.Command {
	var keyFile, id, out string
	var algs []string
	c := &cobra.Command{Use: "sign FILE --key PRIVATE_KEY_FILE --id ID [--out FILE]", Short: "Add a signature block to a manifest", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&keyFile, "key", "", "private key (needed)")
	c.Flags().StringVar(&id, "id", "", "key identifier: the trust anchor's name (needed)")
	c.Flags().StringSliceVar(&algs, "alg", nil, "ES256, ESP256, EdDSA or Ed25519; several make several blocks (default: ESP256 or Ed25519)")
	c.Flags().StringVar(&out, "out", "", "file to write (default: the manifest itself)")
	c.RunE = func(_ *cobra.Command, args []string) error {
		if keyFile == "" || id == "" {
			return usagef("--key and --id are needed")
		}
		if out == "" {
			out = args[0]
		}
		n, err := a.signManifest(args[0], out, keyFile, id, algs)
		if err != nil {
			return err
		}
		a.say("wrote %s: %d signature added", out, n)
		return nil
	}
	return c
}

func (a *app) signManifest(in, out, keyFile, id string, algs []string) (int, error) {
	kid, err := ident.ParseKey(id)
	if err != nil {
		return 0, err
	}
	key, err := a.readPrivateKey(keyFile, "")
	if err != nil {
		return 0, err
	}
	envelope, err := os.ReadFile(in)
	if err != nil {
		return 0, fmt.Errorf("read manifest: %w", err)
	}
	use := []cose.Alg{cose.DefaultAlg(key.Public())}
	if len(algs) > 0 {
		use = nil
		for _, s := range algs {
			alg, err := cose.ParseAlg(s)
			if err != nil {
				return 0, err
			}
			use = append(use, alg)
		}
	}
	for _, alg := range use {
		if envelope, err = firmware.Sign(envelope, key, alg, kid, rand.Reader); err != nil {
			return 0, fmt.Errorf("sign %s: %w", in, err)
		}
	}
	return len(use), replaceFile(out, envelope)
}

func manifestPush(a *app) *cobra.Command {
	return &cobra.Command{Use: "push FILE", Short: "Upload a signed manifest; its payload must be there", Args: cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			envelope, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read manifest: %w", err)
			}
			var v topics.ManifestView
			if err := cl.Do(ctx, "manifest", "create", topics.ManifestCreate{Envelope: envelope}, &v); err != nil {
				return err
			}
			return a.printManifest(v)
		})}
}

func manifestList(a *app) *cobra.Command {
	type view = topics.ManifestView
	return &cobra.Command{Use: "ls", Short: "List the manifests", Args: cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, _ []string) error {
			items := client.List[view](ctx, cl, "manifest", "list", func(p topics.Page) any { return p })
			return printList(a, items,
				column[view]{"manifest", func(v view) string { return v.Digest.String() }},
				column[view]{"sequence", func(v view) string { return fmt.Sprint(v.Sequence) }},
				column[view]{"version", func(v view) string { return v.Version }},
				column[view]{"size", func(v view) string { return bytesText(v.Size) }},
				column[view]{"keys", func(v view) string { return strings.Join(v.Keys, ",") }})
		})}
}

func manifestGet(a *app) *cobra.Command {
	return &cobra.Command{Use: "get DIGEST", Short: "Show one manifest that is on the server", Args: cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			d, err := ident.ParseDigest(args[0])
			if err != nil {
				return err
			}
			var v topics.ManifestView
			if err := cl.Do(ctx, "manifest", "get", topics.ManifestGet{Digest: d}, &v); err != nil {
				return err
			}
			return a.printManifest(v)
		})}
}

func (a *app) printManifest(v topics.ManifestView) error {
	return a.printOne(v, manifestRows(v)...)
}

func manifestRows(v topics.ManifestView) []row {
	return []row{{"manifest", v.Digest.String()}, {"sequence", fmt.Sprint(v.Sequence)}, {"version", v.Version},
		{"vendor", v.Vendor.String()}, {"class", v.Class.String()}, {"component", v.Component},
		{"payload", v.Payload.String()}, {"size", bytesText(v.Size)}, {"uri", v.URI}, {"keys", strings.Join(v.Keys, ", ")}}
}

// viewOf is a manifest that was verified here, in the words of a reply.
func viewOf(m firmware.Manifest) topics.ManifestView {
	v := topics.ManifestView{Digest: m.Digest, Sequence: m.Sequence, Vendor: m.Vendor, Class: m.Class, Component: m.Component,
		Payload: m.Image, Size: m.Size, URI: m.URI(), Version: m.Version, Created: m.Created}
	for _, f := range m.Fetches {
		v.Fetches = append(v.Fetches, topics.FetchView{Role: string(f.Role), Payload: f.Digest, Size: f.Size, URI: f.URI, Precursor: f.Precursor})
	}
	for _, k := range m.Keys {
		v.Keys = append(v.Keys, k.Key.String()+" ("+k.Alg.String()+")")
	}
	return v
}
