package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// names are identifiers whose byte order is not the order that people would write them in.
var names = []string{"0", "A", "B", "a", "a-1", "a.b", "a0", "a:", "aA", "ab", "b", strings.Repeat("z", ident.MaxLen)}

// compare compares records; identifiers compare by their text.
func compare(want, got any) string {
	return gocmp.Diff(want, got, gocmp.Exporter(isIdent))
}

// kind is one kind of record, T, that is named by an I.
type kind[T any, I fmt.Stringer] struct {
	id   func(name string) I
	name func(*T, I)
	put  func(campaign.Tx, ident.Tenant, T) error
	get  func(campaign.Reader, ident.Tenant, I) (T, error)
	list func(r campaign.Reader, t ident.Tenant, after I, limit int) ([]T, error) // nil: there is no list
}

func testRecords(t *testing.T, open Open) {
	t.Run("tenant", func(t *testing.T) { testTenants(t, open) })
	t.Run("credential", func(t *testing.T) {
		testKind(t, open, kind[campaign.Credential, ident.Name]{
			id:   func(s string) ident.Name { return must(ident.ParseName(s)) },
			name: func(v *campaign.Credential, n ident.Name) { v.Name = n },
			put:  campaign.Tx.PutCredential, get: campaign.Reader.Credential, list: campaign.Reader.Credentials,
		})
	})
	t.Run("anchor", func(t *testing.T) {
		testKind(t, open, kind[firmware.Anchor, ident.Key]{
			id:   func(s string) ident.Key { return must(ident.ParseKey(s)) },
			name: func(v *firmware.Anchor, n ident.Key) { v.ID = n },
			put:  campaign.Tx.PutAnchor, get: campaign.Reader.Anchor, list: campaign.Reader.Anchors,
		})
	})
	t.Run("payload", func(t *testing.T) {
		testKind(t, open, kind[firmware.Payload, ident.Digest]{
			id:   digest,
			name: func(v *firmware.Payload, d ident.Digest) { v.Digest = d },
			put:  campaign.Tx.PutPayload, get: campaign.Reader.Payload, list: campaign.Reader.Payloads,
		})
		t.Run("delete", func(t *testing.T) { testDeletePayload(t, open(t)) })
	})
	t.Run("manifest", func(t *testing.T) {
		testKind(t, open, kind[firmware.Manifest, ident.Digest]{
			id:   digest,
			name: func(v *firmware.Manifest, d ident.Digest) { v.Digest = d },
			put:  campaign.Tx.PutManifest, get: campaign.Reader.Manifest, list: campaign.Reader.Manifests,
		})
		t.Run("uses", func(t *testing.T) { testUses(t, open(t)) })
	})
	t.Run("device", func(t *testing.T) {
		testKind(t, open, kind[campaign.Device, ident.Device]{
			id:   device,
			name: func(v *campaign.Device, d ident.Device) { v.ID = d },
			put:  campaign.Tx.PutDevice, get: campaign.Reader.Device, list: campaign.Reader.Devices,
		})
	})
	t.Run("campaign", func(t *testing.T) {
		testKind(t, open, kind[campaign.Campaign, ident.Campaign]{
			id:   campaignID,
			name: func(v *campaign.Campaign, c ident.Campaign) { v.ID = c },
			put:  campaign.Tx.PutCampaign, get: campaign.Reader.Campaign, list: campaign.Reader.Campaigns,
		})
	})
	t.Run("assignment", func(t *testing.T) { testKind(t, open, assignments(campaignID("c"))) })
	t.Run("floor", func(t *testing.T) { testFloors(t, open) })
	t.Run("work", func(t *testing.T) { testWork(t, open) })
	t.Run("reply", func(t *testing.T) { testReplies(t, open) })
	t.Run("registry", func(t *testing.T) { testRegistry(t, open) })
	t.Run("devices together", func(t *testing.T) { testAmong(t, open) })
	t.Run("audit log", func(t *testing.T) { testAuditLog(t, open) })
	t.Run("ended campaigns", func(t *testing.T) { testStopped(t, open) })
	t.Run("deleted assignments", func(t *testing.T) { testDeleteAssignments(t, open) })
	t.Run("continuous", func(t *testing.T) { testContinuous(t, open) })
	t.Run("quota", func(t *testing.T) { testQuota(t, open) })
	t.Run("refused", func(t *testing.T) { testRefused(t, open) })
}

func digest(s string) ident.Digest { return ident.SumDigest([]byte(s)) }

// assignments are those of one campaign.
func assignments(c ident.Campaign) kind[campaign.Assignment, ident.Device] {
	return kind[campaign.Assignment, ident.Device]{
		id: device,
		name: func(v *campaign.Assignment, d ident.Device) {
			v.Campaign, v.Device = c, d
			v.State = cmp.Or(v.State, campaign.Pending)
		},
		put: campaign.Tx.PutAssignment,
		get: func(r campaign.Reader, t ident.Tenant, d ident.Device) (campaign.Assignment, error) {
			return r.Assignment(t, c, d)
		},
		list: func(r campaign.Reader, t ident.Tenant, after ident.Device, limit int) ([]campaign.Assignment, error) {
			return r.Assignments(t, c, after, limit)
		},
	}
}

