package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// auditAmong compares DevicesOf and WorksOf with asking for each of ids, which are in order.
func auditAmong(r campaign.Reader, t ident.Tenant, ids []ident.Device) error {
	devices, works := make([]campaign.Device, len(ids)), make([]campaign.Work, len(ids))
	for i, id := range ids {
		var err error
		if devices[i], err = r.Device(t, id); err != nil && !errors.Is(err, campaign.ErrNotFound) {
			return err
		}
		if works[i], err = r.Work(t, id); err != nil {
			return err
		}
	}
	gotDevices, err := r.DevicesOf(t, ids)
	if err != nil {
		return err
	}
	gotWorks, err := r.WorksOf(t, ids)
	return errors.Join(err, differ("devices asked for together", devices, gotDevices), differ("works asked for together", works, gotWorks))
}

// testAmong asks for devices that lie beside each other and far apart, registered or not, written in the transaction,
// deleted in it, or before it.
func testAmong(t *testing.T, open Open) {
	s := open(t)
	var all []ident.Device
	for i := range 60 {
		all = append(all, device(fmt.Sprintf("d%02d", i)))
	}
	some := rapid.Map(rapid.SliceOfNDistinct(rapid.IntRange(0, len(all)-1), 0, len(all), rapid.ID), func(at []int) []ident.Device {
		slices.Sort(at)
		ids := make([]ident.Device, len(at))
		for i, n := range at {
			ids[i] = all[n]
		}
		return ids
	})
	put := func(tx campaign.Tx, tn ident.Tenant, registered, busy, free []ident.Device, boot uint64) error {
		for _, d := range registered {
			if err := tx.PutDevice(tn, campaign.Device{ID: d, Boot: boot}); err != nil {
				return err
			}
		}
		for _, d := range busy {
			if err := tx.PutWork(tn, d, campaign.Work{Waiting: []ident.Campaign{campaignID(d.String())}}); err != nil {
				return err
			}
		}
		for _, d := range free {
			if err := tx.PutWork(tn, d, campaign.Work{}); err != nil {
				return err
			}
		}
		return nil
	}
	rapid.Check(t, func(rt *rapid.T) {
		tn := ident.MustTenant(fmt.Sprintf("among-%d", modelRuns.Add(1)))
		for boot := range rapid.Uint64Range(1, 3).Draw(rt, "transactions") {
			registered, busy, free := some.Draw(rt, "registered"), some.Draw(rt, "busy"), some.Draw(rt, "free")
			ask := some.Draw(rt, "asked")
			fail := rapid.IntRange(0, 3).Draw(rt, "fail") == 0
			err := s.Update(context.Background(), func(tx campaign.Tx) error {
				if err := put(tx, tn, registered, busy, free, boot); err != nil {
					return err
				}
				if err := errors.Join(auditAmong(tx, tn, ask), auditAmong(tx, tn, all)); err != nil || !fail {
					return err
				}
				return errMine
			})
			if err != nil && !(fail && errors.Is(err, errMine)) {
				rt.Fatal(err)
			}
			if err := s.View(context.Background(), func(r campaign.Reader) error { return auditAmong(r, tn, ask) }); err != nil {
				rt.Fatal(err)
			}
		}
	})
}
