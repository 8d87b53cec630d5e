package topics

import (
	"fmt"

	"fleetbridge/ident"
)

// Bounds of what operators set on devices.
const (
	MaxGroups   = 16  // of a device
	MaxLabelled = 100 // devices of one device/label, or device/clear
)

// Commands that ask the registry, and label it.
type (
	// DeviceList lists devices, all or those that pass the filter. A page may be shorter than its limit, or empty, before
	// the last: one call looks at a bounded part of the registry.
	DeviceList struct {
		Page
		Filter string `json:"filter,omitempty" cbor:"13,keyasint,omitempty"`
	}
	// DeviceLabel changes labels and groups of the devices named (at most 100), or of those that pass the filter: at most
	// Limit of them (100, the default) after Cursor. What is set and unset is set.
	DeviceLabel struct {
		Page
		Devices []ident.Device    `json:"devices,omitempty" cbor:"1,keyasint,omitempty"`
		Filter  string            `json:"filter,omitempty" cbor:"2,keyasint,omitempty"`
		Set     map[string]string `json:"set,omitempty" cbor:"3,keyasint,omitempty"`
		Unset   []string          `json:"unset,omitempty" cbor:"4,keyasint,omitempty"`
		Join    []string          `json:"join,omitempty" cbor:"5,keyasint,omitempty"` // groups
		Leave   []string          `json:"leave,omitempty" cbor:"6,keyasint,omitempty"`
	}
	// DeviceLabelled says what came of it. Next is the cursor of the next part of a filter's devices; absent: all are done.
	DeviceLabelled struct {
		Matched int    `json:"matched" cbor:"1,keyasint"`
		Changed int    `json:"changed" cbor:"2,keyasint"`
		Next    string `json:"next,omitempty" cbor:"3,keyasint,omitempty"`
	}
	// SelectorTest asks what a filter selects of all devices, or of those that a manifest is for.
	SelectorTest struct {
		Filter   string       `json:"filter" cbor:"1,keyasint"`
		Limit    int          `json:"limit,omitempty" cbor:"2,keyasint,omitempty"` // devices to show, at most 100 (10)
		Manifest ident.Digest `json:"manifest,omitzero" cbor:"3,keyasint,omitzero"`
	}
	// SelectorTested is what it selects. Unjudged devices are not selected because the filter failed on them.
	SelectorTested struct {
		Total       uint64       `json:"total" cbor:"1,keyasint"`
		Matched     uint64       `json:"matched" cbor:"2,keyasint"`
		Sample      []DeviceView `json:"sample,omitempty" cbor:"3,keyasint,omitempty"`
		Unjudged    uint64       `json:"unjudged,omitempty" cbor:"4,keyasint,omitempty"`
		Unjudgeable string       `json:"unjudgeable,omitempty" cbor:"5,keyasint,omitempty"` // why, for the first
		Near        []NearView   `json:"near,omitempty" cbor:"6,keyasint,omitempty"`        // if nothing matched
	}
	// NearView is a value that a filter compares a field with and that no device has, and the nearest that devices have.
	NearView struct {
		Field string   `json:"field" cbor:"1,keyasint"`
		Value string   `json:"value" cbor:"2,keyasint"`
		Have  []string `json:"have,omitempty" cbor:"3,keyasint,omitempty"`
	}
)

// maxSample bounds SelectorTest.Limit.
const maxSample = 100

// Validate returns nil or FieldErrors.
func (r DeviceList) Validate() error {
	var f faults
	f.page(r.Page)
	f.filter(r.Filter, "/filter")
	return f.err()
}

// Validate returns nil or FieldErrors.
func (r DeviceLabel) Validate() error {
	var f faults
	f.page(r.Page)
	f.check(r.Limit <= MaxLabelled, "/limit", "from 1 to 100")
	f.check((len(r.Devices) > 0) != (r.Filter != ""), "/devices", "devices or a filter, one of them")
	f.check(len(r.Devices) <= MaxLabelled, "/devices", "at most 100")
	unique(&f, r.Devices, "/devices")
	f.filter(r.Filter, "/filter")
	f.check(len(r.Set)+len(r.Unset)+len(r.Join)+len(r.Leave) > 0, "", "nothing to change: set, unset, join or leave")
	f.labels(r.Set, "/set")
	f.names(r.Unset, MaxLabels, "/unset")
	f.names(r.Join, MaxGroups, "/join")
	f.names(r.Leave, MaxGroups, "/leave")
	return f.err()
}

// names holds a list to names of labels or groups.
func (f *faults) names(list []string, n int, pointer string) {
	f.check(len(list) <= n, pointer, fmt.Sprintf("at most %d", n))
	for i, s := range list {
		at := fmt.Sprintf("%s/%d", pointer, i)
		f.check(s != "", at, "a name is wanted")
		f.text(s, MaxLabel, at)
	}
}

// Validate returns nil or FieldErrors.
func (r SelectorTest) Validate() error {
	var f faults
	f.check(r.Filter != "", "/filter", "required")
	f.filter(r.Filter, "/filter")
	f.check(r.Limit >= 0 && r.Limit <= maxSample, "/limit", "from 1 to 100")
	return f.err()
}
