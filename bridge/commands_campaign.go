package bridge

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

func campaignCreate(ctx context.Context, c *call, req topics.CampaignCreate) (any, error) {
	draft := campaign.Spec{
		ID: req.Campaign, Description: req.Description, Manifest: req.Manifest,
		Selection: selectionOf(req.Selection), Policy: policyOf(req.Policy), By: c.by.Name.String(),
	}
	if _, err := io.ReadFull(c.b.o.Rand, draft.Seed[:]); err != nil {
		return nil, fmt.Errorf("draw seed: %w", err)
	}
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		made, err := campaign.Create(tx, c.now, c.tenant, draft)
		if err != nil {
			return nil, campaign.Result{}, err
		}
		return campaignView(made, campaign.Counts{}, c.now), campaign.Result{Campaigns: []ident.Campaign{made.ID}}, nil
	})
}

// campaignStart checks the manifest before it starts: the engine would refuse the campaign for good, here it stays a
// draft and its owner can mend what is wrong.
func campaignStart(ctx context.Context, c *call, req topics.CampaignStart) (any, error) {
	check := c.b.checker(c.tenant, c.now)
	plan, planned, err := c.pinned(ctx, req)
	if err != nil {
		return nil, err
	}
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		draft, err := tx.Campaign(c.tenant, req.Campaign)
		if err != nil {
			return nil, campaign.Result{}, orMissing(err, "campaign", req.Campaign)
		}
		if !plan.IsZero() && draft.Revision != planned {
			return nil, campaign.Result{}, fmt.Errorf("campaign %s changed while its plan was made: %w", req.Campaign, campaign.ErrConflict)
		}
		if draft.Phase == campaign.Draft {
			m, err := tx.Manifest(c.tenant, draft.Manifest)
			if err == nil {
				err = check(tx, m)
			}
			if err != nil {
				return nil, campaign.Result{}, orMissing(err, "manifest", draft.Manifest)
			}
		}
		started, res, err := campaign.StartPlanned(tx, c.now, c.tenant, req.Campaign, req.IfRevision, c.by.Name.String(), plan)
		if err != nil {
			return nil, campaign.Result{}, err
		}
		return c.moved(tx, started, res)
	})
}

func campaignStop(ctx context.Context, c *call, req topics.CampaignRef) (any, error) {
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		stopping, res, err := campaign.Stop(tx, c.now, c.tenant, req.Campaign, req.IfRevision, c.by.Name.String(), req.Reason)
		if err != nil {
			return nil, campaign.Result{}, err
		}
		return c.moved(tx, stopping, res)
	})
}

// moved is the reply of a command that moved a campaign.
func (c *call) moved(tx campaign.Tx, moved campaign.Campaign, res campaign.Result) (any, campaign.Result, error) {
	n, err := tx.Counts(c.tenant, moved.ID)
	if err != nil {
		return nil, campaign.Result{}, fmt.Errorf("read counts: %w", err)
	}
	return campaignView(moved, n, c.now), res, nil
}

func campaignGet(ctx context.Context, c *call, req topics.CampaignRef) (any, error) {
	var v topics.CampaignView
	err := c.view(ctx, func(r campaign.Reader) error {
		found, err := r.Campaign(c.tenant, req.Campaign)
		if err != nil {
			return orMissing(err, "campaign", req.Campaign)
		}
		n, err := r.Counts(c.tenant, req.Campaign)
		v = campaignView(found, n, c.now)
		return err
	})
	return v, err
}

func campaignList(ctx context.Context, c *call, req topics.Page) (any, error) {
	return lister[ident.Campaign, campaign.Campaign, topics.CampaignView]{
		parse: ident.ParseCampaign,
		place: func(v campaign.Campaign) string { return v.ID.String() },
		read: func(r campaign.Reader, after ident.Campaign, limit int) ([]campaign.Campaign, error) {
			return r.Campaigns(c.tenant, after, limit)
		},
		view: func(r campaign.Reader, v campaign.Campaign) (topics.CampaignView, bool, error) {
			n, err := r.Counts(c.tenant, v.ID)
			return campaignView(v, n, c.now), true, err
		},
	}.run(ctx, c, req)
}

// campaignDevices lists assignments by device, or those in one state by their place in it. The pending ones are picked
// from the list by device, because the index by state leaves out those that wait for another campaign.
func campaignDevices(ctx context.Context, c *call, req topics.CampaignDevices) (any, error) {
	state := campaign.State(req.State)
	if state != "" && !slices.Contains(campaign.States, state) {
		return nil, invalid("/state", "no state of an assignment")
	}
	var of campaign.Campaign
	exists := func(r campaign.Reader) (err error) {
		of, err = r.Campaign(c.tenant, req.Campaign)
		return orMissing(err, "campaign", req.Campaign)
	}
	if state == "" || state == campaign.Pending {
		return lister[ident.Device, campaign.Assignment, topics.AssignmentView]{
			parse: ident.ParseDevice,
			place: func(a campaign.Assignment) string { return a.Device.String() },
			read: func(r campaign.Reader, after ident.Device, limit int) ([]campaign.Assignment, error) {
				if err := exists(r); err != nil {
					return nil, err
				}
				return r.Assignments(c.tenant, req.Campaign, after, limit)
			},
			view: func(_ campaign.Reader, a campaign.Assignment) (topics.AssignmentView, bool, error) {
				return assignmentView(of, a), state == "" || a.State == state, nil
			},
		}.run(ctx, c, req.Page)
	}
	return lister[campaign.Place, campaign.Assignment, topics.AssignmentView]{
		parse: parsePlace,
		place: func(a campaign.Assignment) string { return printPlace(a.Place()) },
		read: func(r campaign.Reader, after campaign.Place, limit int) ([]campaign.Assignment, error) {
			if err := exists(r); err != nil {
				return nil, err
			}
			return r.InState(c.tenant, req.Campaign, state, after, limit)
		},
		view: plainly(func(a campaign.Assignment) topics.AssignmentView { return assignmentView(of, a) }),
	}.run(ctx, c, req.Page)
}

// printPlace and parsePlace are the cursor of a list by place: wave/order/device.
func printPlace(p campaign.Place) string { return fmt.Sprintf("%d/%d/%s", p.Wave, p.Order, p.Device) }

func parsePlace(s string) (campaign.Place, error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return campaign.Place{}, fmt.Errorf("parse place: want wave/order/device: %w", ident.ErrInvalid)
	}
	wave, err := strconv.ParseUint(parts[0], 10, 16)
	if err != nil {
		return campaign.Place{}, fmt.Errorf("parse place: %w", err)
	}
	order, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return campaign.Place{}, fmt.Errorf("parse place: %w", err)
	}
	d, err := ident.ParseDevice(parts[2])
	return campaign.Place{Wave: int(wave), Order: order, Device: d}, err
}
