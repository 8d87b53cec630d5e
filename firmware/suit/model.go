package suit

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/google/uuid"

	"fleetbridge/ident"
)

// Envelope is a decoded envelope. Its digests have been checked, its signature blocks have not.
type Envelope struct {
	Digest   ident.Digest // of the manifest; the one that the blocks sign
	Blocks   [][]byte     // COSE messages
	Manifest Manifest
	Payloads []IntegratedPayload
}

// IntegratedPayload is a payload inside the envelope; a fetch of the URI Name gets it.
type IntegratedPayload struct {
	Name  string
	Bytes []byte
}

// Manifest is section 8.4's SUIT_Manifest. A sequence that isn't there is nil.
type Manifest struct {
	Sequence     uint64
	ReferenceURI string
	SetVersion   []int64
	Components   []ComponentID
	Shared       Sequence
	Validate     Sequence
	Load         Sequence
	Invoke       Sequence
	Fetch        Sequence
	Install      Sequence
	Text         []Language
	Severed      []Member // those that the manifest holds as a digest
	Absent       []Member // those of Severed that the envelope doesn't carry; their fields are nil
}

// ComponentID identifies a component of the device.
type ComponentID [][]byte

// String returns the byte strings in hex, joined by slashes: "00" for [h'00'].
func (c ComponentID) String() string {
	parts := make([]string, len(c))
	for i, p := range c {
		parts[i] = hex.EncodeToString(p)
	}
	return strings.Join(parts, "/")
}

// Equal reports whether c and o are the same component.
func (c ComponentID) Equal(o ComponentID) bool { return slices.EqualFunc(c, o, bytes.Equal) }

// Sequence is a command sequence.
type Sequence []Command

// Command is a condition or a directive with its argument; which of the fields is used depends on Op.
type Command struct {
	Op         Op
	Policy     uint8 // reporting policy: bits 0 to 3
	Parameters []Parameter
	All        bool       // set-component-index: every component
	Indexes    []int      // set-component-index: these
	Cases      []Sequence // try-each: in order; run-sequence: exactly one
	Otherwise  bool       // try-each: ends with null, so that no case need succeed
}

// Parameter is a parameter with its value, in the field that its ParameterID calls for.
type Parameter struct {
	ID      ParameterID
	UUID    uuid.UUID
	Digest  ident.Digest
	Uint    uint64 // a flag is 0 or 1
	Int     int64
	Bytes   []byte
	Text    string
	Version Version
}

// Version is the value of the version parameter.
type Version struct {
	Comparison uint64 // 1 greater, 2 greater or equal, 3 equal, 4 lesser or equal, 5 lesser
	Numbers    []int64
}

// Language is the text of a manifest in one language.
type Language struct {
	Tag        string // RFC 5646
	Notes      []Note
	Components []ComponentNotes
}

// ComponentNotes is the text on one component.
type ComponentNotes struct {
	Component ComponentID
	Notes     []Note
}

// Note is one piece of text, for people only: nothing may depend on what it says.
type Note struct {
	Key  uint64
	Text string
}

// Version returns the text version of component c in the first language that has one, "" if none has.
func (m Manifest) Version(c ComponentID) string {
	for _, l := range m.Text {
		for _, n := range l.Components {
			if v := find(n.Notes, textComponentVersion); v != "" && n.Component.Equal(c) {
				return v
			}
		}
	}
	return ""
}

// Description returns the description of the update in the first language that has one, "" if none has.
func (m Manifest) Description() string {
	for _, l := range m.Text {
		if d := find(l.Notes, textUpdateDescription); d != "" {
			return d
		}
	}
	return ""
}

func find(notes []Note, key uint64) string {
	for _, n := range notes {
		if n.Key == key {
			return n.Text
		}
	}
	return ""
}
