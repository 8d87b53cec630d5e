package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// deviceAdd registers a device, or changes what the request names of one that is there, and issues its credential if
// asked.
func deviceAdd(ctx context.Context, c *call, req topics.DeviceAdd) (any, error) {
	name, err := ident.ParseName(req.Device.String())
	if err != nil {
		return nil, err
	}
	var cred campaign.Credential
	var token string
	if req.Credential {
		if cred, token, err = NewCredential(c.b.o.Rand, name, topics.RoleDevice); err != nil {
			return nil, err
		}
		cred.Created = c.now
		c.secret = true
	}
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		d, err := tx.Device(c.tenant, req.Device)
		if errors.Is(err, campaign.ErrNotFound) {
			d, err = campaign.Device{ID: req.Device, Created: c.now}, nil
		}
		if err != nil {
			return nil, campaign.Result{}, fmt.Errorf("read device: %w", err)
		}
		if d.LastSeen.IsZero() { // what a device says of itself outranks what is said of it
			d.Vendor, d.Class = cmp.Or(req.Vendor, d.Vendor), cmp.Or(req.Class, d.Class)
		}
		if req.Labels != nil {
			d.Labels = req.Labels
		}
		res, err := campaign.Register(tx, c.now, c.tenant, d)
		if err != nil {
			return nil, campaign.Result{}, err
		}
		v, _, err := c.deviceView(tx, d)
		if err == nil && req.Credential {
			v.User, v.Token = userName(c.tenant, name), token
			err = addCredential(tx, c.tenant, cred, "/credential")
		}
		return v, res, err
	})
}

// deviceView is what replies show of a device; whether it is connected is the link's word, where it has one.
func (c *call) deviceView(r campaign.Reader, d campaign.Device) (topics.DeviceView, bool, error) {
	w, err := r.Work(c.tenant, d.ID)
	if err != nil {
		return topics.DeviceView{}, false, fmt.Errorf("read work: %w", err)
	}
	connected, _ := c.connected(d.ID)
	return deviceView(d, w, connected), true, nil
}

func deviceGet(ctx context.Context, c *call, req topics.DeviceGet) (any, error) {
	var v topics.DeviceView
	err := c.view(ctx, func(r campaign.Reader) error {
		d, err := r.Device(c.tenant, req.Device)
		if err != nil {
			return orMissing(err, "device", req.Device)
		}
		v, _, err = c.deviceView(r, d)
		return err
	})
	return v, err
}
