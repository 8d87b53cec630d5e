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

func deviceClear(a *app) *cobra.Command {
	var payload, filter string
	c := &cobra.Command{Use: "clear [DEVICE,... | --filter FILTER]", Short: "Forget that payloads failed on devices, so that they may be offered again",
		Args: cobra.MaximumNArgs(1)}
	c.Flags().StringVar(&payload, "payload", "", "only this payload's failures, by digest")
	c.Flags().StringVar(&filter, "filter", "", "all devices that pass a filter, see docs/selector.md")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		req := topics.DeviceClear{Filter: filter}
		var err error
		if (len(args) == 1) == (filter != "") {
			return usagef("want devices or --filter, one of them")
		}
		if filter == "" {
			if req.Devices, err = deviceArgs(args[0]); err != nil {
				return err
			}
		}
		if payload != "" {
			if req.Payload, err = ident.ParseDigest(payload); err != nil {
				return err
			}
		}
		var all topics.DeviceCleared
		for {
			var v topics.DeviceCleared
			if err := cl.Do(ctx, "device", "clear", req, &v); err != nil {
				return err
			}
			all.Matched, all.Cleared = all.Matched+v.Matched, all.Cleared+v.Cleared
			if req.Cursor = v.Next; v.Next == "" {
				return a.printOne(all, row{"matched", fmt.Sprint(all.Matched)}, row{"cleared", fmt.Sprint(all.Cleared)})
			}
		}
	})
	return c
}

// deviceArgs reads devices that stand with commas in one argument.
func deviceArgs(list string) (out []ident.Device, err error) {
	for name := range strings.SplitSeq(list, ",") {
		d, err := ident.ParseDevice(name)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}
