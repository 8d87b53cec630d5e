package badger

import (
	"cmp"
	"fmt"
	"slices"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// joinableRecord lists the campaigns of a tenant that devices may join. It is one small record and no index, because
// every hello reads it: a get that most often finds nothing costs less than an iterator.
type joinableRecord struct {
	Campaigns []string `cbor:"1,keyasint,omitempty"`
}

func (r joinableRecord) domain() ([]ident.Campaign, error) {
	var p parser
	var ids []ident.Campaign
	for _, c := range r.Campaigns {
		ids = append(ids, parsed(&p, ident.ParseCampaign, c))
	}
	return ids, p.err
}

func (r *reader) Continuous(t ident.Tenant) ([]ident.Campaign, error) {
	ids, _, err := find[joinableRecord](r, keyOf(t, kindJoinable))
	return ids, err
}

// joinable keeps the record as c, which was old, becomes joinable or ceases to be.
func (t *tx) joinable(tn ident.Tenant, old, c campaign.Campaign) error {
	if old.Joinable() == c.Joinable() {
		return nil
	}
	ids, err := t.Continuous(tn)
	if err != nil {
		return t.fail(fmt.Errorf("read continuous campaigns: %w", err))
	}
	ids = slices.DeleteFunc(slices.Clone(ids), func(id ident.Campaign) bool { return id == c.ID })
	if c.Joinable() {
		ids = append(ids, c.ID)
	}
	k := keyOf(tn, kindJoinable)
	if len(ids) == 0 {
		t.ov.delete(k)
		return nil
	}
	slices.SortFunc(ids, func(a, b ident.Campaign) int { return cmp.Compare(a.String(), b.String()) })
	var rec joinableRecord
	for _, id := range ids {
		rec.Campaigns = append(rec.Campaigns, id.String())
	}
	return t.put(k, rec)
}
