package bridge

import (
	"context"
	"fmt"
	"strconv"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// quotaView is what a tenant may have, and what of it it has.
func quotaView(r campaign.Reader, t ident.Tenant) (topics.QuotaView, error) {
	q, err := r.Quota(t)
	if err != nil {
		return topics.QuotaView{}, fmt.Errorf("read quota: %w", err)
	}
	n, err := r.DeviceCount(t)
	if err != nil {
		return topics.QuotaView{}, fmt.Errorf("read count of devices: %w", err)
	}
	y, err := r.TurnedAway(t)
	if err != nil {
		return topics.QuotaView{}, fmt.Errorf("read devices turned away: %w", err)
	}
	v := topics.QuotaView{Tenant: t, Campaigns: q.Campaigns, Bytes: q.Bytes, Counted: q.Counted, Free: q.Free, Reserved: q.Reserved,
		Used: q.Used, Devices: q.Devices, Registered: n, TurnedAway: y.Hellos}
	for _, d := range y.Latest {
		v.Waiting = append(v.Waiting, topics.TurnedDevice(d))
	}
	return v, nil
}

func quotaGet(ctx context.Context, c *call, req topics.QuotaGet) (any, error) {
	t, err := c.target(req.Tenant)
	if err != nil {
		return nil, err
	}
	var v topics.QuotaView
	err = c.view(ctx, func(r campaign.Reader) (err error) {
		if _, err := r.Tenant(t); err != nil {
			return orMissing(err, "tenant", t)
		}
		v, err = quotaView(r, t)
		return err
	})
	return v, err
}

func quotaSet(ctx context.Context, c *call, req topics.QuotaSet) (any, error) {
	change := campaign.QuotaChange{Campaigns: req.Campaigns, Bytes: req.Bytes, Devices: req.Devices, Grant: req.Grant, Unlimited: req.Unlimited, Reason: req.Reason}
	var res campaign.Result // of another tenant than the command's: announced here
	reply, err := c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		res = campaign.Result{}
		if _, err := tx.Tenant(req.Tenant); err != nil {
			return nil, campaign.Result{}, orMissing(err, "tenant", req.Tenant)
		}
		var err error
		if _, res, err = campaign.SetQuota(tx, c.now, req.Tenant, change, c.by.Name.String()); err != nil {
			return nil, campaign.Result{}, err
		}
		v, err := quotaView(tx, req.Tenant)
		return v, campaign.Result{}, err
	})
	c.b.remind(ctx, req.Tenant, res)
	return reply, err
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
