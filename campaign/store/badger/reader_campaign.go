package badger

import (
	"fmt"
	"strings"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func (r *reader) Campaign(t ident.Tenant, c ident.Campaign) (campaign.Campaign, error) {
	return get[campaignRecord](r, keyOf(t, kindCampaign).last(c.String()))
}

func (r *reader) Campaigns(t ident.Tenant, after ident.Campaign, limit int) ([]campaign.Campaign, error) {
	return list[campaignRecord](r, keyOf(t, kindCampaign), after.String(), limit)
}

func (r *reader) Running(t ident.Tenant, after ident.Campaign, limit int) ([]campaign.Campaign, error) {
	names, err := r.rest(keyOf(t, kindRunning), after.String(), limit)
	if err != nil {
		return nil, err
	}
	var cs []campaign.Campaign
	for _, name := range names {
		c, err := get[campaignRecord](r, keyOf(t, kindCampaign).last(name))
		if err != nil {
			return nil, fmt.Errorf("read running campaign %s: %w", name, broken(err))
		}
		cs = append(cs, c)
	}
	return cs, nil
}

func (r *reader) Assignment(t ident.Tenant, c ident.Campaign, d ident.Device) (campaign.Assignment, error) {
	return get[assignmentRecord](r, assignmentKey(t, c, d))
}

func (r *reader) Assignments(t ident.Tenant, c ident.Campaign, after ident.Device, limit int) ([]campaign.Assignment, error) {
	return list[assignmentRecord](r, keyOf(t, kindAssignment).part(c.String()), after.String(), limit)
}

func (r *reader) InState(t ident.Tenant, c ident.Campaign, s campaign.State, after campaign.Place, limit int) ([]campaign.Assignment, error) {
	if err := r.usable(); err != nil || limit <= 0 {
		return nil, err
	}
	if set := r.sets[string(setName(t, c))]; set != nil {
		names, err := set.page(s, after, limit)
		if err != nil {
			return nil, fmt.Errorf("list %s of campaign %s: %w", s, c, err)
		}
		return r.assignments(t, c, names, 0)
	}
	began := time.Now()
	list, err := r.placed(t, c, statePrefix(t, c, s), after, limit)
	if err == nil && r.shown != nil && time.Since(began) >= r.shown.slow {
		err = r.makeSet(t, c)
	}
	return list, err
}

func (r *reader) Unpaid(t ident.Tenant, c ident.Campaign, limit int) ([]campaign.Assignment, error) {
	return r.placed(t, c, unpaidPrefix(t, c), campaign.Place{}, limit)
}

// placed lists the assignments of an index by place.
func (r *reader) placed(t ident.Tenant, c ident.Campaign, prefix key, after campaign.Place, limit int) ([]campaign.Assignment, error) {
	var from string
	if after != (campaign.Place{}) {
		from = string(key(nil).place(after))
	}
	rest, err := r.rest(prefix, from, limit)
	if err != nil {
		return nil, err
	}
	return r.assignments(t, c, rest, placeLen)
}

func (r *reader) Asking(t ident.Tenant, c ident.Campaign, value string, limit int) ([]campaign.Assignment, error) {
	if strings.Contains(value, "\x00") {
		return nil, r.usable() // no device can have it
	}
	rest, err := r.rest(askingPrefix(t, c, value), "", limit)
	if err != nil {
		return nil, err
	}
	return r.assignments(t, c, rest, timeLen)
}

// timeLen is the length of a time in a key.
const timeLen = 8

// assignments reads those whose devices stand in the index entries, skip bytes in.
func (r *reader) assignments(t ident.Tenant, c ident.Campaign, entries []string, skip int) ([]campaign.Assignment, error) {
	var as []campaign.Assignment
	for _, e := range entries {
		if len(e) <= skip {
			return nil, fmt.Errorf("read index of campaign %s: %w", c, errRecord)
		}
		a, err := r.assignment(keyOf(t, kindAssignment).part(c.String()).last(e[skip:]))
		if err != nil {
			return nil, fmt.Errorf("read assignment of %s in %s: %w", e[skip:], c, broken(err))
		}
		as = append(as, a)
	}
	return as, nil
}

// assignment reads the record under k. A Tx remembers it: what an engine lists it writes.
func (r *reader) assignment(k key) (campaign.Assignment, error) {
	if r.tx == nil {
		return get[assignmentRecord](r, k)
	}
	a, err := r.tx.assignment(k)
	if err == nil && a == nil {
		err = campaign.ErrNotFound
	}
	if err != nil {
		return campaign.Assignment{}, err
	}
	return a.own(), nil
}

func (r *reader) Counts(t ident.Tenant, c ident.Campaign) (campaign.Counts, error) {
	n, _, err := find[countsRecord](r, keyOf(t, kindCounts).last(c.String()))
	return n, err
}
