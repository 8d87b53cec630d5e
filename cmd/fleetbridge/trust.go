package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func trustCommand(a *app) *cobra.Command {
	return group("trust", "Trust anchors: the public keys that may sign manifests", trustAdd(a), trustList(a), trustShow(a), trustRevoke(a))
}

// grantFlags are the flags that bound what a key may sign.
type grantFlags struct {
	vendors, classes, components, uses []string
	notBefore, notAfter                string
}

func (g *grantFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringSliceVar(&g.vendors, "vendor", nil, "vendors that it may sign for, by domain or UUID (default: all)")
	f.StringSliceVar(&g.classes, "class", nil, "classes that it may sign for, by UUID, or by model of the one --vendor (default: all)")
	f.StringSliceVar(&g.components, "component", nil, "components that it may sign for, and those below them, in hex (default: all)")
	f.StringSliceVar(&g.uses, "use", nil, "what its manifests may do: image, delta, encrypted, integrated, https (default: all)")
	f.StringVar(&g.notBefore, "not-before", "", "when it begins to be trusted, such as 2026-12-01T00:00:00Z (default: now)")
	f.StringVar(&g.notAfter, "not-after", "", "when it is trusted for the last time (default: until it is revoked)")
}

// grants are what the flags say.
func (g *grantFlags) grants() (topics.Grants, error) {
	out := topics.Grants{Components: g.components, Uses: g.uses}
	for _, v := range g.vendors {
		id, err := vendorID(v)
		if err != nil {
			return out, err
		}
		out.Vendors = append(out.Vendors, id)
	}
	for _, c := range g.classes {
		id, err := uuid.Parse(c)
		switch {
		case err == nil:
		case len(out.Vendors) == 1:
			id = firmware.ClassID(out.Vendors[0], c)
		default:
			return out, usagef("--class %q: a model needs exactly one --vendor; or give the class as a UUID", c)
		}
		out.Classes = append(out.Classes, id)
	}
	for _, t := range []struct {
		flag, text string
		at         *time.Time
	}{{"not-before", g.notBefore, &out.NotBefore}, {"not-after", g.notAfter, &out.NotAfter}} {
		if t.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, t.text)
		if err != nil {
			return out, usagef("--%s %q: want a time such as 2026-12-01T00:00:00Z", t.flag, t.text)
		}
		*t.at = at
	}
	return out, nil
}

func trustAdd(a *app) *cobra.Command {
	var alg string
	var g grantFlags
	c := &cobra.Command{Use: "add ID PUBLIC_KEY_FILE", Short: "Add a trust anchor: one public key with one algorithm, and what it may sign", Args: cobra.ExactArgs(2)}
	c.Flags().StringVar(&alg, "alg", "", "ES256, ESP256, EdDSA or Ed25519 (default: ESP256 or Ed25519, as the key is)")
	g.flags(c)
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := ident.ParseKey(args[0])
		if err != nil {
			return err
		}
		key, err := a.readPublicKey(args[1], "")
		if err != nil {
			return err
		}
		grants, err := g.grants()
		if err != nil {
			return err
		}
		var v topics.AnchorView
		if err := cl.Do(ctx, "trust", "add", topics.TrustAdd{ID: id, Key: key.PEM(), Alg: alg, Grants: grants}, &v); err != nil {
			return err
		}
		return a.printAnchor(v)
	})
	return c
}

func trustList(a *app) *cobra.Command {
	type view = topics.AnchorView
	return &cobra.Command{Use: "ls", Short: "List the trust anchors; -o wide with what each may sign", Args: cobra.NoArgs,
		Annotations: map[string]string{formatAnnotation: "wide"},
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, _ []string) error {
			items := client.List[view](ctx, cl, "trust", "list", func(p topics.Page) any { return p })
			columns := []column[view]{
				{"anchor", func(v view) string { return v.ID.String() }},
				{"algorithm", func(v view) string { return v.Alg }},
				{"fingerprint", func(v view) string { return v.Fingerprint.String() }},
				{"created", func(v view) string { return when(v.Created) }},
				{"revoked", func(v view) string { return yes(v.Revoked) }}}
			if a.output == "wide" {
				for _, head := range []string{"vendors", "classes", "components", "uses", "not before", "not after"} {
					columns = append(columns, column[view]{head, func(v view) string { return grantText(v.Grants, head) }})
				}
			}
			return printList(a, items, columns...)
		})}
}

func trustShow(a *app) *cobra.Command {
	return &cobra.Command{Use: "show ID", Short: "Show a trust anchor, and what it may sign", Args: cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			id, err := ident.ParseKey(args[0])
			if err != nil {
				return err
			}
			var v topics.AnchorView
			if err := cl.Do(ctx, "trust", "get", topics.TrustGet{ID: id}, &v); err != nil {
				return err
			}
			return a.printAnchor(v)
		})}
}

// grantText is one of the grants for people: a grant that limits nothing says so.
func grantText(g topics.Grants, name string) string {
	var list []string
	switch name {
	case "vendors":
		for _, v := range g.Vendors {
			list = append(list, v.String())
		}
	case "classes":
		for _, v := range g.Classes {
			list = append(list, v.String())
		}
	case "components":
		list = g.Components
	case "uses":
		list = g.Uses
	case "not before":
		return when(g.NotBefore)
	case "not after":
		return when(g.NotAfter)
	}
	if len(list) == 0 {
		return "all"
	}
	return strings.Join(list, " ")
}

func trustRevoke(a *app) *cobra.Command {
	return &cobra.Command{Use: "revoke ID", Short: "Revoke a trust anchor, for good: campaigns whose manifests nobody else signed stop", Args: cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			id, err := ident.ParseKey(args[0])
			if err != nil {
				return err
			}
			var v topics.AnchorRevoked
			if err := cl.Do(ctx, "trust", "revoke", topics.TrustRevoke{ID: id}, &v); err != nil {
				return err
			}
			return a.printOne(v, append(anchorRows(v.AnchorView), row{"campaigns stopped", strconv.FormatUint(v.Stopped, 10)})...)
		})}
}

func (a *app) printAnchor(v topics.AnchorView) error { return a.printOne(v, anchorRows(v)...) }

func anchorRows(v topics.AnchorView) []row {
	rows := []row{{"anchor", v.ID.String()}, {"algorithm", v.Alg}, {"fingerprint", v.Fingerprint.String()}, {"created", when(v.Created)},
		{"revoked", yes(v.Revoked)}, {"revoked at", when(v.RevokedAt)}}
	for _, name := range []string{"vendors", "classes", "components", "uses", "not before", "not after"} {
		rows = append(rows, row{name, grantText(v.Grants, name)})
	}
	return rows
}
