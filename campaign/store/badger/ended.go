package badger

import (
	"errors"
	"fmt"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func endedPrefix(t ident.Tenant, p campaign.Phase) key { return keyOf(t, kindEnded).part(string(p)) }

// endedKey returns the key of c in the index of ended campaigns, nil if it is not in it.
func endedKey(t ident.Tenant, c campaign.Campaign) key {
	if c.Phase != campaign.Stopped && c.Phase != campaign.Archived {
		return nil
	}
	return endedPrefix(t, c.Phase).time(c.StoppedAt).last(c.ID.String())
}

func (r *reader) Ended(t ident.Tenant, p campaign.Phase, until time.Time, limit int) ([]campaign.Campaign, error) {
	if err := r.usable(); err != nil || limit <= 0 {
		return nil, err
	}
	prefix, end := endedPrefix(t, p), string(key(nil).time(until))
	var names []string
	err := r.src.scan(prefix, prefix, true, func(k, _ []byte) (bool, error) {
		e := string(k[len(prefix):])
		if len(e) <= timeLen {
			return false, errRecord
		}
		if e[:timeLen] > end {
			return false, nil
		}
		names = append(names, e[timeLen:])
		return len(names) < limit, nil
	})
	if err != nil {
		return nil, fmt.Errorf("read index of ended campaigns: %w", err)
	}
	var cs []campaign.Campaign
	for _, name := range names {
		c, err := get[campaignRecord](r, keyOf(t, kindCampaign).last(name))
		if err != nil {
			return nil, fmt.Errorf("read ended campaign %s: %w", name, broken(err))
		}
		cs = append(cs, c)
	}
	return cs, nil
}

func (t *tx) DeleteCampaign(tn ident.Tenant, id ident.Campaign) error {
	if err := t.named("campaign", tn, id); err != nil {
		return err
	}
	old, err := t.Campaign(tn, id)
	if errors.Is(err, campaign.ErrNotFound) {
		return nil
	}
	if err != nil {
		return t.fail(err)
	}
	n, err := t.Counts(tn, id)
	if err != nil {
		return t.fail(err)
	}
	if total := n.Total(); total != 0 {
		return t.fail(fmt.Errorf("delete campaign %s: it has %d assignments: %w", id, total, errRecord))
	}
	t.move(endedKey(tn, old), nil)
	t.move(neededKey(tn, old), nil)
	if old.Phase.Running() {
		t.index(keyOf(tn, kindRunning).last(id.String()), false)
	}
	t.ov.delete(keyOf(tn, kindCounts).last(id.String()))
	t.ov.delete(keyOf(tn, kindCampaign).last(id.String()))
	return nil
}

func (t *tx) DeleteAssignment(tn ident.Tenant, c ident.Campaign, d ident.Device) error {
	if err := t.named("assignment", tn, c, d); err != nil {
		return err
	}
	k := assignmentKey(tn, c, d)
	old, there, err := find[indexedRecord](&t.reader, k)
	if err != nil || !there {
		return t.fail(err)
	}
	old.Campaign, old.Device = c, d
	t.shift(tn, c, &old, nil)
	t.move(stateKey(tn, old), nil)
	t.move(dueKey(tn, old), nil)
	t.move(askingKey(tn, old), nil)
	n, err := t.Counts(tn, c)
	if err != nil {
		return t.fail(err)
	}
	n.Add(old.Wave, old.State, -1)
	n.AddReason(old.State, old.Reason, -1)
	n.Permit(old, -1)
	n.AddMarks(old, -1)
	n.Reports -= old.Reports
	n.Charge(old.Charged, false)
	n.Waves = trimmed(n.Waves)
	t.ov.delete(k)
	return t.put(keyOf(tn, kindCounts).last(c.String()), countsRecordOf(n))
}

// trimmed is waves without the empty ones at its end.
func trimmed(waves []map[campaign.State]uint64) []map[campaign.State]uint64 {
	for len(waves) > 0 && len(waves[len(waves)-1]) == 0 {
		waves = waves[:len(waves)-1]
	}
	return waves
}
