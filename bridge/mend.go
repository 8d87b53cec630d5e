package bridge

import (
	"context"
	"errors"
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

// mend is start-up, which is recovery: it gives every running campaign a turn, which offers again what is overdue. What takes
// as long as the fleet is large is left to sweep. It may be cut short and run again.
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
	return b.wakeAll(ctx, t)
}

// sweep clears the slots that no live assignment holds, once after a start. It looks at every device with a slot, in Views and
// for no more than half of the time, so that messages are taken meanwhile. Nothing that commits leaves such a slot: it
// proves that. A record that can't be read ends it, not the server.
func (b *Bridge) sweep(ctx context.Context) error {
	err := b.eachTenant(ctx, func(t ident.Tenant) error {
		for after := (ident.Device{}); ; {
			began := time.Now()
			next, err := b.sweepPage(ctx, t, after)
			if err != nil {
				return fmt.Errorf("sweep slots of tenant %s after %q: %w", t, after, err)
			}
			if next.IsZero() {
				return nil
			}
			after = next
			if err := sleep(ctx, time.Since(began), nil); err != nil {
				return err
			}
		}
	})
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, campaign.ErrUnavailable), errors.Is(err, campaign.ErrClosed):
		return err
	case err != nil:
		b.o.Logger.Error("not all slots were looked at; the next start begins anew", "err", err)
	}
	failpoint.At("start: after sweep", "")
	return nil
}

// sweepPage looks at one page and mends it if it must.
func (b *Bridge) sweepPage(ctx context.Context, t ident.Tenant, after ident.Device) (next ident.Device, err error) {
	var needed bool
	err = b.o.Store.View(ctx, func(r campaign.Reader) error {
		needed, next, err = campaign.SweepNeeded(r, t, after, mendPage)
		return err
	})
	if err != nil || !needed {
		return next, err
	}
	var clears []campaign.Clear
	err = b.commit(ctx, func(tx campaign.Tx) error {
		clears, next, err = campaign.Sweep(tx, t, after, mendPage)
		return err
	})
	if err == nil && len(clears) > 0 {
		b.o.Logger.Warn("stale slots were cleared", "tenant", t, "devices", len(clears))
		b.announce(ctx, t, campaign.Result{Clears: clears})
	}
	return next, err
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
