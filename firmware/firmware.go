// Package firmware knows manifests, trust anchors and payloads: it verifies signed SUIT envelopes against a tenant's
// anchors, and keeps payloads as content-addressed files. It holds no author's key and signs nothing on the server. The
// codecs below it (suit, cose) are pure; of this package only Catalogue does I/O. An asset is any bytes, firmware or not.
package firmware

import (
	"errors"
	"time"

	"github.com/google/uuid"

	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
)

// Errors of verification and of the catalogue; each names a class that a caller, a problem type or a vector branches on.
var (
	ErrMalformed      = errors.New("malformed manifest")   // not the CBOR of an envelope, or over a bound
	ErrUnsupported    = errors.New("unsupported manifest") // well formed, outside the profile
	ErrUntrusted      = errors.New("untrusted manifest")   // no block that verifies under a live anchor
	ErrDigestMismatch = errors.New("digest mismatch")      // bytes are not what a digest names
	ErrOffset         = errors.New("offset is not the upload's end")
	ErrOverlap        = errors.New("bytes are there already")
	ErrNoUpload       = errors.New("no such upload")
	ErrNoPayload      = errors.New("no such payload")
	ErrTooLarge       = errors.New("larger than allowed")
	ErrQuota          = errors.New("too many unfinished uploads")
	ErrNoRoom         = errors.New("no room left for payloads")
)

// Narrower classes of the first three.
var (
	ErrRevoked   error = &class{"its key is revoked", ErrUntrusted}              // of several blocks, one at least by a revoked key
	ErrSignature error = &class{"signature does not verify", ErrUntrusted}       // of a block that names a live anchor
	ErrGrant     error = &class{"the key is not granted this", ErrUntrusted}     // no key that verified may sign such a manifest
	ErrUntimely  error = &class{"the key is not valid at this time", ErrGrant}   // before or after what the key is granted
	ErrAhead     error = &class{"sequence number too far ahead", ErrUnsupported} // more than MaxAhead
	ErrURI       error = &class{"URI not allowed", ErrUnsupported}
	ErrUnknown   error = &class{"unknown command, parameter or member", ErrUnsupported}
	ErrSevered   error = &class{"severed member other than text", ErrUnsupported}
)

// class is an error within a wider one.
type class struct {
	text string
	of   error
}

func (c *class) Error() string { return c.text }
func (c *class) Unwrap() error { return c.of }

// Manifest is what the server knows of a verified envelope. Envelope holds the exact bytes that were signed and are
// published; everything else is derived from them.
type Manifest struct {
	Digest    ident.Digest // SUIT digest of the manifest, not of the envelope
	Envelope  []byte
	Sequence  uint64
	Vendor    uuid.UUID
	Class     uuid.UUID
	Component string // hex of the identifier's byte strings, joined by slashes
	// Image is the digest whose measured presence in the component proves the install, and Size its length in bytes.
	// Rules about installs go by them; whoever serves or stores bytes goes by Fetches.
	Image   ident.Digest
	Size    int64
	Fetches []Fetch // in the order in which a device tries them; none if the image travels in the envelope
	Version string  // from the text, for people only
	Keys    []Signature
	Created time.Time
}

// Role says what the bytes of a fetch are to the image.
type Role string

// The roles of a fetch.
const (
	RoleImage      Role = "image"      // the image itself
	RoleDelta      Role = "delta"      // makes the image out of the precursor
	RoleCiphertext Role = "ciphertext" // the image, encrypted
)

// Fetch is one object that a device may fetch on its way to the image.
type Fetch struct {
	Role      Role
	Digest    ident.Digest
	Size      int64 // bytes
	URI       string
	Precursor ident.Digest // of a delta: the image that it is applied to
}

// Fetch returns the fetch of m that brings the bytes d.
func (m Manifest) Fetch(d ident.Digest) (Fetch, bool) {
	for _, f := range m.Fetches {
		if f.Digest == d {
			return f, true
		}
	}
	return Fetch{}, false
}

// URI is where a device without a precursor fetches; "" if the image travels in the envelope.
func (m Manifest) URI() string {
	if len(m.Fetches) == 0 {
		return ""
	}
	return m.Fetches[len(m.Fetches)-1].URI
}

// Download is how many bytes a device fetches at most when its first try that fits succeeds; 0 if all travels in the
// envelope.
func (m Manifest) Download() int64 {
	most := int64(0)
	for _, f := range m.Fetches {
		most = max(most, f.Size)
	}
	return most
}

// Signature names an anchor that verified a block of an envelope.
type Signature struct {
	Key ident.Key
	Alg cose.Alg
}

// Payload is the metadata of a payload; its bytes are in the Catalogue. While it is being uploaded it has no Created, and
// its Size is reserved.
type Payload struct {
	Digest  ident.Digest
	Size    int64
	Name    string
	Begun   time.Time // when its upload was begun, or begun again
	Created time.Time // when it was committed
}
