package bridge

import (
	"context"
	"fmt"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// The commands that change many devices, by a list or by a filter.

// chosen is the devices that a command names, or the next ones that pass its filter, and the cursor of those after them.
// They are found before the transaction and judged again within it.
func (c *call) chosen(ctx context.Context, named []ident.Device, filter string, page topics.Page) (ids []ident.Device, next string, err error) {
	if filter == "" {
		return named, "", nil
	}
	q, err := campaign.NewQuery(filter, nil, c.now)
	if err != nil {
		return nil, "", err
	}
	after, err := deviceCursor(page.Cursor)
	if err != nil {
		return nil, "", err
	}
	limit := page.Limit
	if limit == 0 {
		limit = topics.MaxLabelled
	}
	err = c.view(ctx, func(r campaign.Reader) error {
		found, err := q.Find(r, c.tenant, after, limit, maxLook)
		ids, next = nil, found.Next.String()
		for _, p := range found.Picked {
			ids = append(ids, p.ID)
		}
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("find devices: %w", err)
	}
	return ids, next, nil
}

// deviceLabel changes labels and groups.
func deviceLabel(ctx context.Context, c *call, req topics.DeviceLabel) (any, error) {
	ids, next, err := c.chosen(ctx, req.Devices, req.Filter, req.Page)
	if err != nil {
		return nil, err
	}
	change := campaign.LabelChange{Set: req.Set, Unset: req.Unset, Join: req.Join, Leave: req.Leave}
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		done, res, err := campaign.Label(tx, c.now, c.tenant, ids, req.Filter, change)
		return topics.DeviceLabelled{Matched: done.Matched, Changed: done.Changed, Next: next}, res, err
	})
}

// deviceClear lets devices be offered again what failed on them too often.
func deviceClear(ctx context.Context, c *call, req topics.DeviceClear) (any, error) {
	named := req.Devices
	if !req.Device.IsZero() {
		named = []ident.Device{req.Device}
	}
	ids, next, err := c.chosen(ctx, named, req.Filter, req.Page)
	if err != nil {
		return nil, err
	}
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		done, err := campaign.ClearFailures(tx, c.now, c.tenant, ids, req.Filter, req.Payload)
		return topics.DeviceCleared{Matched: done.Matched, Cleared: done.Cleared, Next: next}, campaign.Result{}, err
	})
}
