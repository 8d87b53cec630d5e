package campaign_test

import (
	"maps"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// miscounted is a store whose derived records are wrong.
type miscounted struct {
	campaign.Tx
	extra campaign.State
}

func (m miscounted) Counts(t ident.Tenant, c ident.Campaign) (campaign.Counts, error) {
	n, err := m.Tx.Counts(t, c)
	n.Add(0, m.extra, 1)
	n.Reports++
	n.Holding = map[string]uint64{"north": 1}
	return n, err
}

func (m miscounted) StateIndex(t ident.Tenant, c ident.Campaign) (campaign.StateIndex, error) {
	x, err := m.Tx.StateIndex(t, c)
	x.Kept = maps.Clone(x.Entries)
	x.Entries[m.extra]++
	x.Kept[campaign.Failed]++
	return x, err
}

func TestCheckFindsWhatDoesNotAddUp(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register(names(5)...)
	c := w.create("c", m, policy())
	w.run(c)
	w.report("d000", m, "downloading")
	n, bad, err := campaign.CheckCampaign(w.m, acme, c)
	if n != 5 || len(bad) != 0 || err != nil {
		t.Errorf("%d, %v, %v", n, bad, err)
	}
	if _, bad, err := campaign.CheckCampaign(miscounted{w.m, campaign.Confirmed}, acme, c); len(bad) != 5 || err != nil {
		t.Errorf("miscounted: %v, %v", bad, err)
	}
	all := func() (devices int, bad []string) {
		for after := (ident.Device{}); ; {
			n, found, next, err := campaign.CheckSlots(w.m, acme, after, 2)
			if err != nil {
				t.Fatal(err)
			}
			devices, bad = devices+n, append(bad, found...)
			if after = next; next.IsZero() {
				return devices, bad
			}
		}
	}
	if n, bad := all(); n != 5 || len(bad) != 0 {
		t.Errorf("slots: %d, %v", n, bad)
	}
	delete(w.m.assignments, key{c, device("d001")})
	a := w.m.assignments[key{c, device("d002")}]
	a.State = campaign.Failed
	w.m.assignments[key{c, device("d002")}] = a
	if _, bad := all(); len(bad) != 2 {
		t.Errorf("two wrong slots: %v", bad)
	}
	stopped := w.m.campaigns[c]
	stopped.Phase = campaign.Stopped
	w.m.campaigns[c] = stopped
	if _, bad := all(); len(bad) != 5 {
		t.Errorf("none of a running campaign: %v", bad)
	}
}
