package main

import (
	"context"

	"github.com/spf13/cobra"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func deviceClear(a *app) *cobra.Command {
	var payload string
	c := &cobra.Command{Use: "clear DEVICE", Short: "Forget that payloads failed on a device, so that they may be offered again", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&payload, "payload", "", "only this payload's failures, by digest")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		var req topics.DeviceClear
		var err error
		if req.Device, err = ident.ParseDevice(args[0]); err != nil {
			return err
		}
		if payload != "" {
			if req.Payload, err = ident.ParseDigest(payload); err != nil {
				return err
			}
		}
		var v topics.DeviceView
		if err := cl.Do(ctx, "device", "clear", req, &v); err != nil {
			return err
		}
		return a.printDevice(v)
	})
	return c
}
