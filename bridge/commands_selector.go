package bridge

import (
	"context"
	"fmt"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// maxLook is how many devices one page of a filter looks at.
const maxLook = 20_000

// deviceList lists all devices, or those that pass a filter.
func deviceList(ctx context.Context, c *call, req topics.DeviceList) (any, error) {
	if req.Filter != "" {
		return c.deviceFind(ctx, req)
	}
	return lister[ident.Device, campaign.Device, topics.DeviceView]{
		parse: ident.ParseDevice,
		place: func(d campaign.Device) string { return d.ID.String() },
		read: func(r campaign.Reader, after ident.Device, limit int) ([]campaign.Device, error) {
			return r.Devices(c.tenant, after, limit)
		},
		view: c.deviceView,
	}.run(ctx, c, req.Page)
}

// deviceFind is one page of the devices that pass a filter. It looks at a bounded part of the registry.
func (c *call) deviceFind(ctx context.Context, req topics.DeviceList) (any, error) {
	q, err := campaign.NewQuery(req.Filter, nil, c.now)
	if err != nil {
		return nil, err
	}
	after, err := deviceCursor(req.Cursor)
	if err != nil {
		return nil, err
	}
	limit := req.Limit
	if limit == 0 {
		limit = defaultPage
	}
	var (
		items  []topics.DeviceView
		places []string
		end    string
	)
	err = c.view(ctx, func(r campaign.Reader) error {
		found, err := q.Find(r, c.tenant, after, limit, maxLook)
		if err != nil {
			return err
		}
		items, places, end = nil, nil, found.Next.String()
		for _, p := range found.Picked {
			v, _, err := c.deviceView(r, p.Device)
			if err != nil {
				return err
			}
			items, places = append(items, v), append(places, p.ID.String())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	return fit(c, items, places, end)
}

func deviceCursor(s string) (after ident.Device, err error) {
	if s == "" {
		return after, nil
	}
	if after, err = ident.ParseDevice(s); err != nil {
		return after, invalid("/cursor", "not a cursor of this list")
	}
	return after, nil
}

// defaultSample is how many devices selector/test shows where none are asked for.
const defaultSample = 10

// selectorTest looks at every device. It gives up when the command's deadline passes.
func selectorTest(ctx context.Context, c *call, req topics.SelectorTest) (any, error) {
	limit := req.Limit
	if limit == 0 {
		limit = defaultSample
	}
	var v topics.SelectorTested
	err := c.view(ctx, func(r campaign.Reader) error {
		var m *firmware.Manifest
		if !req.Manifest.IsZero() {
			found, err := r.Manifest(c.tenant, req.Manifest)
			if err != nil {
				return orMissing(err, "manifest", req.Manifest)
			}
			m = &found
		}
		q, err := campaign.NewQuery(req.Filter, m, c.now)
		if err != nil {
			return err
		}
		y, err := q.Tally(r, c.tenant, limit, ctx.Err)
		if err != nil {
			return err
		}
		v, err = c.tallyView(r, y)
		return err
	})
	if err != nil {
		return nil, err
	}
	for body, err := c.encode(v); ; body, err = c.encode(v) {
		if err != nil {
			return nil, err
		}
		if len(body) <= c.maxReply || len(v.Sample) == 0 {
			return rawReply(body), nil
		}
		v.Sample = v.Sample[:len(v.Sample)/2]
	}
}

func (c *call) tallyView(r campaign.Reader, y campaign.Tally) (topics.SelectorTested, error) {
	v := topics.SelectorTested{Total: y.Total, Matched: y.Matched, Unjudged: y.Unjudged, Unjudgeable: y.Unjudgeable}
	for _, d := range y.Sample {
		one, _, err := c.deviceView(r, d)
		if err != nil {
			return v, err
		}
		v.Sample = append(v.Sample, one)
	}
	for _, n := range y.Near {
		v.Near = append(v.Near, topics.NearView{Field: n.Field, Value: n.Value, Have: n.Have})
	}
	return v, nil
}
