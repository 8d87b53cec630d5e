package campaign_test

import (
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// uses is a store of one manifest and one campaign that needs it, whose indexes say what they are told.
type uses struct {
	*memory
	fetched map[ident.Digest][]ident.Digest
	needed  map[ident.Digest][]ident.Campaign
	index   campaign.UseIndex
}

func (u *uses) Manifests(_ ident.Tenant, after ident.Digest, _ int) (list []firmware.Manifest, _ error) {
	for _, m := range u.manifests {
		if after.IsZero() {
			list = append(list, m)
		}
	}
	return list, nil
}

func (u *uses) Campaigns(_ ident.Tenant, after ident.Campaign, _ int) (list []campaign.Campaign, _ error) {
	for _, c := range u.campaigns {
		if after.IsZero() {
			list = append(list, c)
		}
	}
	return list, nil
}

func (u *uses) FetchedBy(_ ident.Tenant, d, _ ident.Digest, _ int) ([]ident.Digest, error) {
	return u.fetched[d], nil
}

func (u *uses) NeededBy(_ ident.Tenant, d ident.Digest, _ ident.Campaign, _ int) ([]ident.Campaign, error) {
	return u.needed[d], nil
}

func (u *uses) UseIndex(ident.Tenant) (campaign.UseIndex, error) { return u.index, nil }

// TestCheckUses: each way in which the indexes of uses can be wrong is a fault, and none is when they are right.
func TestCheckUses(t *testing.T) {
	for what, c := range map[string]struct {
		spoil  func(*uses, firmware.Manifest, ident.Campaign)
		faults int
	}{
		"right":                      {func(*uses, firmware.Manifest, ident.Campaign) {}, 0},
		"a fetch is missing":         {func(u *uses, m firmware.Manifest, _ ident.Campaign) { clear(u.fetched); u.index.Fetched = 0 }, 1},
		"a fetch of another":         {func(u *uses, m firmware.Manifest, _ ident.Campaign) { u.fetched[m.Fetches[0].Digest][0] = m.Image }, 1},
		"a fetch too many":           {func(u *uses, _ firmware.Manifest, _ ident.Campaign) { u.index.Fetched++ }, 1},
		"a need is missing":          {func(u *uses, _ firmware.Manifest, _ ident.Campaign) { clear(u.needed); u.index.Needed = 0 }, 1},
		"a need of another":          {func(u *uses, m firmware.Manifest, _ ident.Campaign) { u.needed[m.Digest][0] = campaignID("x") }, 1},
		"a need too many":            {func(u *uses, _ firmware.Manifest, _ ident.Campaign) { u.index.Needed++ }, 1},
		"the manifest is gone":       {func(u *uses, m firmware.Manifest, _ ident.Campaign) { u.goes(m) }, 1},
		"the campaign has ended":     {func(u *uses, _ firmware.Manifest, c ident.Campaign) { u.ends(c) }, 1},
		"both, and the index agrees": {func(u *uses, m firmware.Manifest, c ident.Campaign) { u.goes(m); u.ends(c); u.index.Needed = 0 }, 0},
	} {
		w := newWorld(t)
		m := w.manifest("v2")
		id := w.create("c", m, policy())
		u := &uses{memory: w.m, fetched: map[ident.Digest][]ident.Digest{m.Fetches[0].Digest: {m.Digest}},
			needed: map[ident.Digest][]ident.Campaign{m.Digest: {id}}, index: campaign.UseIndex{Fetched: 1, Needed: 1}}
		c.spoil(u, m, id)
		n, found, err := campaign.CheckUses(u, acme)
		if len(found) != c.faults || err != nil || n != len(u.manifests) {
			t.Errorf("%s: %d manifests, %q, %v; want %d faults", what, n, found, err, c.faults)
		}
	}
}

func (u *uses) goes(m firmware.Manifest) {
	delete(u.manifests, m.Digest)
	u.index.Fetched = 0
}

func (u *uses) ends(id ident.Campaign) {
	c := u.campaigns[id]
	c.Phase = campaign.Stopped
	u.campaigns[id] = c
}
