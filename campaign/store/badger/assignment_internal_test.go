package badger

import (
	"bytes"
	"math"
	"reflect"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func sampleAssignment(t testing.TB) campaign.Assignment {
	t.Helper()
	c, err := ident.ParseCampaign("spring")
	if err != nil {
		t.Fatal(err)
	}
	d, err := ident.ParseDevice("device-1")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_795_000_000, 12345).UTC()
	return campaign.Assignment{Campaign: c, Device: d, Manifest: ident.Digest{1}, Component: "00", Image: ident.Digest{2}, Wave: 300, Order: 1 << 63,
		State: campaign.Downloading, Reason: "battery-low", Detail: "at 3 %", Offers: 2, Retries: 1, NextOffer: at, Deadline: at.Add(time.Hour),
		Seq: 70000, Boot: 7, Bytes: 1 << 40, Reports: 25, Charged: true, Updated: at,
		Permit: campaign.Permit{State: campaign.PermitGranted, Value: "north", Until: at, Next: at, JSON: true, Asked: at},
		Path:   []campaign.PathStep{{State: campaign.Offered, At: at}, {State: "of a later version", Reason: "r", Seq: math.MaxUint64, At: at.Add(-time.Second)}, {State: campaign.Received}}}
}

// TestEncodeAssignment: the writer without reflection writes what the encoder writes, and what is read is what was put.
func TestEncodeAssignment(t *testing.T) {
	full := sampleAssignment(t)
	list := map[string]listedAssignment{"full": {full, full.Due()}, "listed early": {full, full.Deadline.Add(-time.Minute)}}
	none := listedAssignment{Assignment: campaign.Assignment{Campaign: full.Campaign, Device: full.Device, State: campaign.Pending}}
	list["least"] = none
	// Each member alone, so that none is left out when others are, nor counted when it is.
	for i := range reflect.TypeFor[campaign.Assignment]().NumField() {
		one := none.Assignment
		reflect.ValueOf(&one).Elem().Field(i).Set(reflect.ValueOf(full).Field(i))
		list[reflect.TypeFor[campaign.Assignment]().Field(i).Name] = listedAssignment{one, one.Due()}
	}
	before := none
	before.Updated, before.Wave, before.Offers = time.Unix(-1, 0), -1, 24
	list["negative numbers"] = before
	for name, a := range list {
		val := encodeAssignment(&a)
		var rec assignmentRecord
		if err := decode(val, &rec); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want, err := encode(rec); err != nil || !bytes.Equal(val, want) {
			t.Errorf("%s: wrote %x, the encoder %x (%v)", name, val, want, err)
		}
		got, err := decodeAs[listedRecord](val)
		if err != nil || !reflect.DeepEqual(got, a.asStored()) {
			t.Errorf("%s: read %+v, %v; put %+v", name, got, err, a.asStored())
		}
	}
}

// TestAssignmentOfBefore: a record of an earlier version, with its path as CBOR, is read, and stands where it is due.
func TestAssignmentOfBefore(t *testing.T) {
	a := sampleAssignment(t)
	var rec assignmentRecord
	if err := decode(encodeAssignment(&listedAssignment{a, a.Due()}), &rec); err != nil {
		t.Fatal(err)
	}
	rec.Steps = nil
	for _, s := range a.Path {
		rec.Path = append(rec.Path, stepRecord{string(s.State), s.Reason, s.Seq, stampOf(s.At)})
	}
	val, err := encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeAs[listedRecord](val)
	if err != nil || !reflect.DeepEqual(got.Assignment, a) || !got.listed.Equal(a.Due()) {
		t.Errorf("read %+v, %v", got, err)
	}
}

// TestStepsDamaged: a path that is cut, or has a code of a later version, is an error and never a panic.
func TestStepsDamaged(t *testing.T) {
	b := appendSteps(nil, sampleAssignment(t).Path)
	ends := map[int]bool{0: true}
	for i := range sampleAssignment(t).Path {
		ends[len(appendSteps(nil, sampleAssignment(t).Path[:i+1]))] = true
	}
	for i := range b {
		if _, err := parseSteps(b[:i]); (err == nil) != ends[i] {
			t.Errorf("cut after %d bytes: %v", i, err)
		}
	}
	if _, err := parseSteps([]byte{byte(len(stateCodes)), 0, 0, 0}); err == nil {
		t.Error("an unknown code was read")
	}
	if _, err := parseSteps([]byte("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")); err == nil {
		t.Error("a text longer than its record was read")
	}
}

// TestStateCodes: each state has its own, for ever.
func TestStateCodes(t *testing.T) {
	if len(stateCodes) != len(campaign.States)+1 {
		t.Errorf("%d codes for %d states", len(stateCodes)-1, len(campaign.States))
	}
	for i, want := range []campaign.State{"", "pending", "offered", "received", "downloading", "downloaded", "installing", "rebooting", "retrying",
		"confirmed", "skipped", "failed", "rejected", "silent", "withdrawn", "deregistered", "reverted"} {
		if stateCodes[i] != want {
			t.Errorf("code %d is %q, want %q", i, stateCodes[i], want)
		}
	}
}

func BenchmarkEncodeAssignment(b *testing.B) {
	a := sampleAssignment(b)
	l := listedAssignment{a, a.Due()}
	b.Run("written", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encodeAssignment(&l)
		}
	})
	var rec assignmentRecord
	if err := decode(encodeAssignment(&l), &rec); err != nil {
		b.Fatal(err)
	}
	b.Run("reflected", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := encode(rec); err != nil {
				b.Fatal(err)
			}
		}
	})
}
