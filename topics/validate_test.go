package topics_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

// sampleOf returns a valid message of type T from samples.
func sampleOf[T any](t *testing.T) T {
	t.Helper()
	for _, s := range samples() {
		if v, ok := s.value.(T); ok {
			return v
		}
	}
	t.Fatalf("no sample of %T", *new(T))
	return *new(T)
}

// spoil makes one thing wrong with a valid message and names the pointer that must say so.
type spoil[T any] struct {
	pointer string
	change  func(*T)
}

func checkSpoils[T topics.Validator](t *testing.T, good T, list []spoil[T]) {
	t.Helper()
	if err := good.Validate(); err != nil {
		t.Fatalf("%T: the good one is bad: %v", good, err)
	}
	for i, s := range list {
		bad := good
		s.change(&bad)
		var fe topics.FieldErrors
		if err := bad.Validate(); !errors.As(err, &fe) {
			t.Errorf("%T case %d (%s): got %v, want FieldErrors", good, i, s.pointer, err)
			continue
		}
		if fe[0].Pointer != s.pointer || fe[0].Detail == "" {
			t.Errorf("%T case %d: got %v, want %s", good, i, fe, s.pointer)
		}
	}
}

func manyLabels(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprint("l", i)] = "v"
	}
	return m
}

func TestValidateDeviceMessages(t *testing.T) {
	one := topics.Installed{Component: "00", Digest: sampleDigest}
	long := func(n int) string { return strings.Repeat("x", n) }
	checkSpoils(t, sampleOf[topics.Hello](t), []spoil[topics.Hello]{
		{"/seq", func(h *topics.Hello) { h.Seq = 0 }},
		{"/vendor", func(h *topics.Hello) { h.Vendor = [16]byte{} }},
		{"/class", func(h *topics.Hello) { h.Class = [16]byte{} }},
		{"/installed", func(h *topics.Hello) { h.Installed = make([]topics.Installed, topics.MaxInstalled+1) }},
		{"/installed/0", func(h *topics.Hello) { h.Installed = []topics.Installed{{Component: "00"}} }},
		{"/installed/0", func(h *topics.Hello) { h.Installed = []topics.Installed{{Digest: sampleDigest}} }},
		{"/installed/0", func(h *topics.Hello) { h.Installed = []topics.Installed{{Component: "0", Digest: sampleDigest}} }},
		{"/installed/0", func(h *topics.Hello) { h.Installed = []topics.Installed{{Component: "0G", Digest: sampleDigest}} }},
		{"/installed/0", func(h *topics.Hello) { h.Installed = []topics.Installed{{Component: "AB", Digest: sampleDigest}} }},
		{"/installed/0", func(h *topics.Hello) {
			h.Installed = []topics.Installed{{Component: "00", Digest: sampleDigest, Version: "1\n"}}
		}},
		{"/installed/1", func(h *topics.Hello) { h.Installed = []topics.Installed{one, one} }},
		{"/max_chunk", func(h *topics.Hello) { h.MaxChunk = topics.MinChunk - 1 }},
		{"/labels", func(h *topics.Hello) { h.Labels = manyLabels(topics.MaxLabels + 1) }},
		{"/labels", func(h *topics.Hello) { h.Labels = map[string]string{"": "x"} }},
		{"/labels", func(h *topics.Hello) { h.Labels = map[string]string{"a\x00": "x"} }},
		{"/labels", func(h *topics.Hello) { h.Labels = map[string]string{"a": long(65)} }},
		{"/algs", func(h *topics.Hello) { h.Algs = make([]int64, 17) }},
	})
	checkSpoils(t, sampleOf[topics.Report](t), []spoil[topics.Report]{
		{"/seq", func(r *topics.Report) { r.Seq = 0 }},
		{"/manifest", func(r *topics.Report) { r.Manifest = ident.Digest{} }},
		{"/state", func(r *topics.Report) { r.State = "" }},
		{"/state", func(r *topics.Report) { r.State = topics.Word(long(33)) }},
		{"/state", func(r *topics.Report) { r.State = "in stalled" }},
		{"/state", func(r *topics.Report) { r.State = "installé" }},
		{"/reason", func(r *topics.Report) { r.Reason = topics.Reason(long(65)) }},
		{"/reason", func(r *topics.Report) { r.Reason = "a\x1b[0m" }},
		{"/detail", func(r *topics.Report) { r.Detail = long(257) }},
		{"/detail", func(r *topics.Report) { r.Detail = "\xff" }},
		{"/installed/0", func(r *topics.Report) { r.Installed = make([]topics.Installed, 1) }},
	})
	checkSpoils(t, sampleOf[topics.Receipt](t), []spoil[topics.Receipt]{
		{"/seq", func(r *topics.Receipt) { r.Seq = 0 }},
		{"/verdict", func(r *topics.Receipt) { r.Verdict = "" }},
	})
	checkSpoils(t, sampleOf[topics.Fetch](t), []spoil[topics.Fetch]{
		{"/token", func(f *topics.Fetch) { f.Token = ident.Token{} }},
		{"/digest", func(f *topics.Fetch) { f.Digest = ident.Digest{} }},
		{"/size", func(f *topics.Fetch) { f.Size = topics.MinChunk - 1 }},
		{"/size", func(f *topics.Fetch) { f.Size = topics.MaxChunk + 1 }},
		{"/size", func(f *topics.Fetch) { f.Size = math.MaxUint32 }},
		{"/count", func(f *topics.Fetch) { f.Count, f.Bitmap = 0, nil }},
		{"/count", func(f *topics.Fetch) { f.Count = topics.MaxWindow + 1 }},
		{"/count", func(f *topics.Fetch) { f.Count = math.MaxUint32 }},
		{"/first", func(f *topics.Fetch) { f.First = math.MaxUint32 }},
		{"/bitmap", func(f *topics.Fetch) { f.Bitmap = []byte{1, 0} }},
		{"/bitmap", func(f *topics.Fetch) { f.Bitmap = []byte{0} }},
		{"/bitmap", func(f *topics.Fetch) { f.Count, f.Bitmap = 3, []byte{0b1111_1000} }},
	})
}

