package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

var modelRuns atomic.Int64

// testModel puts assignments at random, many transactions to a tenant, some failing, and compares everything that the
// store derives with a scan, within the transactions and after them.
func testModel(t *testing.T, s campaign.Store) {
	c := campaignID("c")
	rapid.Check(t, func(rt *rapid.T) {
		tn := ident.MustTenant(fmt.Sprintf("model-%d", modelRuns.Add(1)))
		model := map[ident.Device]campaign.Assignment{}
		for range rapid.IntRange(1, 12).Draw(rt, "transactions") {
			puts := rapid.SliceOfN(rapid.Custom(drawAssignment), 1, 6).Draw(rt, "puts")
			fail := rapid.IntRange(0, 3).Draw(rt, "fail") == 0
			err := s.Update(context.Background(), func(tx campaign.Tx) error {
				for _, a := range puts {
					if err := tx.PutAssignment(tn, a); err != nil {
						return err
					}
				}
				if err := AuditCampaign(tx, tn, c); err != nil {
					return err
				}
				if fail {
					return errMine
				}
				return nil
			})
			switch {
			case fail && errors.Is(err, errMine):
			case err != nil:
				rt.Fatal(err)
			default:
				for _, a := range puts {
					model[a.Device] = a
				}
			}
		}
		if err := s.View(context.Background(), func(r campaign.Reader) error { return auditModel(r, tn, c, model) }); err != nil {
			rt.Fatal(err)
		}
	})
}

func auditModel(r campaign.Reader, tn ident.Tenant, c ident.Campaign, model map[ident.Device]campaign.Assignment) error {
	for d, want := range model {
		got, err := r.Assignment(tn, c, d)
		if err != nil {
			return err
		}
		if err := differ("assignment", want, got); err != nil {
			return err
		}
	}
	n, err := r.Counts(tn, c)
	if err != nil {
		return err
	}
	if n.Total() != uint64(len(model)) {
		return fmt.Errorf("%d assignments, %d counted", len(model), n.Total())
	}
	return AuditCampaign(r, tn, c)
}

func drawAssignment(t *rapid.T) campaign.Assignment {
	someTime := func(label string) time.Time {
		if n := rapid.IntRange(-1, 4).Draw(t, label); n >= 0 {
			return epoch.Add(time.Duration(n))
		}
		return time.Time{}
	}
	return campaign.Assignment{
		Campaign:  campaignID("c"),
		Device:    device(rapid.SampledFrom(names).Draw(t, "device")),
		Wave:      rapid.IntRange(0, 3).Draw(t, "wave"),
		Order:     rapid.Uint64Range(0, 3).Draw(t, "order"),
		State:     rapid.SampledFrom(campaign.States).Draw(t, "state"),
		Waiting:   rapid.Bool().Draw(t, "waiting"),
		Unpaid:    rapid.Bool().Draw(t, "unpaid"),
		Offers:    rapid.IntRange(0, 2).Draw(t, "offers"),
		NextOffer: someTime("next offer"),
		Deadline:  someTime("deadline"),
		Charged:   rapid.Bool().Draw(t, "charged"),
		Reports:   rapid.Uint64Range(0, 9).Draw(t, "reports"),
		Permit: campaign.Permit{
			State: rapid.SampledFrom([]campaign.PermitState{"", campaign.PermitWaiting, campaign.PermitGranted}).Draw(t, "permit"),
			Value: rapid.SampledFrom([]string{"", "north", "south"}).Draw(t, "value"),
			Next:  someTime("lapses"),
			Asked: someTime("asked"),
		},
	}
}
