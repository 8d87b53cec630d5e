package firmware

import (
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"

	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

// Limits on text that goes into a manifest, in bytes.
const (
	MaxVersion     = 64
	MaxDescription = 1024
)

// Spec is what an author says of an update.
type Spec struct {
	Vendor      uuid.UUID
	Class       uuid.UUID
	Component   [][]byte     // default [h'00']
	Sequence    uint64       // UTC seconds of signing, as a rule; must rise from one manifest to the next
	Image       ident.Digest // what the component holds once the update is installed
	Size        int64        // of the image, bytes
	URI         string       // where the image is fetched; default: PayloadURI of Image
	Version     string       // for people, optional
	Description string       // for people, optional
}

// Create writes the unsigned envelope of a manifest. Equal specs give equal bytes.
func Create(s Spec) ([]byte, error) {
	if s.Component == nil {
		s.Component = [][]byte{{0}}
	}
	if s.URI == "" {
		s.URI = PayloadURI(s.Image)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("create manifest: %w", err)
	}
	img := suit.Image{Vendor: s.Vendor, Class: s.Class, Component: s.Component, Digest: s.Image, Size: uint64(s.Size), URI: s.URI}
	b, err := suit.Build(s.Sequence, img, suit.Text{Description: s.Description, Version: s.Version})
	if err != nil {
		return nil, fmt.Errorf("create manifest: %w", classify(err))
	}
	return b, nil
}

func (s Spec) check() error {
	switch {
	case s.Vendor == uuid.Nil || s.Class == uuid.Nil:
		return fmt.Errorf("vendor and class are required: %w", ErrUnsupported)
	case s.Sequence == 0:
		return fmt.Errorf("sequence number 0 is never newer: %w", ErrUnsupported)
	case s.Image.IsZero() || s.Size < 1:
		return fmt.Errorf("image digest and a size of at least 1 byte are required: %w", ErrUnsupported)
	case len(s.Version) > MaxVersion || len(s.Description) > MaxDescription:
		return fmt.Errorf("version of %d bytes and description of %d, at most %d and %d: %w", len(s.Version),
			len(s.Description), MaxVersion, MaxDescription, ErrTooLarge)
	}
	return checkFetchURI(s.URI, s.Image)
}

// checkFetchURI also wants that a reference of ours names the very bytes that the fetch is about.
func checkFetchURI(uri string, payload ident.Digest) error {
	if err := CheckURI(uri); err != nil {
		return err
	}
	if d, ok := PayloadOf(uri); ok && d != payload {
		return fmt.Errorf("URI names payload %s, the manifest fetches %s: %w", d, payload, ErrDigestMismatch)
	}
	return nil
}

// Sign returns envelope with one more signature block, by key under the name id. It signs what it has itself checked:
// the manifest's digest, recomputed. With a nil rand the result is a function of the arguments.
func Sign(envelope []byte, key cose.PrivateKey, alg cose.Alg, id ident.Key, rand io.Reader) ([]byte, error) {
	p, err := suit.Split(envelope)
	if err != nil {
		return nil, fmt.Errorf("sign manifest: %w", classify(err))
	}
	if _, err := p.Decode(); err != nil {
		return nil, fmt.Errorf("sign manifest: %w", classify(err))
	}
	block, err := cose.Sign1(p.Signed(), key, alg, []byte(id.String()), rand)
	if err != nil {
		return nil, fmt.Errorf("sign manifest: %w", err)
	}
	signed, err := suit.AddBlock(envelope, block)
	if err != nil {
		return nil, fmt.Errorf("sign manifest: %w", classify(err))
	}
	return signed, nil
}

// classify puts this package's class of error in front of the codecs'.
func classify(err error) error {
	switch {
	case errors.Is(err, suit.ErrDigest):
		return fmt.Errorf("%w: %w", ErrDigestMismatch, err)
	case errors.Is(err, suit.ErrUnsupported):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	case errors.Is(err, suit.ErrMalformed), errors.Is(err, cose.ErrMalformed):
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return err
}
