package topics

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"fleetbridge/ident"
)

// Bounds of requests; lengths are in bytes.
const (
	MaxPage        = 500 // items of a list
	MaxCursor      = 512
	MaxCredentials = 500 // of one credential/add
	MaxAppend      = 128 << 10
	MaxEnvelope    = 64 << 10
	MaxKey         = 4 << 10
	MaxDevices     = 10_000 // named by one selection
	MaxWaves       = 32
	MaxFilter      = 4 << 10
	MaxWithin      = 90 * 24 * time.Hour // of a campaign, and of each deadline
)

// Validate returns nil: there is nothing to check.
func (None) Validate() error { return nil }

// Validate returns nil or FieldErrors.
func (p Page) Validate() error {
	var f faults
	f.page(p)
	return f.err()
}

func (f *faults) page(p Page) {
	f.check(p.Limit >= 0 && p.Limit <= MaxPage, "/limit", "from 1 to 500")
	f.text(p.Cursor, MaxCursor, "/cursor")
}

// Validate returns nil or FieldErrors.
func (r TenantAdd) Validate() error {
	var f faults
	f.check(!r.Tenant.IsZero(), "/tenant", "required")
	f.check(r.Tenant != ident.System, "/tenant", "system is the platform's own")
	f.text(r.Name, MaxName, "/name")
	return f.err()
}

// Validate returns nil or FieldErrors. Which roles a sender may give away is for who knows the sender.
func (r CredentialAdd) Validate() error {
	var f faults
	_, err := ParseRole(string(r.Role))
	f.check(err == nil, "/role", "one of device, operator, viewer, admin")
	f.check(len(r.Names) >= 1 && len(r.Names) <= MaxCredentials, "/names", "from 1 to 500")
	unique(&f, r.Names, "/names")
	return f.err()
}

// unique holds a list to identifiers that are there, and there once.
func unique[T interface {
	comparable
	IsZero() bool
}](f *faults, list []T, pointer string) {
	if len(list) == 0 {
		return
	}
	seen := make(map[T]bool, len(list))
	for i, v := range list {
		if v.IsZero() || seen[v] {
			f.check(false, fmt.Sprintf("%s/%d", pointer, i), "empty, or named twice")
			return
		}
		seen[v] = true
	}
}

// Validate returns nil or FieldErrors.
func (r CredentialList) Validate() error { return r.Page.Validate() }

// Validate returns nil or FieldErrors.
func (r CredentialRevoke) Validate() error {
	var f faults
	f.check(!r.Name.IsZero(), "/name", "required")
	return f.err()
}

// grantUses are the words of Grants.Uses; firmware has the same.
var grantUses = []string{"image", "delta", "encrypted", "integrated", "https"}

// maxGrants bounds each list of Grants, in entries; maxComponent a component in hex, in bytes.
const (
	maxGrants    = 64
	maxComponent = 330
)

// component is what a component's name in hex looks like: byte strings, joined by slashes.
var component = regexp.MustCompile(`^([0-9a-f]{2})*(/([0-9a-f]{2})*)*$`)

func (g Grants) validate(f *faults, pointer string) {
	f.check(len(g.Vendors) <= maxGrants, pointer+"/vendors", "at most 64")
	f.check(len(g.Classes) <= maxGrants, pointer+"/classes", "at most 64")
	f.check(len(g.Components) <= maxGrants, pointer+"/components", "at most 64")
	for i, c := range g.Components {
		f.check(len(c) <= maxComponent && component.MatchString(c), fmt.Sprintf("%s/components/%d", pointer, i),
			"the byte strings of an identifier in lower-case hex, joined by slashes, such as 00 or 6170/01")
	}
	f.check(len(g.Uses) <= len(grantUses), pointer+"/uses", "each at most once")
	for i, u := range g.Uses {
		f.check(slices.Contains(grantUses, u), fmt.Sprintf("%s/uses/%d", pointer, i), "one of "+strings.Join(grantUses, ", "))
	}
	f.check(g.NotAfter.IsZero() || g.NotBefore.Before(g.NotAfter), pointer+"/not_after", "later than not_before")
}

// Validate returns nil or FieldErrors.
func (r TrustGet) Validate() error {
	var f faults
	f.check(!r.ID.IsZero(), "/id", "required")
	return f.err()
}

// Validate returns nil or FieldErrors. Whether Key holds a key is for who can parse it.
func (r TrustAdd) Validate() error {
	var f faults
	f.check(!r.ID.IsZero(), "/id", "required")
	f.check(len(r.Key) >= 1 && len(r.Key) <= MaxKey, "/key", "from 1 to 4096 bytes")
	switch r.Alg {
	case "", "ES256", "ESP256", "EdDSA", "Ed25519":
	default:
		f.check(false, "/alg", "one of ES256, ESP256, EdDSA, Ed25519")
	}
	r.Grants.validate(&f, "/grants")
	return f.err()
}

// Validate returns nil or FieldErrors.
func (r TrustRevoke) Validate() error {
	var f faults
	f.check(!r.ID.IsZero(), "/id", "required")
	return f.err()
}

