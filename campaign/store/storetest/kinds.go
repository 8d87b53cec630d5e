package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func testKind[T any, I fmt.Stringer](t *testing.T, open Open, k kind[T, I]) {
	t.Run("round trip", func(t *testing.T) { testRoundTrip(t, open(t), k) })
	t.Run("not found", func(t *testing.T) {
		s := open(t)
		put(t, s, k, tenants[0], "a")
		view(t, s, func(r campaign.Reader) error {
			for _, other := range tenants[1:] {
				if v, err := k.get(r, other, k.id("a")); !errors.Is(err, campaign.ErrNotFound) {
					t.Errorf("tenant %s sees tenant %s: %v, %v", other, tenants[0], v, err)
				}
			}
			if v, err := k.get(r, tenants[0], k.id("nobody")); !errors.Is(err, campaign.ErrNotFound) {
				t.Errorf("got %v, %v, want ErrNotFound", v, err)
			}
			return nil
		})
	})
	t.Run("pages", func(t *testing.T) {
		s := open(t)
		for _, tenant := range tenants {
			for _, name := range names {
				put(t, s, k, tenant, name)
			}
		}
		for _, tenant := range tenants {
			testPages(t, s, k, tenant)
		}
	})
}

// put stores an otherwise zero record.
func put[T any, I fmt.Stringer](t *testing.T, s campaign.Store, k kind[T, I], tenant ident.Tenant, name string) {
	t.Helper()
	var v T
	k.name(&v, k.id(name))
	update(t, s, func(tx campaign.Tx) error { return k.put(tx, tenant, v) })
}

// testRoundTrip puts every member through the store, and each version over the one before.
func testRoundTrip[T any, I fmt.Stringer](t *testing.T, s campaign.Store, k kind[T, I]) {
	id := k.id("a")
	vs, err := variants(func(v *T) { k.name(v, id) })
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range vs {
		update(t, s, func(tx campaign.Tx) error {
			if err := k.put(tx, tenants[0], want); err != nil {
				return err
			}
			got, err := k.get(tx, tenants[0], id)
			if d := compare(want, got); d != "" {
				t.Errorf("within the transaction (-want +got):\n%s", d)
			}
			return err
		})
		view(t, s, func(r campaign.Reader) error {
			got, err := k.get(r, tenants[0], id)
			if d := compare(want, got); d != "" {
				t.Errorf("after the commit (-want +got):\n%s", d)
			}
			return err
		})
	}
}

// testPages walks a list with every page size; it must hold each of names once, in byte order.
func testPages[T any, I fmt.Stringer](t *testing.T, s campaign.Store, k kind[T, I], tenant ident.Tenant) {
	ids := make([]I, 0, len(names))
	for _, n := range names {
		ids = append(ids, k.id(n))
	}
	slices.SortFunc(ids, func(a, b I) int { return strings.Compare(a.String(), b.String()) })
	want := make([]T, len(ids))
	for i, id := range ids {
		k.name(&want[i], id)
	}
	view(t, s, func(r campaign.Reader) error {
		for limit := 1; limit <= len(ids)+1; limit++ {
			var got []T
			var after I
			for {
				page, err := k.list(r, tenant, after, limit)
				if err != nil {
					return err
				}
				if len(page) > limit {
					t.Fatalf("page of %d, limit %d", len(page), limit)
				}
				if len(page) == 0 || len(got) > len(ids) {
					break
				}
				got = append(got, page...)
				after = ids[min(len(got), len(ids))-1]
			}
			if d := compare(want, got); d != "" {
				t.Fatalf("pages of %d (-want +got):\n%s", limit, d)
			}
		}
		page, err := k.list(r, tenant, ids[0], 0)
		if len(page) != 0 {
			t.Errorf("limit 0: %d items", len(page))
		}
		return err
	})
}

func testTenants(t *testing.T, open Open) {
	k := kind[campaign.Tenant, ident.Tenant]{
		id:   ident.MustTenant,
		name: func(v *campaign.Tenant, id ident.Tenant) { v.ID = id },
		put:  func(tx campaign.Tx, _ ident.Tenant, v campaign.Tenant) error { return tx.PutTenant(v) },
		get:  func(r campaign.Reader, _, id ident.Tenant) (campaign.Tenant, error) { return r.Tenant(id) },
		list: func(r campaign.Reader, _, after ident.Tenant, limit int) ([]campaign.Tenant, error) {
			return r.Tenants(after, limit)
		},
	}
	testRoundTrip(t, open(t), k)
	s := open(t)
	view(t, s, func(r campaign.Reader) error {
		if v, err := r.Tenant(tenants[0]); !errors.Is(err, campaign.ErrNotFound) {
			t.Errorf("got %v, %v, want ErrNotFound", v, err)
		}
		return nil
	})
	for _, name := range names {
		put(t, s, k, tenants[0], name)
		// A tenant's own records are no tenants.
		update(t, s, func(tx campaign.Tx) error {
			return tx.PutDevice(ident.MustTenant(name), campaign.Device{ID: device("d")})
		})
	}
	testPages(t, s, k, tenants[0])
}
