package bridge

import (
	"context"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/topics"
)

// The commands and conversions of the part of a policy that says when a campaign may go on.

func campaignPause(ctx context.Context, c *call, req topics.CampaignRef) (any, error) {
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		paused, res, err := campaign.Pause(tx, c.tenant, req.Campaign, req.IfRevision, c.by.Name.String(), req.Reason)
		if err != nil {
			return nil, campaign.Result{}, err
		}
		return c.moved(tx, paused, res)
	})
}

func campaignResume(ctx context.Context, c *call, req topics.CampaignRef) (any, error) {
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		resumed, res, err := campaign.Resume(tx, c.tenant, req.Campaign, req.IfRevision)
		if err != nil {
			return nil, campaign.Result{}, err
		}
		return c.moved(tx, resumed, res)
	})
}

func campaignNext(ctx context.Context, c *call, req topics.CampaignRef) (any, error) {
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		released, res, err := campaign.Release(tx, c.tenant, req.Campaign, req.IfRevision)
		if err != nil {
			return nil, campaign.Result{}, err
		}
		return c.moved(tx, released, res)
	})
}

func rolloutOf(w topics.Policy) campaign.Rollout {
	r := campaign.Rollout{
		Manual: w.Manual, Soak: time.Duration(w.Soak), StartAt: w.StartAt, EndAt: w.EndAt,
		WaveFailurePercent: w.WaveFailurePercent, WaveSilentPercent: w.WaveSilentPercent, Rate: campaign.Rate(w.Rate), Priority: w.Priority,
	}
	for _, v := range w.Windows {
		r.Windows = append(r.Windows, campaign.Window{Cron: v.Cron, Duration: time.Duration(v.Duration), Zone: v.Zone})
	}
	return r
}

func showRollout(r campaign.Rollout, v *topics.Policy) {
	v.Manual, v.Soak, v.StartAt, v.EndAt = r.Manual, topics.Duration(r.Soak), r.StartAt, r.EndAt
	v.WaveFailurePercent, v.WaveSilentPercent = r.WaveFailurePercent, r.WaveSilentPercent
	v.Rate, v.Priority = topics.Rate(r.Rate), r.Priority
	for _, w := range r.Windows {
		v.Windows = append(v.Windows, topics.Window{Cron: w.Cron, Duration: topics.Duration(w.Duration), Zone: w.Zone})
	}
}

// released is the last wave, from 1, that may open; 0 where waves need no release.
func released(c campaign.Campaign) int {
	if !c.Policy.Manual {
		return 0
	}
	return c.Released + 1
}
