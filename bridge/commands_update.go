package bridge

import (
	"context"

	"fleetbridge/campaign"
	"fleetbridge/topics"
)

func campaignUpdate(ctx context.Context, c *call, req topics.CampaignUpdate) (any, error) {
	edit := changeOf(req)
	edit.By = c.by.Name.String()
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		edited, res, err := campaign.Update(tx, c.tenant, req.Campaign, req.IfRevision, edit)
		if err != nil {
			return nil, campaign.Result{}, err
		}
		return c.moved(tx, edited, res)
	})
}

func changeOf(r topics.CampaignUpdate) campaign.Change {
	e := campaign.Change{Description: r.Description}
	if !r.Manifest.IsZero() {
		e.Manifest = &r.Manifest
	}
	if r.Selection != nil {
		s := selectionOf(*r.Selection)
		e.Selection = &s
	}
	if r.Policy != nil {
		p := policyOf(*r.Policy)
		e.Policy = &p
	}
	return e
}
