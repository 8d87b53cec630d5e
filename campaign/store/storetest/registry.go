package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// belongs is what Narrow means, said by a look at the record.
func belongs(d campaign.Device, n campaign.Narrow) bool {
	if (n.Vendor != uuid.Nil || n.Class != uuid.Nil) && (d.Vendor != n.Vendor || d.Class != n.Class) {
		return false
	}
	for k, v := range n.Labels {
		if have, ok := d.Labels[k]; !ok || have != v {
			return false
		}
	}
	for _, g := range n.Groups {
		if !slices.Contains(d.Groups, g) {
			return false
		}
	}
	return true
}

// auditNarrow compares what Narrow lists, in pages of every size up to limit, with a scan of the devices.
func auditNarrow(r campaign.Reader, t ident.Tenant, n campaign.Narrow, limits ...int) error {
	ds, err := all(func(after ident.Device) ([]campaign.Device, error) { return r.Devices(t, after, page) },
		func(d campaign.Device) ident.Device { return d.ID })
	if err != nil {
		return err
	}
	var want []ident.Device
	for _, d := range ds {
		if belongs(d, n) {
			want = append(want, d.ID)
		}
	}
	for _, limit := range limits {
		var got []ident.Device
		var after ident.Device
		for {
			ids, next, err := r.Narrow(t, n, after, limit)
			if err != nil {
				return err
			}
			if len(ids) > limit {
				return fmt.Errorf("narrow gave %d devices, limit %d", len(ids), limit)
			}
			got = append(got, ids...)
			if next.IsZero() {
				break
			}
			if next.String() <= after.String() {
				return fmt.Errorf("narrow goes on after %s, from %s", next, after)
			}
			after = next
		}
		if err := differ(fmt.Sprintf("narrow %v in pages of %d", n, limit), want, got); err != nil {
			return err
		}
	}
	return nil
}

// auditRegistry checks the index of every place that a device has.
func auditRegistry(r campaign.Reader, t ident.Tenant) error {
	ds, err := all(func(after ident.Device) ([]campaign.Device, error) { return r.Devices(t, after, page) },
		func(d campaign.Device) ident.Device { return d.ID })
	if err != nil {
		return err
	}
	n, err := r.DeviceCount(t)
	if err != nil {
		return err
	}
	if err := differ("count of devices", uint64(len(ds)), n); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, d := range ds {
		n := campaign.Narrow{Vendor: d.Vendor, Class: d.Class, Labels: d.Labels, Groups: d.Groups}
		if key := fmt.Sprint(n); !seen[key] {
			seen[key] = true
			if err := auditNarrow(r, t, n, page); err != nil {
				return err
			}
		}
	}
	return nil
}

// auditContinuous compares the campaigns that devices may join with a look at all.
func auditContinuous(r campaign.Reader, t ident.Tenant, cs []campaign.Campaign) error {
	var want []ident.Campaign
	for _, c := range cs {
		if c.Joinable() {
			want = append(want, c.ID)
		}
	}
	got, err := r.Continuous(t)
	if err != nil {
		return err
	}
	return differ("continuous campaigns", want, got)
}

// testContinuous lets campaigns come and go in every phase.
func testContinuous(t *testing.T, open Open) {
	s := open(t)
	rapid.Check(t, func(rt *rapid.T) {
		tn := ident.MustTenant(fmt.Sprintf("continuous-%d", modelRuns.Add(1)))
		for range rapid.IntRange(1, 8).Draw(rt, "puts") {
			c := campaign.Campaign{
				ID: campaignID(rapid.SampledFrom(names).Draw(rt, "campaign")),
				Phase: rapid.SampledFrom([]campaign.Phase{campaign.Draft, campaign.Scheduled, campaign.Starting, campaign.Active, campaign.Paused,
					campaign.Stopping, campaign.Stopped}).Draw(rt, "phase"),
				Policy: campaign.Policy{Membership: rapid.SampledFrom([]campaign.Membership{"", campaign.OneShot, campaign.Continuous}).Draw(rt, "membership")},
			}
			fail := rapid.IntRange(0, 3).Draw(rt, "fail") == 0
			err := s.Update(context.Background(), func(tx campaign.Tx) error {
				if err := tx.PutCampaign(tn, c); err != nil {
					return err
				}
				if err := AuditTenant(tx, tn); err != nil || !fail {
					return err
				}
				return errMine
			})
			if err != nil && !(fail && errors.Is(err, errMine)) {
				rt.Fatal(err)
			}
		}
		if err := s.View(context.Background(), func(r campaign.Reader) error { return AuditTenant(r, tn) }); err != nil {
			rt.Fatal(err)
		}
	})
}

