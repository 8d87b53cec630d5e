package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// isIdent lets go-cmp look into the identifiers' only member.
func isIdent(t reflect.Type) bool {
	return t.PkgPath() == "fleetbridge/ident" && strings.HasPrefix(t.Name(), "ID[")
}

func testWork(t *testing.T, open Open) {
	s := open(t)
	vs, err := variants(func(*campaign.Work) {})
	if err != nil {
		t.Fatal(err)
	}
	tn, d := tenants[0], device("d")
	for _, want := range append(vs, campaign.Work{}) {
		update(t, s, func(tx campaign.Tx) error { return tx.PutWork(tn, d, want) })
		view(t, s, func(r campaign.Reader) error {
			got, err := r.Work(tn, d)
			if d := compare(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if err != nil {
				return err
			}
			list, err := r.Works(tn, ident.Device{}, 10)
			if (len(want.Live) > 0) != (len(list) == 1) {
				t.Errorf("%d live assignments, %d works listed", len(want.Live), len(list))
			}
			return err
		})
	}
	live := campaign.Work{Live: []campaign.Live{{Component: "00", Manifest: digest("m"), Campaign: campaignID("c")}}}
	idle := campaign.Work{Recent: live.Live}
	k := kind[campaign.DeviceWork, ident.Device]{
		id:   device,
		name: func(v *campaign.DeviceWork, d ident.Device) { v.Device, v.Work = d, live },
		put: func(tx campaign.Tx, tn ident.Tenant, v campaign.DeviceWork) error {
			if err := tx.PutWork(tn, device(v.Device.String()[:1]+"idle"), idle); err != nil {
				return err
			}
			return tx.PutWork(tn, v.Device, v.Work)
		},
		list: campaign.Reader.Works,
	}
	for _, tn := range tenants {
		for _, n := range names {
			put(t, s, k, tn, n)
		}
	}
	for _, tn := range tenants {
		testPages(t, s, k, tn)
	}
}

func testReplies(t *testing.T, open Open) {
	s := open(t)
	tn, n := tenants[0], must(ident.ParseName("backend"))
	vs, err := variants(func(v *campaign.StoredReply) { v.Expires = epoch.Add(time.Hour) })
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range vs {
		update(t, s, func(tx campaign.Tx) error { return tx.PutReply(tn, n, "key", want) })
		view(t, s, func(r campaign.Reader) error {
			got, err := r.Reply(tn, n, "key", epoch)
			if d := compare(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			return err
		})
	}
	view(t, s, func(r campaign.Reader) error {
		for _, c := range []struct {
			tenant ident.Tenant
			name   ident.Name
			key    string
			now    time.Time
		}{
			{tenants[1], n, "key", epoch},
			{tn, must(ident.ParseName("backend2")), "key", epoch},
			{tn, n, "ke", epoch},
			{tn, n, "key2", epoch},
			{tn, n, "", epoch},
			{tn, n, "key", epoch.Add(time.Hour)},
		} {
			if got, err := r.Reply(c.tenant, c.name, c.key, c.now); !errors.Is(err, campaign.ErrNotFound) {
				t.Errorf("reply of %v: %v, %v, want ErrNotFound", c, got, err)
			}
		}
		return nil
	})
	testExpiry(t, open(t))
}

// testExpiry: replies go in the order of their expiry, at most limit at once, each tenant's by itself; one that was put
// again lives as long as its newest version says.
func testExpiry(t *testing.T, s campaign.Store) {
	n := must(ident.ParseName("backend"))
	const replies = 10
	for _, tn := range tenants[:2] {
		for i := range replies {
			update(t, s, func(tx campaign.Tx) error {
				return tx.PutReply(tn, n, fmt.Sprint(i), campaign.StoredReply{Expires: epoch.Add(time.Duration(i) * time.Second)})
			})
		}
	}
	tn := tenants[0]
	update(t, s, func(tx campaign.Tx) error {
		return tx.PutReply(tn, n, "0", campaign.StoredReply{Status: 2, Expires: epoch.Add(time.Hour)})
	})
	expire := func(now time.Time, limit, want int) {
		t.Helper()
		var got int
		update(t, s, func(tx campaign.Tx) (err error) { got, err = tx.ExpireReplies(tn, now, limit); return err })
		if got != want {
			t.Errorf("expired %d, want %d", got, want)
		}
	}
	expire(epoch, 100, 0)
	expire(epoch.Add(3*time.Second), 0, 0)
	expire(epoch.Add(3*time.Second), 2, 2)
	expire(epoch.Add(3*time.Second), 2, 1)
	expire(epoch.Add(3*time.Second), 2, 0)
	view(t, s, func(r campaign.Reader) error {
		for _, c := range []struct {
			tenant ident.Tenant
			key    string
			there  bool
		}{{tn, "0", true}, {tn, "1", false}, {tn, "3", false}, {tn, "4", true}, {tenants[1], "1", true}} {
			_, err := r.Reply(c.tenant, n, c.key, epoch.Add(-time.Hour))
			if (err == nil) != c.there {
				t.Errorf("reply %s of %s: %v", c.key, c.tenant, err)
			}
		}
		return nil
	})
	expire(epoch.Add(24*time.Hour), 100, replies-3)
}