func (f *faults) digest(d ident.Digest, pointer string) { f.check(!d.IsZero(), pointer, "required") }

// Validate returns nil or FieldErrors. Whether Envelope is a manifest is for who can verify it.
func (r ManifestCreate) Validate() error {
	var f faults
	f.check(len(r.Envelope) >= 1, "/envelope", "required")
	return f.err()
}

// Validate returns nil or FieldErrors.
func (r ManifestGet) Validate() error {
	var f faults
	f.digest(r.Digest, "/digest")
	return f.err()
}

// Validate returns nil or FieldErrors.
func (r ManifestDelete) Validate() error {
	var f faults
	f.digest(r.Digest, "/digest")
	return f.err()
}

// Validate returns nil or FieldErrors.
func (r DeviceAdd) Validate() error {
	var f faults
	f.check(!r.Device.IsZero(), "/device", "required")
	f.labels(r.Labels, "/labels")
	return f.err()
}

// Validate returns nil or FieldErrors.
func (r DeviceGet) Validate() error {
	var f faults
	f.check(!r.Device.IsZero(), "/device", "required")
	return f.err()
}

// Validate returns nil or FieldErrors. What a policy means is the domain's rule; here are the bounds of its members.
func (r CampaignCreate) Validate() error {
	var f faults
	f.check(!r.Campaign.IsZero(), "/campaign", "required")
	f.text(r.Description, MaxDescription, "/description")
	f.digest(r.Manifest, "/manifest")
	f.selection(r.Selection)
	f.policy(r.Policy)
	return f.err()
}

// Validate returns nil or FieldErrors.
func (r CampaignUpdate) Validate() error {
	var f faults
	f.check(!r.Campaign.IsZero(), "/campaign", "required")
	if r.Description != nil {
		f.text(*r.Description, MaxDescription, "/description")
	}
	if r.Selection != nil {
		f.selection(*r.Selection)
	}
	if r.Policy != nil {
		f.policy(*r.Policy)
	}
	return f.err()
}

func (f *faults) selection(s Selection) {
	f.check(len(s.Devices) <= MaxDevices, "/selection/devices", "at most 10000")
	f.check(len(s.Devices) == 0 || len(s.Labels) == 0 && s.Filter == "", "/selection", "devices, or labels and a filter, not both")
	f.filter(s.Filter, "/selection/filter")
	f.from(s)
	unique(f, s.Devices, "/selection/devices")
	f.labels(s.Labels, "/selection/labels")
}

// filter holds a filter to its size. Whether it is one is for who can compile it.
func (f *faults) filter(s, pointer string) {
	f.check(len(s) <= MaxFilter && utf8.ValidString(s), pointer, "at most 4096 bytes of text")
}

func (f *faults) policy(p Policy) {
	f.check(len(p.Waves) <= MaxWaves, "/policy/waves", "at most 32")
	for i, w := range p.Waves {
		f.wave(w, fmt.Sprintf("/policy/waves/%d", i))
	}
	f.check(p.InFlight >= 0, "/policy/in_flight", "from 1; absent: no cap")
	f.check(p.MinSample >= 0, "/policy/min_sample", "from 1; absent: 20")
	f.percent(p.SuccessPercent, "/policy/success_percent")
	f.percent(p.FailurePercent, "/policy/failure_percent")
	f.percent(p.SilentPercent, "/policy/silent_percent")
	f.span(p.Within, "/policy/within")
	f.rollout(p)
	f.word(p.Stratify, MaxLabel, "/policy/stratify")
	f.retry(p)
	f.span(p.Deadlines.Offered, "/policy/deadlines/offered")
	f.span(p.Deadlines.Received, "/policy/deadlines/received")
	f.span(p.Deadlines.Downloading, "/policy/deadlines/downloading")
	f.span(p.Deadlines.Downloaded, "/policy/deadlines/downloaded")
	f.span(p.Deadlines.Installing, "/policy/deadlines/installing")
	f.span(p.Deadlines.Rebooting, "/policy/deadlines/rebooting")
}

// isPercent is false for NaN too.
func isPercent(v float64) bool { return v >= 0 && v <= 100 }

func (f *faults) percent(v *float64, pointer string) {
	f.check(v == nil || isPercent(*v), pointer, "from 0 to 100")
}

func (f *faults) span(d Duration, pointer string) {
	f.check(d >= 0 && time.Duration(d) <= MaxWithin, pointer, "at most 2160h")
}

// Validate returns nil or FieldErrors.
func (r CampaignRef) Validate() error {
	var f faults
	f.check(!r.Campaign.IsZero(), "/campaign", "required")
	f.text(r.Reason, MaxDetail, "/reason")
	return f.err()
}

// Validate returns nil or FieldErrors.
func (r CampaignDevices) Validate() error {
	var f faults
	f.page(r.Page)
	f.check(!r.Campaign.IsZero(), "/campaign", "required")
	f.word(r.State, MaxStateWord, "/state")
	return f.err()
}
