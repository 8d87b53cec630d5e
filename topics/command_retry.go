package topics

import (
	"time"

	"fleetbridge/ident"
)

// What failures mean.
type (
	// Retry says which failures are tried again: those with one of Reasons (download-timeout, battery-low), at most Max times
	// per device, After (5m) and up to half of it more after the failure. A rejection is never tried again.
	Retry struct {
		Max     int      `json:"max" cbor:"1,keyasint"` // 0 to 10
		Reasons []Reason `json:"reasons,omitempty" cbor:"2,keyasint,omitempty"`
		After   Duration `json:"after,omitempty" cbor:"3,keyasint,omitempty"`
	} // FailureView is a payload that failed on a device, and how often. A proof of it ends the count.
	FailureView struct {
		Payload ident.Digest `json:"payload" cbor:"1,keyasint"`
		Count   int          `json:"count" cbor:"2,keyasint"`
		Last    time.Time    `json:"last" cbor:"3,keyasint"`
	}
	// DeviceClear forgets that Payload failed on devices, or that any did, so that it may be offered there again: on the one
	// named, on those listed (at most 100), or on those that pass the filter, at most Limit of them (100, the default) after
	// Cursor.
	DeviceClear struct {
		Page
		Device  ident.Device   `json:"device,omitzero" cbor:"1,keyasint,omitzero"`
		Payload ident.Digest   `json:"payload,omitzero" cbor:"2,keyasint,omitzero"`
		Devices []ident.Device `json:"devices,omitempty" cbor:"60,keyasint,omitempty"`
		Filter  string         `json:"filter,omitempty" cbor:"61,keyasint,omitempty"`
	}
	// DeviceCleared says what came of it. Next is the cursor of the next part of a filter's devices; absent: all are done.
	DeviceCleared struct {
		Matched int    `json:"matched" cbor:"1,keyasint"`
		Cleared int    `json:"cleared" cbor:"2,keyasint"` // that had failures to forget
		Next    string `json:"next,omitempty" cbor:"3,keyasint,omitempty"`
	}
	// SelectionFrom selects the devices that stand in one of States in a campaign when the new one freezes its devices.
	SelectionFrom struct {
		Campaign ident.Campaign `json:"campaign" cbor:"1,keyasint"`
		States   []string       `json:"states" cbor:"2,keyasint"` // failed, rejected, silent, withdrawn, reverted
	}
	// CampaignRetry makes the draft New of the devices that stand in one of States (failed) in a campaign. Up to 10,000 are
	// listed in it; more are selected by reference. What is absent is the campaign's own, but for a start and an end time.
	CampaignRetry struct {
		Campaign    ident.Campaign `json:"campaign" cbor:"1,keyasint"`
		New         ident.Campaign `json:"new" cbor:"2,keyasint"`
		States      []string       `json:"states,omitempty" cbor:"3,keyasint,omitempty"`
		Manifest    ident.Digest   `json:"manifest,omitzero" cbor:"4,keyasint,omitzero"`
		Policy      *Policy        `json:"policy,omitempty" cbor:"5,keyasint,omitempty"`
		Description string         `json:"description,omitempty" cbor:"6,keyasint,omitempty"`
	}
)
