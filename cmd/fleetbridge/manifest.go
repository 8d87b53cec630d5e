package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func manifestCommand(a *app) *cobra.Command {
	return group("manifest", "SUIT manifests: create, sign, verify and show offline; push, ls, get and rm on a server",
		manifestCreate(a), manifestSign(a), manifestTBS(a), manifestAttach(a), manifestVerify(a), manifestShow(a),
		manifestPush(a), manifestList(a), manifestGet(a), manifestRemove(a))
}

func manifestPush(a *app) *cobra.Command {
	return &cobra.Command{Use: "push FILE", Short: "Upload a signed manifest; its payload must be there", Args: cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			envelope, err := readEnvelope(args[0])
			if err != nil {
				return err
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

func manifestRemove(a *app) *cobra.Command {
	return &cobra.Command{Use: "rm DIGEST", Short: "Delete a manifest that no campaign needs; its sequence number stays taken", Args: cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			d, err := ident.ParseDigest(args[0])
			if err != nil {
				return err
			}
			var v topics.ManifestView
			if err := cl.Do(ctx, "manifest", "delete", topics.ManifestDelete{Digest: d}, &v); err != nil {
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
