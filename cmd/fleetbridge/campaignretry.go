package main

import (
	"context"

	"github.com/spf13/cobra"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func campaignRetry(a *app) *cobra.Command {
	var as, manifest, description string
	var states []string
	c := &cobra.Command{Use: "retry CAMPAIGN --as NEW", Short: "Make a draft of the devices that failed in a campaign", Args: cobra.ExactArgs(1),
		Long: "retry makes the draft NEW with the campaign's manifest and policy. Up to 10,000 devices are listed in it; more are\n" +
			"selected by reference, as they stand when NEW starts. `campaign update` edits it, `campaign start` starts it."}
	f := c.Flags()
	f.StringVar(&as, "as", "", "the new campaign's name (needed)")
	f.StringSliceVar(&states, "states", []string{"failed"}, "take the devices in these states: failed, rejected, silent, withdrawn, reverted")
	f.StringVar(&manifest, "manifest", "", "digest of another manifest (default: the campaign's)")
	f.StringVar(&description, "description", "", "description, for people")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		if as == "" {
			return usagef("--as is needed: the new campaign's name")
		}
		req := topics.CampaignRetry{States: states, Description: description}
		var err error
		if req.Campaign, err = ident.ParseCampaign(args[0]); err != nil {
			return err
		}
		if req.New, err = ident.ParseCampaign(as); err != nil {
			return err
		}
		if manifest != "" {
			if req.Manifest, err = ident.ParseDigest(manifest); err != nil {
				return err
			}
		}
		var v topics.CampaignView
		if err := cl.Do(ctx, "campaign", "retry", req, &v); err != nil {
			return err
		}
		return a.printCampaign(v)
	})
	return c
}
