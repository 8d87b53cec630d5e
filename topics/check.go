package topics

// Commands about the server's own records.
type (
	// ServerCheck asks for the next part of a check: one campaign, some devices, the registry, or the manifests.
	ServerCheck struct {
		Cursor string `json:"cursor,omitempty" cbor:"1,keyasint,omitempty"`
	}
	// ServerChecked is what it found. Without Next the check is complete.
	ServerChecked struct {
		Campaigns   uint64   `json:"campaigns" cbor:"1,keyasint"`
		Assignments uint64   `json:"assignments" cbor:"2,keyasint"`
		Devices     uint64   `json:"devices" cbor:"3,keyasint"` // with something on their topic
		Faults      []string `json:"faults,omitempty" cbor:"4,keyasint,omitempty"`
		Next        string   `json:"next,omitempty" cbor:"5,keyasint,omitempty"`
		Registered  uint64   `json:"registered,omitempty" cbor:"60,keyasint,omitempty"` // devices
		Manifests   uint64   `json:"manifests,omitempty" cbor:"110,keyasint,omitempty"` // in the last part
	}
)

// Validate returns nil or FieldErrors.
func (r ServerCheck) Validate() error {
	var f faults
	f.text(r.Cursor, MaxCursor, "/cursor")
	return f.err()
}
