package bridge

import (
	"context"
	"fmt"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/internal/failpoint"
)

// houseEvery is how often keepHouse looks.
const houseEvery = time.Hour

// mendPage is how many records one step of mend looks at.
const mendPage = 512

// mend is start-up, which is recovery: it clears slots that no live assignment holds, and gives every running campaign a
// turn, which offers again what is overdue. It may be cut short and run again.
func (b *Bridge) mend(ctx context.Context) error {
	return b.eachTenant(ctx, func(t ident.Tenant) error {
		if err := b.mendTenant(ctx, t); err != nil {
			return fmt.Errorf("mend tenant %s: %w", t, err)
		}
		return nil
	})
}

// keepHouse does what nobody waits for, now and then.
func (b *Bridge) keepHouse(ctx context.Context) error {
	for {
		if err := b.expireUploads(ctx); err != nil && ctx.Err() == nil {
			b.o.Logger.Warn("abandoned uploads could not be removed", "err", err)
		}
		if err := b.retain(ctx); err != nil && ctx.Err() == nil {
			b.o.Logger.Warn("old campaigns could not be put away", "err", err)
		}
		if err := sleep(ctx, houseEvery, nil); err != nil {
			return nil // ctx has ended
		}
	}
}

func (b *Bridge) mendTenant(ctx context.Context, t ident.Tenant) error {
	if err := b.removeOrphans(ctx, t); err != nil {
		return fmt.Errorf("remove files without a record: %w", err)
	}
	var device ident.Device
	for {
		var (
			clears []campaign.Clear
			next   ident.Device
		)
		err := b.commit(ctx, func(tx campaign.Tx) error {
			var err error
			clears, next, err = campaign.Sweep(tx, t, device, mendPage)
			return err
		})
		if err != nil {
			return fmt.Errorf("sweep slots: %w", err)
		}
		if len(clears) > 0 {
			b.o.Logger.Warn("stale slots were cleared", "tenant", t, "devices", len(clears))
			b.announce(ctx, t, campaign.Result{Clears: clears})
		}
		if next.IsZero() {
			break
		}
		device = next
	}
	failpoint.At("start: after sweep", "")
	return b.wakeAll(ctx, t)
}

func (b *Bridge) wakeAll(ctx context.Context, t ident.Tenant) error {
	var after ident.Campaign
	for {
		var page []campaign.Campaign
		err := b.o.Store.View(ctx, func(r campaign.Reader) error {
			var err error
			page, err = r.Running(t, after, mendPage)
			return err
		})
		if err != nil {
			return fmt.Errorf("read running campaigns: %w", err)
		}
		for _, c := range page {
			b.turns.want(job{t, c.ID}, b.o.Now())
			b.progress.mark(job{t, c.ID})
			after = c.ID
		}
		if len(page) < mendPage {
			return nil
		}
	}
}
