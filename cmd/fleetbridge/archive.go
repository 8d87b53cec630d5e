package main

import (
	"context"

	"github.com/spf13/cobra"

	"fleetbridge/internal/client"
)

func campaignArchive(a *app) *cobra.Command {
	return &cobra.Command{Use: "archive CAMPAIGN", Short: "Put a stopped campaign away; everything of it stays readable", Args: cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			v, err := campaignDo(ctx, cl, "archive", args[0], "")
			if err != nil {
				return err
			}
			return a.printCampaign(v)
		})}
}

func campaignDelete(a *app) *cobra.Command {
	return &cobra.Command{Use: "delete CAMPAIGN", Short: "Delete a campaign that is a draft, stopped or archived; its audit entries stay", Args: cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			v, err := campaignDo(ctx, cl, "delete", args[0], "")
			if err != nil {
				return err
			}
			return a.printCampaign(v)
		})}
}
