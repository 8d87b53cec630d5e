package topics

import (
	"github.com/google/uuid"

	"fleetbridge/ident"
)

// Word is a state that a device reports about itself. Words that we don't know are kept, counted, and change nothing.
type Word string

// The words of docs/topics, in the order in which an update normally passes them.
const (
	WordReceived    Word = "received"    // manifest persisted, not yet validated
	WordDeferred    Word = "deferred"    // the device or its user put it off
	WordDownloading Word = "downloading" // Progress says how far
	WordDownloaded  Word = "downloaded"  // whole payload there and its digest right
	WordInstalling  Word = "installing"
	WordRebooting   Word = "rebooting"
	WordInstalled   Word = "installed" // proof only with Installed naming the new digest
	WordFailed      Word = "failed"    // final; Reason says why
	WordRejected    Word = "rejected"  // final; the device refused the manifest before touching a payload
)

// Reason is why a device stands where it stands: the second axis. The list is closed for us, open on the wire.
type Reason string

// Reasons that a device may give.
const (
	ReasonSignatureInvalid    Reason = "signature-invalid"
	ReasonUnsupportedManifest Reason = "unsupported-manifest"
	ReasonWrongVendor         Reason = "wrong-vendor"
	ReasonWrongClass          Reason = "wrong-class"
	ReasonVersionNotNewer     Reason = "version-not-newer"
	ReasonPrecursorMismatch   Reason = "precursor-mismatch"
	ReasonNoSpace             Reason = "no-space"
	ReasonBatteryLow          Reason = "battery-low"
	ReasonUserDeclined        Reason = "user-declined"
	ReasonDownloadTimeout     Reason = "download-timeout"
	ReasonDigestMismatch      Reason = "digest-mismatch"
	ReasonFlashError          Reason = "flash-error"
	ReasonInstallError        Reason = "install-error"
	ReasonSelfTestFailed      Reason = "self-test-failed"
	ReasonRolledBack          Reason = "rolled-back"
)

// Installed is one component's image as the device measures it.
type Installed struct {
	// Component is the SUIT component identifier in text: its byte strings in hex, joined by slashes; "00" for [h'00'].
	Component string       `json:"component" cbor:"1,keyasint"`
	Digest    ident.Digest `json:"digest" cbor:"2,keyasint"`
	Sequence  uint64       `json:"sequence,omitempty" cbor:"3,keyasint,omitempty"`
	Version   string       `json:"version,omitempty" cbor:"4,keyasint,omitempty"`
}

// Hello is what a device says of itself after each connect.
type Hello struct {
	Seq       uint64            `json:"seq" cbor:"1,keyasint"`
	Vendor    uuid.UUID         `json:"vendor" cbor:"2,keyasint"`
	Class     uuid.UUID         `json:"class" cbor:"3,keyasint"`
	Installed []Installed       `json:"installed,omitempty" cbor:"4,keyasint,omitempty"`
	Boot      uint64            `json:"boot,omitempty" cbor:"5,keyasint,omitempty"`      // count of boots
	MaxChunk  uint32            `json:"max_chunk,omitempty" cbor:"6,keyasint,omitempty"` // bytes per chunk it can take
	Labels    map[string]string `json:"labels,omitempty" cbor:"7,keyasint,omitempty"`    // facts, never authority
	Algs      []int64           `json:"algs,omitempty" cbor:"8,keyasint,omitempty"`      // COSE algorithm ids it can verify
}

// Report is a device's acknowledgement on one manifest: cumulative state, never a delta. Seq rises strictly per device
// and survives its reboots.
type Report struct {
	Seq       uint64       `json:"seq" cbor:"1,keyasint"`
	Manifest  ident.Digest `json:"manifest" cbor:"2,keyasint"`
	State     Word         `json:"state" cbor:"3,keyasint"`
	Reason    Reason       `json:"reason,omitempty" cbor:"4,keyasint,omitempty"`
	Detail    string       `json:"detail,omitempty" cbor:"5,keyasint,omitempty"`
	Progress  uint64       `json:"progress,omitempty" cbor:"6,keyasint,omitempty"` // bytes of the payload stored
	Installed []Installed  `json:"installed,omitempty" cbor:"7,keyasint,omitempty"`
	Boot      uint64       `json:"boot,omitempty" cbor:"8,keyasint,omitempty"`
	Receipt   bool         `json:"receipt,omitempty" cbor:"9,keyasint,omitempty"` // asks for a receipt
	Permit    bool         `json:"permit,omitempty" cbor:"10,keyasint,omitempty"` // with downloaded: asks for a permit to install
}

// Verdict is what became of a report.
type Verdict string

// The verdicts of a receipt. Each says that the device need not send the report again.
const (
	VerdictRecorded  Verdict = "recorded"
	VerdictDuplicate Verdict = "duplicate"
	VerdictStale     Verdict = "stale"   // a later report of this device is already there
	VerdictUnknown   Verdict = "unknown" // no assignment of this device has that manifest
)

// Receipt is our word that a report is durable.
type Receipt struct {
	Seq     uint64  `json:"seq" cbor:"1,keyasint"`
	Verdict Verdict `json:"verdict" cbor:"2,keyasint"`
}

// Fetch asks for chunks of a payload: those of First … First+Count-1 whose bit in Bitmap is set (bit i of byte i/8,
// least significant first, counts from First; no bitmap means all).
type Fetch struct {
	Token  ident.Token  `json:"token" cbor:"1,keyasint"`
	Digest ident.Digest `json:"digest" cbor:"2,keyasint"`
	Size   uint32       `json:"size" cbor:"3,keyasint"` // bytes per chunk, MinChunk to MaxChunk
	First  uint32       `json:"first,omitempty" cbor:"4,keyasint,omitempty"`
	Count  uint32       `json:"count" cbor:"5,keyasint"` // 1 to MaxWindow
	Bitmap []byte       `json:"bitmap,omitempty" cbor:"6,keyasint,omitempty"`
}

// Bounds of a fetch.
const (
	MinChunk  = 128
	MaxChunk  = 256 << 10
	MaxWindow = 1024 // chunks named by one fetch
	// MaxFetch is the most bytes that one fetch may ask for: chunks wanted, times Size.
	MaxFetch = 4 << 20
)
