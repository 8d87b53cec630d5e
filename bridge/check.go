package bridge

import (
	"context"
	"strings"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// slotsAtOnce is how many devices one server/check looks at.
const slotsAtOnce = 20_000

// The cursor of a check names the campaign that was checked last, then, after slotMark, the device, and then is
// registryMark and usesMark.
const (
	slotMark     = "slots/"
	registryMark = "registry/"
	usesMark     = "manifests/"
)

// serverCheck compares one campaign's counts with a scan of its assignments, or, once all are done, looks at the next
// devices' slots, at the count of devices, and at last at what manifests fetch and campaigns need. Each part is one snapshot, so that commits under way don't look
// like faults.
func serverCheck(ctx context.Context, c *call, req topics.ServerCheck) (any, error) {
	device, slots := strings.CutPrefix(req.Cursor, slotMark)
	var v topics.ServerChecked
	err := c.view(ctx, func(r campaign.Reader) error {
		v = topics.ServerChecked{}
		if req.Cursor == registryMark {
			var err error
			v.Registered, v.Faults, err = campaign.CheckDevices(r, c.tenant)
			v.Next = usesMark
			return err
		}
		if req.Cursor == usesMark {
			n, found, err := campaign.CheckUses(r, c.tenant)
			v.Manifests, v.Faults = uint64(n), found
			return err
		}
		if slots {
			return c.checkSlots(r, device, &v)
		}
		var after ident.Campaign
		if req.Cursor != "" {
			var err error
			if after, err = ident.ParseCampaign(req.Cursor); err != nil {
				return invalid("/cursor", "not a cursor of a check")
			}
		}
		list, err := r.Campaigns(c.tenant, after, 1)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return c.checkSlots(r, "", &v)
		}
		n, found, err := campaign.CheckCampaign(r, c.tenant, list[0].ID)
		v = topics.ServerChecked{Campaigns: 1, Assignments: uint64(n), Faults: found, Next: list[0].ID.String()}
		return err
	})
	return v, err
}

func (c *call) checkSlots(r campaign.Reader, device string, v *topics.ServerChecked) error {
	var after ident.Device
	if device != "" {
		var err error
		if after, err = ident.ParseDevice(device); err != nil {
			return invalid("/cursor", "not a cursor of a check")
		}
	}
	n, found, next, err := campaign.CheckSlots(r, c.tenant, after, slotsAtOnce)
	v.Devices, v.Faults, v.Next = uint64(n), found, registryMark
	if !next.IsZero() {
		v.Next = slotMark + next.String()
	}
	return err
}
