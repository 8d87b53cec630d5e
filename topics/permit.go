package topics

import "fleetbridge/ident"

// PermitState is a word for whether a device may install.
type PermitState string

// The words of a permit. A device that does not know one waits.
const (
	PermitWaiting PermitState = "waiting" // not yet: the permit comes when it can
	PermitGranted PermitState = "granted" // install now
	PermitRefused PermitState = "refused" // forget the manifest: it is wanted no more
)

// Permit answers a device that asked to install. A granted one is good for ExpiresIn seconds from its arrival: a device
// that has not begun by then asks again.
type Permit struct {
	Manifest  ident.Digest `json:"manifest" cbor:"1,keyasint"`
	State     PermitState  `json:"state" cbor:"2,keyasint"`
	ExpiresIn uint32       `json:"expires_in,omitempty" cbor:"3,keyasint,omitempty"` // seconds
}

// Validate returns nil or FieldErrors. State may be a word that we don't know.
func (r Permit) Validate() error {
	var f faults
	f.digest(r.Manifest, "/manifest")
	f.check(r.State != "", "/state", "required")
	f.word(string(r.State), MaxStateWord, "/state")
	return f.err()
}

// DecodePermit reads and validates a permit. The error wraps ErrMalformed, or is FieldErrors.
func DecodePermit(b []byte) (Permit, Format, error) { return decodeValid[Permit](b, MaxReceiptBody) }

// PermitRule says that devices ask before they install, and how many may be under way at once.
type PermitRule struct {
	Required bool     `json:"required" cbor:"1,keyasint"`
	TTL      Duration `json:"ttl,omitempty" cbor:"2,keyasint,omitempty"`   // for which a permit is good, 10s to 24h (5m)
	Label    string   `json:"label,omitempty" cbor:"3,keyasint,omitempty"` // Max counts per value of it (over the whole campaign)
	Max      int      `json:"max,omitempty" cbor:"4,keyasint,omitempty"`   // devices between permit and proof (no cap)
}

func (f *faults) permit(r PermitRule) {
	f.span(r.TTL, "/policy/permit/ttl")
	f.text(r.Label, MaxLabel, "/policy/permit/label")
	f.check(r.Max >= 0, "/policy/permit/max", "from 1; absent: no cap")
}