func testFloors(t *testing.T, open Open) {
	s := open(t)
	v1, v2 := uuid.UUID{1}, uuid.UUID{2}
	vs, err := variants(func(*campaign.Floor) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range vs {
		update(t, s, func(tx campaign.Tx) error { return tx.PutFloor(tenants[0], v1, v2, "00", want) })
		view(t, s, func(r campaign.Reader) error {
			got, err := r.Floor(tenants[0], v1, v2, "00")
			if d := compare(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			return err
		})
	}
	update(t, s, func(tx campaign.Tx) error {
		return tx.PutFloor(tenants[0], v1, v2, "00", campaign.Floor{Sequence: 7})
	})
	view(t, s, func(r campaign.Reader) error {
		for _, c := range []struct {
			tenant        ident.Tenant
			vendor, class uuid.UUID
			component     string
		}{
			{tenants[1], v1, v2, "00"},
			{tenants[0], v2, v1, "00"},
			{tenants[0], v1, v2, "0000"},
			{tenants[0], v1, v2, ""},
		} {
			if f, err := r.Floor(c.tenant, c.vendor, c.class, c.component); err != nil || f != (campaign.Floor{}) {
				t.Errorf("floor of %v: %v, %v, want zero", c, f, err)
			}
		}
		return nil
	})
}

// testRefused: a record without an identifier, or that no index can hold, is refused, and a function that goes on
// regardless commits nothing.
func testRefused(t *testing.T, open Open) {
	s := open(t)
	tn, c, d := tenants[0], campaignID("c"), device("d")
	var none ident.Tenant
	for name, put := range map[string]func(campaign.Tx) error{
		"tenant":     func(tx campaign.Tx) error { return tx.PutTenant(campaign.Tenant{}) },
		"credential": func(tx campaign.Tx) error { return tx.PutCredential(tn, campaign.Credential{}) },
		"anchor":     func(tx campaign.Tx) error { return tx.PutAnchor(tn, firmware.Anchor{}) },
		"payload":    func(tx campaign.Tx) error { return tx.PutPayload(tn, firmware.Payload{}) },
		"manifest":   func(tx campaign.Tx) error { return tx.PutManifest(tn, firmware.Manifest{}) },
		"floor":      func(tx campaign.Tx) error { return tx.PutFloor(none, uuid.Nil, uuid.Nil, "", campaign.Floor{}) },
		"device":     func(tx campaign.Tx) error { return tx.PutDevice(tn, campaign.Device{}) },
		"no tenant":  func(tx campaign.Tx) error { return tx.PutDevice(none, campaign.Device{ID: d}) },
		"work":       func(tx campaign.Tx) error { return tx.PutWork(tn, ident.Device{}, campaign.Work{}) },
		"campaign":   func(tx campaign.Tx) error { return tx.PutCampaign(tn, campaign.Campaign{}) },
		"reply":      func(tx campaign.Tx) error { return tx.PutReply(tn, ident.Name{}, "k", campaign.StoredReply{}) },
		"wave below 0": func(tx campaign.Tx) error {
			return tx.PutAssignment(tn, campaign.Assignment{Campaign: c, Device: d, State: campaign.Pending, Wave: -1})
		},
		"wave too high": func(tx campaign.Tx) error {
			return tx.PutAssignment(tn, campaign.Assignment{Campaign: c, Device: d, State: campaign.Pending, Wave: 1 << 16})
		},
		"no state": func(tx campaign.Tx) error {
			return tx.PutAssignment(tn, campaign.Assignment{Campaign: c, Device: d})
		},
	} {
		var inner error
		outer := s.Update(t.Context(), func(tx campaign.Tx) error {
			inner = errors.Join(tx.PutDevice(tn, campaign.Device{ID: device("with")}), put(tx))
			return nil
		})
		if inner == nil || outer == nil {
			t.Errorf("%s: put says %v, Update says %v", name, inner, outer)
		}
	}
	view(t, s, func(r campaign.Reader) error {
		if ds, err := r.Devices(tn, ident.Device{}, 10); err != nil || len(ds) != 0 {
			t.Errorf("committed with a refused record: %v, %v", ds, err)
		}
		return nil
	})
}

func testDeletePayload(t *testing.T, s campaign.Store) {
	gone, kept := firmware.Payload{Digest: digest("gone")}, firmware.Payload{Digest: digest("kept")}
	update(t, s, func(tx campaign.Tx) error {
		return errors.Join(tx.PutPayload(tenants[0], gone), tx.PutPayload(tenants[0], kept), tx.PutPayload(tenants[1], gone))
	})
	for range 2 { // the second finds nothing
		update(t, s, func(tx campaign.Tx) error {
			if err := tx.DeletePayload(tenants[0], gone.Digest); err != nil {
				return err
			}
			if _, err := tx.Payload(tenants[0], gone.Digest); !errors.Is(err, campaign.ErrNotFound) {
				t.Errorf("the transaction still reads it: %v", err)
			}
			return nil
		})
	}
	view(t, s, func(r campaign.Reader) error {
		list, err := r.Payloads(tenants[0], ident.Digest{}, 10)
		if len(list) != 1 || list[0].Digest != kept.Digest {
			t.Errorf("payloads %v, want %s alone", list, kept.Digest)
		}
		_, other := r.Payload(tenants[1], gone.Digest)
		return errors.Join(err, other)
	})
}