func TestFetchWants(t *testing.T) {
	f := topics.Fetch{Count: 10, Bitmap: []byte{0b1000_0001, 0b0000_0110}}
	var got []uint32
	for i := range uint32(2000) {
		if f.Wants(i) {
			got = append(got, i)
		}
	}
	if want := []uint32{0, 7, 9}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if all := (topics.Fetch{Count: 3}); !all.Wants(2) || all.Wants(3) {
		t.Error("no bitmap wants all of count, and no more")
	}
	if short := (topics.Fetch{Count: 100, Bitmap: []byte{0xff}}); short.Wants(50) {
		t.Error("a short bitmap wants more than it says")
	}
}

func TestValidateRequests(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	nan, above := math.NaN(), 100.5
	checkSpoils(t, topics.Page{}, []spoil[topics.Page]{
		{"/limit", func(p *topics.Page) { p.Limit = -1 }},
		{"/limit", func(p *topics.Page) { p.Limit = 501 }},
		{"/cursor", func(p *topics.Page) { p.Cursor = long(513) }},
	})
	checkSpoils(t, topics.CredentialList{}, []spoil[topics.CredentialList]{{"/limit", func(p *topics.CredentialList) { p.Limit = 501 }}})
	checkSpoils(t, topics.TenantAdd{Tenant: acme}, []spoil[topics.TenantAdd]{
		{"/tenant", func(r *topics.TenantAdd) { r.Tenant = ident.Tenant{} }},
		{"/tenant", func(r *topics.TenantAdd) { r.Tenant = ident.System }},
		{"/name", func(r *topics.TenantAdd) { r.Name = "\x07" }},
	})
	checkSpoils(t, sampleOf[topics.CredentialAdd](t), []spoil[topics.CredentialAdd]{
		{"/role", func(r *topics.CredentialAdd) { r.Role = "root" }},
		{"/names", func(r *topics.CredentialAdd) { r.Names = nil }},
		{"/names", func(r *topics.CredentialAdd) { r.Names = make([]ident.Name, 501) }},
		{"/names/0", func(r *topics.CredentialAdd) { r.Names = make([]ident.Name, 1) }},
		{"/names/1", func(r *topics.CredentialAdd) { r.Names = []ident.Name{op, op} }},
	})
	checkSpoils(t, topics.CredentialRevoke{Name: op}, []spoil[topics.CredentialRevoke]{{"/name", func(r *topics.CredentialRevoke) { r.Name = ident.Name{} }}})
	key := must(ident.ParseKey("k1"))
	checkSpoils(t, topics.TrustAdd{ID: key, Key: []byte{1}, Alg: "ESP256"}, []spoil[topics.TrustAdd]{
		{"/id", func(r *topics.TrustAdd) { r.ID = ident.Key{} }},
		{"/key", func(r *topics.TrustAdd) { r.Key = nil }},
		{"/key", func(r *topics.TrustAdd) { r.Key = make([]byte, 4097) }},
		{"/alg", func(r *topics.TrustAdd) { r.Alg = "none" }},
		{"/grants/vendors", func(r *topics.TrustAdd) { r.Grants.Vendors = make([]uuid.UUID, 65) }},
		{"/grants/classes", func(r *topics.TrustAdd) { r.Grants.Classes = make([]uuid.UUID, 65) }},
		{"/grants/components", func(r *topics.TrustAdd) { r.Grants.Components = make([]string, 65) }},
		{"/grants/components/0", func(r *topics.TrustAdd) { r.Grants.Components = []string{"0"} }},
		{"/grants/components/1", func(r *topics.TrustAdd) { r.Grants.Components = []string{"00/01", "AA"} }},
		{"/grants/uses/0", func(r *topics.TrustAdd) { r.Grants.Uses = []string{"all"} }},
		{"/grants/uses", func(r *topics.TrustAdd) { r.Grants.Uses = slices.Repeat([]string{"image"}, 6) }},
		{"/grants/not_after", func(r *topics.TrustAdd) { r.Grants.NotBefore, r.Grants.NotAfter = time.Unix(2, 0), time.Unix(1, 0) }},
	})
	checkSpoils(t, topics.TrustGet{ID: key}, []spoil[topics.TrustGet]{{"/id", func(r *topics.TrustGet) { r.ID = ident.Key{} }}})
	checkSpoils(t, topics.TrustRevoke{ID: key}, []spoil[topics.TrustRevoke]{{"/id", func(r *topics.TrustRevoke) { r.ID = ident.Key{} }}})
	checkSpoils(t, topics.PayloadBegin{Digest: sampleDigest, Size: 1}, []spoil[topics.PayloadBegin]{
		{"/digest", func(r *topics.PayloadBegin) { r.Digest = ident.Digest{} }},
		{"/size", func(r *topics.PayloadBegin) { r.Size = 0 }},
		{"/size", func(r *topics.PayloadBegin) { r.Size = -1 }},
		{"/name", func(r *topics.PayloadBegin) { r.Name = long(129) }},
	})
	checkSpoils(t, sampleOf[topics.PayloadAppend](t), []spoil[topics.PayloadAppend]{
		{"/digest", func(r *topics.PayloadAppend) { r.Digest = ident.Digest{} }},
		{"/offset", func(r *topics.PayloadAppend) { r.Offset = -1 }},
		{"/data", func(r *topics.PayloadAppend) { r.Data = nil }},
		{"/data", func(r *topics.PayloadAppend) { r.Data = make([]byte, topics.MaxAppend+1) }},
	})
	checkSpoils(t, topics.PayloadCommit{Digest: sampleDigest}, []spoil[topics.PayloadCommit]{{"/digest", func(r *topics.PayloadCommit) { r.Digest = ident.Digest{} }}})
	checkSpoils(t, topics.ManifestCreate{Envelope: []byte{1}}, []spoil[topics.ManifestCreate]{
		{"/envelope", func(r *topics.ManifestCreate) { r.Envelope = nil }},
	})
	checkSpoils(t, topics.ManifestGet{Digest: sampleDigest}, []spoil[topics.ManifestGet]{{"/digest", func(r *topics.ManifestGet) { r.Digest = ident.Digest{} }}})
	checkSpoils(t, sampleOf[topics.DeviceAdd](t), []spoil[topics.DeviceAdd]{
		{"/device", func(r *topics.DeviceAdd) { r.Device = ident.Device{} }},
		{"/labels", func(r *topics.DeviceAdd) { r.Labels = manyLabels(17) }},
	})
	checkSpoils(t, topics.DeviceGet{Device: dev1}, []spoil[topics.DeviceGet]{{"/device", func(r *topics.DeviceGet) { r.Device = ident.Device{} }}})
	checkSpoils(t, sampleOf[topics.CampaignRef](t), []spoil[topics.CampaignRef]{
		{"/campaign", func(r *topics.CampaignRef) { r.Campaign = ident.Campaign{} }},
		{"/reason", func(r *topics.CampaignRef) { r.Reason = long(257) }},
	})
	checkSpoils(t, sampleOf[topics.CampaignUpdate](t), []spoil[topics.CampaignUpdate]{
		{"/campaign", func(r *topics.CampaignUpdate) { r.Campaign = ident.Campaign{} }},
		{"/description", func(r *topics.CampaignUpdate) { text := long(1025); r.Description = &text }},
		{"/selection/labels", func(r *topics.CampaignUpdate) { r.Selection = &topics.Selection{Labels: manyLabels(17)} }},
		{"/policy/in_flight", func(r *topics.CampaignUpdate) { r.Policy = &topics.Policy{InFlight: -1} }},
	})
	checkSpoils(t, topics.CampaignDevices{Campaign: c1}, []spoil[topics.CampaignDevices]{
		{"/campaign", func(r *topics.CampaignDevices) { r.Campaign = ident.Campaign{} }},
		{"/limit", func(r *topics.CampaignDevices) { r.Limit = 501 }},
		{"/state", func(r *topics.CampaignDevices) { r.State = "a b" }},
	})
	checkSpoils(t, sampleOf[topics.CampaignCreate](t), []spoil[topics.CampaignCreate]{
		{"/campaign", func(r *topics.CampaignCreate) { r.Campaign = ident.Campaign{} }},
		{"/description", func(r *topics.CampaignCreate) { r.Description = long(1025) }},
		{"/manifest", func(r *topics.CampaignCreate) { r.Manifest = ident.Digest{} }},
		{"/selection", func(r *topics.CampaignCreate) { r.Selection.Devices = []ident.Device{dev1} }},
		{"/selection/devices/1", func(r *topics.CampaignCreate) { r.Selection = topics.Selection{Devices: []ident.Device{dev1, dev1}} }},
		{"/selection", func(r *topics.CampaignCreate) {
			r.Selection = topics.Selection{Devices: []ident.Device{dev1}, Filter: "true"}
		}},
		{"/selection/filter", func(r *topics.CampaignCreate) { r.Selection.Filter = strings.Repeat("x", 4097) }},
		{"/selection/labels", func(r *topics.CampaignCreate) { r.Selection = topics.Selection{Labels: manyLabels(17)} }},
		{"/policy/waves", func(r *topics.CampaignCreate) {
			r.Policy.Waves = slices.Repeat([]topics.Wave{{Count: 1}}, topics.MaxWaves+1)
		}},
		{"/policy/waves/0", func(r *topics.CampaignCreate) { r.Policy.Waves = []topics.Wave{{}} }},
		{"/policy/waves/0", func(r *topics.CampaignCreate) { r.Policy.Waves = []topics.Wave{{Percent: 5, Count: 5}} }},
		{"/policy/waves/0", func(r *topics.CampaignCreate) { r.Policy.Waves = []topics.Wave{{Percent: above}} }},
		{"/policy/waves/0", func(r *topics.CampaignCreate) { r.Policy.Waves = []topics.Wave{{Percent: nan}} }},
		{"/policy/waves/0", func(r *topics.CampaignCreate) { r.Policy.Waves = []topics.Wave{{Count: -1}} }},
		{"/policy/in_flight", func(r *topics.CampaignCreate) { r.Policy.InFlight = -1 }},
		{"/policy/min_sample", func(r *topics.CampaignCreate) { r.Policy.MinSample = -1 }},
		{"/policy/success_percent", func(r *topics.CampaignCreate) { r.Policy.SuccessPercent = &nan }},
		{"/policy/failure_percent", func(r *topics.CampaignCreate) { r.Policy.FailurePercent = &above }},
		{"/policy/silent_percent", func(r *topics.CampaignCreate) { r.Policy.SilentPercent = &above }},
		{"/policy/within", func(r *topics.CampaignCreate) { r.Policy.Within = topics.Duration(topics.MaxWithin + time.Second) }},
		{"/policy/deadlines/rebooting", func(r *topics.CampaignCreate) { r.Policy.Deadlines.Rebooting = -1 }},
	})
}

