package badger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

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

func (t *tx) PutAssignment(tn ident.Tenant, a campaign.Assignment) error {
	if err := t.named("assignment", tn, a.Campaign, a.Device); err != nil {
		return err
	}
	if a.Wave < 0 || a.Wave > maxWave || a.State == "" || strings.Contains(string(a.State), "\x00") {
		return t.fail(fmt.Errorf("put assignment of %s in %s: wave %d, state %q: %w", a.Device, a.Campaign, a.Wave, a.State, errRecord))
	}
	if v := a.Permit.Value; len(v) > maxLabelKey || strings.Contains(v, "\x00") {
		return t.fail(fmt.Errorf("put assignment of %s in %s: permit for a label of %d bytes, or with a NUL byte: %w", a.Device, a.Campaign, len(v), errRecord))
	}
	k := assignmentKey(tn, a.Campaign, a.Device)
	old, there, err := find[indexedRecord](&t.reader, k)
	if err != nil {
		return t.fail(err)
	}
	if err := t.count(tn, old, there, a); err != nil {
		return err
	}
	old.Campaign, old.Device = a.Campaign, a.Device
	was := &old
	if !there {
		was = nil
	}
	t.shift(tn, a.Campaign, was, &a)
	t.move(oldKey(there, stateKey, tn, old), stateKey(tn, a))
	t.move(oldKey(there, dueKey, tn, old), dueKey(tn, a))
	t.move(oldKey(there, askingKey, tn, old), askingKey(tn, a))
	return t.put(k, assignmentRecordOf(a))
}

func oldKey(there bool, of func(ident.Tenant, campaign.Assignment) key, tn ident.Tenant, old campaign.Assignment) key {
	if !there {
		return nil
	}
	return of(tn, old)
}

// move replaces index entry from by to; nil is none.
func (t *tx) move(from, to key) {
	if string(from) == string(to) {
		return
	}
	t.index(from, false)
	t.index(to, true)
}

// count keeps the counts of a's campaign: old, if it was there, leaves its state and a enters its own.
func (t *tx) count(tn ident.Tenant, old campaign.Assignment, there bool, a campaign.Assignment) error {
	if there && old.Reason == a.Reason && old.Wave == a.Wave && old.State == a.State && old.Reports == a.Reports &&
		old.Charged == a.Charged && old.Unpaid == a.Unpaid && old.Spared() == a.Spared() && samePermit(old, a) {
		return nil
	}
	n, err := t.Counts(tn, a.Campaign)
	if err != nil {
		return t.fail(err)
	}
	if there {
		n.Add(old.Wave, old.State, -1)
		n.AddReason(old.State, old.Reason, -1)
		n.AddMarks(old, -1)
	}
	n.Add(a.Wave, a.State, 1)
	n.AddReason(a.State, a.Reason, 1)
	n.AddMarks(a, 1)
	n.Reports += a.Reports - old.Reports
	n.Charge(old.Charged, a.Charged)
	if there {
		n.Permit(old, -1)
	}
	n.Permit(a, 1)
	n.Waves = trimmed(n.Waves)
	return t.put(keyOf(tn, kindCounts).last(a.Campaign.String()), countsRecordOf(n))
}

// samePermit says whether the permits of a and b count alike.
func samePermit(a, b campaign.Assignment) bool {
	var n campaign.Counts
	n.Permit(a, 1)
	n.Permit(b, -1)
	return n.Holding == nil && n.Asking == nil
}
