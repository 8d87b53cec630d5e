package bridge

import (
	"context"
	"fmt"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

func campaignArchive(ctx context.Context, c *call, req topics.CampaignRef) (any, error) {
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		archived, res, err := campaign.Archive(tx, c.now, c.tenant, req.Campaign, req.IfRevision, c.by.Name.String())
		if err != nil {
			return nil, campaign.Result{}, err
		}
		return c.moved(tx, archived, res)
	})
}

func campaignDelete(ctx context.Context, c *call, req topics.CampaignRef) (any, error) {
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		deleting, res, err := campaign.Delete(tx, c.tenant, req.Campaign, req.IfRevision)
		if err != nil {
			return nil, campaign.Result{}, err
		}
		return c.moved(tx, deleting, res)
	})
}

// retainAtOnce is how many campaigns one transaction of retain archives, and how many it begins to delete.
const retainAtOnce = 16

// retain archives and deletes the campaigns whose time has come, of all tenants.
func (b *Bridge) retain(ctx context.Context) error {
	if b.o.Retention == (campaign.Retention{}) {
		return nil
	}
	return b.eachTenant(ctx, func(t ident.Tenant) error {
		for more := true; more; {
			var res campaign.Result
			err := b.commit(ctx, func(tx campaign.Tx) (err error) {
				res, more, err = campaign.Retain(tx, b.o.Now(), t, b.o.Retention, retainAtOnce)
				return err
			})
			if err != nil {
				b.remind(ctx, t, res)
				return fmt.Errorf("retain campaigns of tenant %s: %w", t, err)
			}
			b.announce(ctx, t, res)
		}
		return nil
	})
}

// eachTenant calls fn for every tenant, outside of any transaction.
func (b *Bridge) eachTenant(ctx context.Context, fn func(ident.Tenant) error) error {
	var after ident.Tenant
	for {
		var page []campaign.Tenant
		err := b.o.Store.View(ctx, func(r campaign.Reader) (err error) {
			page, err = r.Tenants(after, mendPage)
			return err
		})
		if err != nil {
			return fmt.Errorf("read tenants: %w", err)
		}
		for _, t := range page {
			if err := fn(t.ID); err != nil {
				return err
			}
			after = t.ID
		}
		if len(page) < mendPage {
			return nil
		}
	}
}
