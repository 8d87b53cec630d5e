package topics

import (
	"time"

	"fleetbridge/ident"
)

// Payload commands. An upload is begun, appended to in order, and committed; each step may be repeated.
type (
	// PayloadBegin opens an upload, or finds the one that was interrupted. Its size is reserved from then on.
	PayloadBegin struct {
		Digest ident.Digest `json:"digest" cbor:"1,keyasint"`
		Size   int64        `json:"size" cbor:"2,keyasint"`
		Name   string       `json:"name,omitempty" cbor:"3,keyasint,omitempty"`
	}
	// PayloadAppend adds bytes at Offset, which must be where the upload stands: MinAppend to MaxAppend of them, less only
	// at the end. Sum is their own SHA-256; absent, they are checked with the whole at commit.
	PayloadAppend struct {
		Digest ident.Digest `json:"digest" cbor:"1,keyasint"`
		Offset int64        `json:"offset" cbor:"2,keyasint"`
		Data   []byte       `json:"data" cbor:"3,keyasint"`
		Sum    ident.Digest `json:"sum,omitzero" cbor:"90,keyasint,omitzero"`
	}
	// PayloadUpload says where an upload stands: Offset bytes are durable. MinAppend and MaxAppend bound one append.
	PayloadUpload struct {
		Digest    ident.Digest `json:"digest" cbor:"1,keyasint"`
		Offset    int64        `json:"offset" cbor:"2,keyasint"`
		Size      int64        `json:"size" cbor:"3,keyasint"`
		MaxAppend int64        `json:"max_append" cbor:"4,keyasint"`
		Complete  bool         `json:"complete,omitempty" cbor:"5,keyasint,omitempty"`
		MinAppend int64        `json:"min_append" cbor:"90,keyasint"`
		Name      string       `json:"name,omitempty" cbor:"91,keyasint,omitempty"`
		Begun     time.Time    `json:"begun,omitzero" cbor:"92,keyasint,omitzero"`
		Expires   time.Time    `json:"expires,omitzero" cbor:"93,keyasint,omitzero"` // unless bytes come before
	}
	// PayloadCommit checks the digest of the whole and makes the payload available.
	PayloadCommit struct {
		Digest ident.Digest `json:"digest" cbor:"1,keyasint"`
	}
	// PayloadRef names a payload, or an upload of one.
	PayloadRef struct {
		Digest ident.Digest `json:"digest" cbor:"1,keyasint"`
	}
	// PayloadView is a payload as replies show it.
	PayloadView struct {
		Digest  ident.Digest `json:"digest" cbor:"1,keyasint"`
		Size    int64        `json:"size" cbor:"2,keyasint"`
		Name    string       `json:"name,omitempty" cbor:"3,keyasint,omitempty"`
		Created time.Time    `json:"created" cbor:"4,keyasint"`
	}
)

// MinAppend is the least that an append adds unless it is an upload's last, in bytes: each costs the disk a flush.
const MinAppend = 4 << 10

// Validate returns nil or FieldErrors. How large a payload may be is the catalogue's rule.
func (r PayloadBegin) Validate() error {
	var f faults
	f.digest(r.Digest, "/digest")
	f.check(r.Size >= 1, "/size", "from 1")
	f.text(r.Name, MaxName, "/name")
	return f.err()
}

// Validate returns nil or FieldErrors. Whether Data is too short is for who knows where the upload ends.
func (r PayloadAppend) Validate() error {
	var f faults
	f.digest(r.Digest, "/digest")
	f.check(r.Offset >= 0, "/offset", "from 0")
	f.check(len(r.Data) >= 1 && len(r.Data) <= MaxAppend, "/data", "from 1 to 131072 bytes")
	return f.err()
}

// Validate returns nil or FieldErrors.
func (r PayloadCommit) Validate() error {
	var f faults
	f.digest(r.Digest, "/digest")
	return f.err()
}

// Validate returns nil or FieldErrors.
func (r PayloadRef) Validate() error {
	var f faults
	f.digest(r.Digest, "/digest")
	return f.err()
}
