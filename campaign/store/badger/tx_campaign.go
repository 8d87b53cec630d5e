package badger

import (
	"errors"
	"maps"
	"slices"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// Campaign reads a campaign for every report, and some list their devices: it is decoded once, not each time.
func (t *tx) Campaign(tn ident.Tenant, id ident.Campaign) (campaign.Campaign, error) {
	if err := t.usable(); err != nil {
		return campaign.Campaign{}, err
	}
	known := t.ov.memory.campaigns
	k := string(keyOf(tn, kindCampaign).last(id.String()))
	c, ok := known[k]
	if !ok {
		var err error
		if c, err = t.reader.Campaign(tn, id); err != nil {
			return campaign.Campaign{}, err
		}
		if len(known) >= maxCampaigns {
			clear(known)
		}
		known[k] = c
	}
	// The caller's own, but for the list of devices, which is long and which nobody writes into.
	c.Selection.Devices = slices.Clip(c.Selection.Devices)
	c.Selection.Labels = maps.Clone(c.Selection.Labels)
	c.Selection.From.States = slices.Clone(c.Selection.From.States)
	c.Policy.Waves = slices.Clone(c.Policy.Waves)
	c.Policy.Deadlines = maps.Clone(c.Policy.Deadlines)
	c.Policy.Retry.Reasons = slices.Clone(c.Policy.Retry.Reasons)
	c.Bounds = slices.Clone(c.Bounds)
	return c, nil
}

// maxCampaigns bounds the campaigns that are kept decoded.
const maxCampaigns = 64

func (t *tx) PutCampaign(tn ident.Tenant, c campaign.Campaign) error {
	if err := t.named("campaign", tn, c.ID); err != nil {
		return err
	}
	k := keyOf(tn, kindCampaign).last(c.ID.String())
	old, err := t.Campaign(tn, c.ID)
	if err != nil && !errors.Is(err, campaign.ErrNotFound) {
		return t.fail(err)
	}
	if r := c.Phase.Running(); r != old.Phase.Running() {
		t.index(keyOf(tn, kindRunning).last(c.ID.String()), r)
	}
	t.move(endedKey(tn, old), endedKey(tn, c))
	t.move(neededKey(tn, old), neededKey(tn, c))
	if err := t.joinable(tn, old, c); err != nil {
		return err
	}
	return t.put(k, campaignRecordOf(c))
}

// move replaces index entry from by to; nil is none.
func (t *tx) move(from, to key) {
	if string(from) == string(to) {
		return
	}
	t.index(from, false)
	t.index(to, true)
}

// samePermit says whether the permits of a and b count alike.
func samePermit(a, b campaign.Assignment) bool {
	var n campaign.Counts
	n.Permit(a, 1)
	n.Permit(b, -1)
	return n.Holding == nil && n.Asking == nil
}