func TestFaultsAreBounded(t *testing.T) {
	h := sampleOf[topics.Hello](t)
	h.Installed = make([]topics.Installed, topics.MaxInstalled)
	h.Seq, h.MaxChunk = 0, 1
	var fe topics.FieldErrors
	if err := h.Validate(); !errors.As(err, &fe) || len(fe) != 16 {
		t.Errorf("got %d faults: %v", len(fe), err)
	}
}

func TestDecodeRequest(t *testing.T) {
	var p topics.Page
	if f, err := topics.DecodeRequest(nil, &p); err != nil || f != topics.JSON {
		t.Errorf("an empty body is an empty object: %v, %v", f, err)
	}
	var fe topics.FieldErrors
	if _, err := topics.DecodeRequest([]byte(`{"limit":501}`), &p); !errors.As(err, &fe) || errors.Is(err, topics.ErrMalformed) {
		t.Errorf("got %v, want FieldErrors", err)
	}
	if _, err := topics.DecodeRequest([]byte(`{"limit":"x"}`), &p); !errors.Is(err, topics.ErrMalformed) {
		t.Errorf("got %v, want ErrMalformed", err)
	}
	var r topics.CampaignRef
	if _, err := topics.DecodeRequest([]byte{0xa1, 1, 0x61, 'c'}, &r); err != nil || r.Campaign.String() != "c" {
		t.Errorf("got %+v, %v", r, err)
	}
}

