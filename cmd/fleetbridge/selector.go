package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func selectorCommand(a *app) *cobra.Command {
	return group("selector", "Filters: the language that selects devices", selectorTest(a))
}

func selectorTest(a *app) *cobra.Command {
	var manifest string
	var limit int
	c := &cobra.Command{Use: "test FILTER", Short: "Say what a filter selects, and what it may have meant", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&manifest, "manifest", "", "only devices that this manifest is for")
	c.Flags().IntVar(&limit, "limit", 0, "devices to show, 1 to 100 (0: the server's default, 10)")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		req := topics.SelectorTest{Filter: args[0], Limit: limit}
		var err error
		if manifest != "" {
			if req.Manifest, err = ident.ParseDigest(manifest); err != nil {
				return err
			}
		}
		var v topics.SelectorTested
		if err := cl.Do(ctx, "selector", "test", req, &v); err != nil {
			return err
		}
		rows := []row{{"matched", fmt.Sprintf("%d of %d devices", v.Matched, v.Total)}}
		if v.Unjudged > 0 {
			rows = append(rows, row{"unjudged", fmt.Sprintf("%d, such as %s", v.Unjudged, v.Unjudgeable)})
		}
		for _, n := range v.Near {
			text := fmt.Sprintf("no device has %q", n.Value)
			if len(n.Have) > 0 {
				text += "; there is " + strings.Join(n.Have, ", ")
			}
			rows = append(rows, row{n.Field, text})
		}
		for _, d := range v.Sample {
			rows = append(rows, row{"device", d.Device.String()})
		}
		return a.printOne(v, rows...)
	})
	return c
}

func deviceLabel(a *app) *cobra.Command {
	var filter string
	c := &cobra.Command{
		Use:   "label [DEVICE,... | --filter FILTER] name=value name- +group +group-",
		Short: "Set and unset (name-) labels, join and leave (+group-) groups",
		Args:  cobra.MinimumNArgs(1),
	}
	c.Flags().StringVar(&filter, "filter", "", "all devices that pass a filter, see docs/selector.md")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		req := topics.DeviceLabel{Filter: filter}
		if filter == "" {
			var err error
			if req.Devices, err = deviceArgs(args[0]); err != nil {
				return err
			}
			args = args[1:]
		}
		if err := labelChange(&req, args); err != nil {
			return err
		}
		var all topics.DeviceLabelled
		for {
			var v topics.DeviceLabelled
			if err := cl.Do(ctx, "device", "label", req, &v); err != nil {
				return err
			}
			all.Matched, all.Changed = all.Matched+v.Matched, all.Changed+v.Changed
			if v.Next == "" {
				break
			}
			req.Cursor = v.Next
		}
		return a.printOne(all, row{"matched", fmt.Sprint(all.Matched)}, row{"changed", fmt.Sprint(all.Changed)})
	})
	return c
}

// labelChange reads what is to become of labels and groups.
func labelChange(req *topics.DeviceLabel, args []string) error {
	for _, arg := range args {
		group, isGroup := strings.CutPrefix(arg, "+")
		name, value, sets := strings.Cut(arg, "=")
		switch {
		case isGroup && strings.HasSuffix(group, "-"):
			req.Leave = append(req.Leave, strings.TrimSuffix(group, "-"))
		case isGroup:
			req.Join = append(req.Join, group)
		case sets && name != "":
			if req.Set == nil {
				req.Set = map[string]string{}
			}
			req.Set[name] = value
		case strings.HasSuffix(arg, "-"):
			req.Unset = append(req.Unset, strings.TrimSuffix(arg, "-"))
		default:
			return usagef("%q: want name=value, name- to unset it, +group to join or +group- to leave", arg)
		}
	}
	return nil
}
