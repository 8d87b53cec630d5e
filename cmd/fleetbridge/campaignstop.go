package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/campaign"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func campaignStop(a *app) *cobra.Command {
	var reason string
	var within time.Duration
	c := &cobra.Command{Use: "stop CAMPAIGN", Short: "Stop a campaign: what is not finished is withdrawn", Args: cobra.ExactArgs(1),
		Long: "stop says at once that nothing more is to be offered, then waits until the campaign has withdrawn from its devices and shows to how many\n" +
			"the stop came before they were offered anything, in time, and too late. It ends with exit 0 when --wait has passed, too: the stop goes on."}
	c.Flags().StringVar(&reason, "reason", "", "why, for the record")
	c.Flags().DurationVar(&within, "wait", 10*time.Second, "how long to wait for its end (0: not at all)")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		v, err := campaignDo(ctx, cl, "stop", args[0], reason)
		if err != nil {
			now, _ := campaignDo(ctx, cl, "get", args[0], "") // what it is if that can't be told, err says
			if now.State != string(campaign.Stopping) {
				return err
			}
			a.say("%s is stopping already", now.Campaign)
			v = now
		}
		if within > 0 {
			if v, err = afterStop(ctx, cl, v, within); err != nil {
				return err
			}
		}
		return a.printCampaign(v)
	})
	return c
}

// afterStop is campaign v once it has ended, or as it is when within has passed.
func afterStop(ctx context.Context, cl *client.Client, v topics.CampaignView, within time.Duration) (topics.CampaignView, error) {
	bounded, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := watchUntil(bounded, cl, v.Campaign, over)
	if err != nil && (ctx.Err() != nil || !errors.Is(bounded.Err(), context.DeadlineExceeded)) {
		return v, err
	}
	return campaignDo(ctx, cl, "get", v.Campaign.String(), "")
}
