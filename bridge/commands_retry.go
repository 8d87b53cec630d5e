package bridge

import (
	"context"
	"fmt"
	"io"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// campaignRetry makes a draft of the devices of another campaign that stand in the states that are asked for.
func campaignRetry(ctx context.Context, c *call, req topics.CampaignRetry) (any, error) {
	of := campaign.RetryOf{Source: req.Campaign, States: statesOf(req.States), Spec: campaign.Spec{
		ID: req.New, Description: req.Description, Manifest: req.Manifest, By: c.by.Name.String(),
	}}
	if req.Policy != nil {
		p := policyOf(*req.Policy)
		of.Policy = &p
	}
	if _, err := io.ReadFull(c.b.o.Rand, of.Spec.Seed[:]); err != nil {
		return nil, fmt.Errorf("draw seed: %w", err)
	}
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		made, err := campaign.CreateRetry(tx, c.now, c.tenant, of)
		if err != nil {
			return nil, campaign.Result{}, err
		}
		return campaignView(made, campaign.Counts{}, c.now), campaign.Result{Campaigns: []ident.Campaign{made.ID}}, nil
	})
}
