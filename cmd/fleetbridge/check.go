package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func serverCheck(a *app) *cobra.Command {
	return &cobra.Command{Use: "check", Short: "Compare counts, indexes and devices' topics with the records; the exit code is 1 when they differ", Args: cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, _ []string) error {
			var sum topics.ServerChecked
			for req, more := (topics.ServerCheck{}), true; more; {
				var v topics.ServerChecked
				if err := cl.Do(ctx, "server", "check", req, &v); err != nil {
					return err
				}
				sum.Campaigns += v.Campaigns
				sum.Assignments += v.Assignments
				sum.Devices += v.Devices
				sum.Registered += v.Registered
				sum.Manifests += v.Manifests
				sum.Faults = append(sum.Faults, v.Faults...)
				req.Cursor, more = v.Next, v.Next != ""
			}
			rows := []row{{"campaigns", fmt.Sprint(sum.Campaigns)}, {"assignments", fmt.Sprint(sum.Assignments)}, {"devices at work", fmt.Sprint(sum.Devices)},
				{"devices", fmt.Sprint(sum.Registered)}, {"manifests", fmt.Sprint(sum.Manifests)}}
			for _, f := range sum.Faults {
				rows = append(rows, row{"fault", f})
			}
			if err := a.printOne(sum, rows...); err != nil {
				return err
			}
			if n := len(sum.Faults); n > 0 {
				return fmt.Errorf("%d faults found", n)
			}
			return nil
		})}
}
