package firmware

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"fleetbridge/ident"
)

const (
	payloadPrefix = "payload/"
	maxURI        = 255 // bytes; deployed SUIT processors take no more
)

// PayloadURI is the relative reference under which every channel of ours serves the payload d.
func PayloadURI(d ident.Digest) string { return payloadPrefix + d.Hex() }

// PayloadOf returns the payload that a relative reference of ours names.
func PayloadOf(uri string) (ident.Digest, bool) {
	h, ok := strings.CutPrefix(uri, payloadPrefix)
	if !ok || strings.HasPrefix(h, "sha256:") {
		return ident.Digest{}, false
	}
	d, err := ident.ParseDigest(h)
	return d, err == nil && !d.IsZero()
}

// CheckURI accepts `payload/<64 hex digits>` and absolute https URLs without user info or fragment. Any other scheme
// would make a device, with its own credentials, talk to what the author of a manifest chose. The error wraps
// ErrURI.
func CheckURI(uri string) error {
	if _, ok := PayloadOf(uri); ok {
		return nil
	}
	if len(uri) > maxURI {
		return fmt.Errorf("check URI: %d bytes, at most %d: %w", len(uri), maxURI, ErrURI)
	}
	u, err := url.Parse(uri)
	if err != nil {
		return fmt.Errorf("check URI: %w: %w", ErrURI, err)
	}
	if u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Contains(uri, "#") {
		return fmt.Errorf("check URI %q: want payload/<sha256 in hex>, or https without user info and fragment: %w", uri, ErrURI)
	}
	return nil
}

// VendorID is the SUIT vendor identifier of a domain name: UUIDv5 in the DNS namespace.
func VendorID(domain string) uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceDNS, []byte(domain)) }

// ClassID is the SUIT class identifier of a vendor's model: UUIDv5 in the vendor's namespace.
func ClassID(vendor uuid.UUID, model string) uuid.UUID { return uuid.NewSHA1(vendor, []byte(model)) }
