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
	n, err := t.tally(tn, id)
	if err != nil {
		return t.fail(err)
	}
	counts := t.ov.counted(n)
	if total := counts.Total(); total != 0 {
		return t.fail(fmt.Errorf("delete campaign %s: it has %d assignments: %w", id, total, errRecord))
	}
	t.move(endedKey(tn, old), nil)
	t.move(neededKey(tn, old), nil)
	if old.Phase.Running() {
		t.index(keyOf(tn, kindRunning).last(id.String()), false)
	}
	t.ov.delete(keyOf(tn, kindCampaign).last(id.String()))
	return t.count(count{of: n, gone: true})
}
