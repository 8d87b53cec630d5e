package bridge

import (
	"context"
	"fmt"

	"fleetbridge/campaign"
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
