package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func deviceCommand(a *app) *cobra.Command {
	return group("device", "The registry of devices", deviceAdd(a), deviceList(a), deviceShow(a), deviceLabel(a), deviceWhy(a), deviceClear(a))
}

// model is the pair of flags that say what a device, or a manifest's target, is.
type model struct{ vendor, class string }

func (m *model) flags(c *cobra.Command) {
	c.Flags().StringVar(&m.vendor, "vendor", "", "vendor: a UUID, or a domain name that one is made of (RFC 9562 version 5)")
	c.Flags().StringVar(&m.class, "class", "", "class: a UUID, or a model name that one is made of with the vendor's")
}

// ids returns vendor and class; both are zero where no flag was given.
func (m model) ids() (vendor, class uuid.UUID, err error) {
	if m.vendor == "" && m.class == "" {
		return vendor, class, nil
	}
	if m.vendor == "" || m.class == "" {
		return vendor, class, usagef("--vendor and --class come together")
	}
	if vendor, err = vendorID(m.vendor); err != nil {
		return vendor, class, err
	}
	if class, err = uuid.Parse(m.class); err != nil {
		class = firmware.ClassID(vendor, m.class)
	}
	return vendor, class, nil
}

// domainName is what vendor identifiers are made of. Any other text would make one too, and a UUID with a digit too few
// another vendor.
var domainName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])?$`)

// vendorID reads a vendor identifier, or makes one of a domain name.
func vendorID(text string) (uuid.UUID, error) {
	if id, err := uuid.Parse(text); err == nil {
		return id, nil
	}
	if !domainName.MatchString(text) {
		return uuid.UUID{}, usagef("--vendor %q: want a UUID, or a domain name in lower case such as acme.example", text)
	}
	return firmware.VendorID(text), nil
}

func deviceAdd(a *app) *cobra.Command {
	var m model
	var label []string
	var token bool
	c := &cobra.Command{Use: "add DEVICE", Short: "Register a device, and make its credential", Args: cobra.ExactArgs(1)}
	m.flags(c)
	c.Flags().StringArrayVar(&label, "label", nil, "name=value, may be repeated")
	c.Flags().BoolVar(&token, "credential", true, "make a credential; its token is shown once, here")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		req := topics.DeviceAdd{Credential: token}
		var err error
		if req.Device, err = ident.ParseDevice(args[0]); err != nil {
			return err
		}
		if req.Vendor, req.Class, err = m.ids(); err != nil {
			return err
		}
		if req.Labels, err = pairs("label", label); err != nil {
			return err
		}
		var v topics.DeviceView
		if err := cl.Do(ctx, "device", "add", req, &v); err != nil {
			return err
		}
		return a.printDevice(v)
	})
	return c
}

func deviceList(a *app) *cobra.Command {
	type view = topics.DeviceView
	var filter string
	c := &cobra.Command{Use: "ls", Short: "List the devices", Args: cobra.NoArgs}
	c.Flags().StringVar(&filter, "filter", "", "only those that pass a filter, see docs/selector.md")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, _ []string) error {
		items := client.List[view](ctx, cl, "device", "list", func(p topics.Page) any { return topics.DeviceList{Page: p, Filter: filter} })
		return printList(a, items,
			column[view]{"device", func(v view) string { return v.Device.String() }},
			column[view]{"connected", func(v view) string { return yes(v.Connected) }},
			column[view]{"installed", func(v view) string { return installed(v.Installed) }},
			column[view]{"live", func(v view) string { return live(v.Live) }},
			column[view]{"labels", func(v view) string { return labels(v.Labels) }},
			column[view]{"groups", func(v view) string { return strings.Join(v.Groups, ",") }},
			column[view]{"last seen", func(v view) string { return when(v.LastSeen) }})
	})
	return c
}

func deviceShow(a *app) *cobra.Command {
	return &cobra.Command{Use: "show DEVICE", Short: "Show one device", Args: cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			d, err := ident.ParseDevice(args[0])
			if err != nil {
				return err
			}
			var v topics.DeviceView
			if err := cl.Do(ctx, "device", "get", topics.DeviceGet{Device: d}, &v); err != nil {
				return err
			}
			return a.printDevice(v)
		})}
}

func (a *app) printDevice(v topics.DeviceView) error {
	rows := []row{
		{"device", v.Device.String()}, {"connected", yes(v.Connected)}, {"vendor", uuidText(v.Vendor)}, {"class", uuidText(v.Class)},
		{"labels", labels(v.Labels)}, {"groups", strings.Join(v.Groups, ",")}, {"facts", labels(v.Facts)}, {"live", live(v.Live)}, {"last seen", when(v.LastSeen)}, {"created", when(v.Created)},
		{"user", v.User}, {"token", v.Token},
	}
	for _, i := range v.Installed {
		rows = append(rows, row{"installed " + i.Component, strings.TrimSpace(i.Digest.String() + " " + i.Version)})
	}
	for _, f := range v.Failures {
		rows = append(rows, row{"failed " + short(f.Payload), fmt.Sprintf("%d times, last %s", f.Count, when(f.Last))})
	}
	return a.printOne(v, rows...)
}

func installed(list []topics.Installed) string {
	var out []string
	for _, i := range list {
		text := i.Version
		if text == "" {
			text = short(i.Digest)
		}
		out = append(out, text)
	}
	return strings.Join(out, ",")
}

func live(list []topics.LiveView) string {
	var out []string
	for _, l := range list {
		out = append(out, l.Campaign.String())
	}
	return strings.Join(out, ",")
}

func uuidText(u uuid.UUID) string {
	if u == uuid.Nil {
		return ""
	}
	return u.String()
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
