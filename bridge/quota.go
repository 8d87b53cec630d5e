package bridge

import (
	"context"
	"fmt"
	"strconv"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

func quotaView(t ident.Tenant, q campaign.Quota) topics.QuotaView {
	return topics.QuotaView{Tenant: t, Campaigns: q.Campaigns, Bytes: q.Bytes, Counted: q.Counted, Free: q.Free, Reserved: q.Reserved, Used: q.Used}
}

func quotaGet(ctx context.Context, c *call, req topics.QuotaGet) (any, error) {
	t, err := c.target(req.Tenant)
	if err != nil {
		return nil, err
	}
	var v topics.QuotaView
	err = c.view(ctx, func(r campaign.Reader) error {
		if _, err := r.Tenant(t); err != nil {
			return orMissing(err, "tenant", t)
		}
		q, err := r.Quota(t)
		v = quotaView(t, q)
		return err
	})
	return v, err
}

func quotaSet(ctx context.Context, c *call, req topics.QuotaSet) (any, error) {
	change := campaign.QuotaChange{Campaigns: req.Campaigns, Bytes: req.Bytes, Grant: req.Grant, Unlimited: req.Unlimited, Reason: req.Reason}
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		if _, err := tx.Tenant(req.Tenant); err != nil {
			return nil, campaign.Result{}, orMissing(err, "tenant", req.Tenant)
		}
		q, err := campaign.SetQuota(tx, c.now, req.Tenant, change, c.by.Name.String())
		return quotaView(req.Tenant, q), campaign.Result{}, err
	})
}

func quotaLedger(ctx context.Context, c *call, req topics.QuotaLedger) (any, error) {
	t, err := c.target(req.Tenant)
	if err != nil {
		return nil, err
	}
	return lister[uint64, campaign.LedgerEntry, topics.LedgerView]{
		parse: parseNumber,
		place: func(e campaign.LedgerEntry) string { return strconv.FormatUint(e.Number, 10) },
		read: func(r campaign.Reader, after uint64, limit int) ([]campaign.LedgerEntry, error) {
			if _, err := r.Tenant(t); err != nil {
				return nil, fmt.Errorf("read tenant: %w", orMissing(err, "tenant", t))
			}
			return r.Ledger(t, after, limit)
		},
		view: plainly(func(e campaign.LedgerEntry) topics.LedgerView { return topics.LedgerView(e) }),
	}.run(ctx, c, req.Page)
}