var (
	vendors = []uuid.UUID{{}, {1}, {0xff, 15: 0xff}}
	words   = []string{"", "a", "ab", "b"}
)

func drawDevice(t *rapid.T) campaign.Device {
	d := campaign.Device{
		ID:     device(rapid.SampledFrom(names).Draw(t, "device")),
		Vendor: rapid.SampledFrom(vendors).Draw(t, "vendor"),
		Class:  rapid.SampledFrom(vendors).Draw(t, "class"),
		Labels: rapid.MapOfN(rapid.SampledFrom(words[1:]), rapid.SampledFrom(words), 0, 2).Draw(t, "labels"),
		Groups: rapid.SliceOfNDistinct(rapid.SampledFrom(words[1:]), 0, 2, rapid.ID).Draw(t, "groups"),
	}
	slices.Sort(d.Groups)
	return d
}

// testRegistry puts devices at random and asks for every combination of what they may have, within the transactions and
// after them.
func testRegistry(t *testing.T, open Open) {
	s := open(t)
	rapid.Check(t, func(rt *rapid.T) {
		tn := ident.MustTenant(fmt.Sprintf("registry-%d", modelRuns.Add(1)))
		ask := campaign.Narrow{
			Vendor: rapid.SampledFrom(vendors).Draw(rt, "asked vendor"),
			Class:  rapid.SampledFrom(vendors).Draw(rt, "asked class"),
			Labels: rapid.MapOfN(rapid.SampledFrom(words[1:]), rapid.SampledFrom(words), 0, 2).Draw(rt, "asked labels"),
			Groups: rapid.SliceOfNDistinct(rapid.SampledFrom(words[1:]), 0, 1, rapid.ID).Draw(rt, "asked groups"),
		}
		for range rapid.IntRange(1, 4).Draw(rt, "transactions") {
			puts := rapid.SliceOfN(rapid.Custom(drawDevice), 1, 8).Draw(rt, "puts")
			fail := rapid.IntRange(0, 3).Draw(rt, "fail") == 0
			err := s.Update(context.Background(), func(tx campaign.Tx) error {
				for _, d := range puts {
					if err := tx.PutDevice(tn, d); err != nil {
						return err
					}
				}
				if err := auditNarrow(tx, tn, ask, 1, 3, 20); err != nil || !fail {
					return err
				}
				return errMine
			})
			if err != nil && !(fail && errors.Is(err, errMine)) {
				rt.Fatal(err)
			}
		}
		if err := s.View(context.Background(), func(r campaign.Reader) error {
			if err := auditNarrow(r, tn, ask, 1, 3, 20); err != nil {
				return err
			}
			return auditRegistry(r, tn)
		}); err != nil {
			rt.Fatal(err)
		}
	})
	for _, bad := range []campaign.Device{
		{ID: device("d"), Labels: map[string]string{"a\x00b": ""}},
		{ID: device("d"), Groups: []string{"a\x00b"}},
		{ID: device("d"), Labels: map[string]string{"a": strings.Repeat("x", 1<<16)}},
	} {
		if err := s.Update(t.Context(), func(tx campaign.Tx) error { return tx.PutDevice(tenants[0], bad) }); err == nil {
			t.Errorf("device that no index can hold was stored")
		}
	}
}
