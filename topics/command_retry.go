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
	} // DeviceClear forgets that Payload failed on the device, or that any did, so that it may be offered there again.
	DeviceClear struct {
		Device  ident.Device `json:"device" cbor:"1,keyasint"`
		Payload ident.Digest `json:"payload,omitzero" cbor:"2,keyasint,omitzero"`
	}
)