// TestRegistry holds the registry to itself: unique, with roles, a summary.
func TestRegistry(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range topics.Commands {
		name := c.Noun + "/" + c.Verb
		if seen[name] || len(c.Roles) == 0 || c.Summary == "" || c.Request == nil || c.Reply == nil {
			t.Errorf("row %s: %+v", name, c)
		}
		seen[name] = true
		if got, ok := topics.LookupCommand(c.Noun, c.Verb); !ok || got.Summary != c.Summary {
			t.Errorf("lookup of %s: %+v, %v", name, got, ok)
		}
		if _, err := topics.Parse(topics.CommandTopic(acme, c.Noun, c.Verb)); err != nil {
			t.Error(err)
		}
		if c.Mutates && slices.Contains(c.Roles, topics.RoleViewer) {
			t.Errorf("%s: a viewer changes something", name)
		}
		if slices.Contains(c.Roles, topics.RoleDevice) {
			t.Errorf("%s: a device may send it", name)
		}
		if reflect.TypeOf(c.Request).Kind() != reflect.Struct {
			t.Errorf("%s: request is %T", name, c.Request)
		}
	}
	if _, ok := topics.LookupCommand("no", "such"); ok {
		t.Error("no/such is registered")
	}
}

func TestRolesAndWords(t *testing.T) {
	for _, r := range []topics.Role{topics.RoleDevice, topics.RoleOperator, topics.RoleViewer, topics.RoleAdmin} {
		if got, err := topics.ParseRole(string(r)); err != nil || got != r {
			t.Errorf("ParseRole(%q) = %q, %v", r, got, err)
		}
	}
	for _, s := range []string{"", "Device", "root"} {
		if _, err := topics.ParseRole(s); !errors.Is(err, topics.ErrUnknownRole) {
			t.Errorf("ParseRole(%q): %v", s, err)
		}
	}
	if p := principal("acme", topics.RoleDevice, "d1"); p.String() != "acme/device/d1" || p.IsZero() || !(topics.Principal{}).IsZero() {
		t.Errorf("principal %s", p)
	}
	var d topics.Duration
	for _, s := range []string{"-1s", "1", "", "1e9h"} {
		if err := d.UnmarshalText([]byte(s)); err == nil {
			t.Errorf("duration %q parsed as %v", s, d)
		}
	}
}
