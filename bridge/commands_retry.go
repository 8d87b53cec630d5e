package bridge

import (
	"context"
	"fmt"
	"io"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// deviceClear lets a device be offered again what failed on it too often.
func deviceClear(ctx context.Context, c *call, req topics.DeviceClear) (any, error) {
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		if err := campaign.ClearFailures(tx, c.tenant, req.Device, req.Payload); err != nil {
			return nil, campaign.Result{}, err
		}
		d, err := tx.Device(c.tenant, req.Device)
		if err != nil {
			return nil, campaign.Result{}, fmt.Errorf("read device: %w", err)
		}
		v, _, err := c.deviceView(tx, d)
		return v, campaign.Result{}, err
	})
}

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
