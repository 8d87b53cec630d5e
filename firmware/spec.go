package firmware

import (
	"bytes"
	"fmt"

	"github.com/google/uuid"

	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

// Limits on what goes into a manifest.
const (
	MaxVersion     = 64   // bytes
	MaxDescription = 1024 // bytes
	maxName        = 255  // bytes of a vendor's domain or a model
	MaxDeltas      = 15
	MaxIntegrated  = suit.MaxIntegrated // bytes
)

// Spec is what an author says of an update. The image is Image and Size in every case: what the component holds once the
// update is installed, and what the server takes as the proof of it. How it gets there is one of
//
//   - a fetch of the image itself: nothing else set;
//   - Deltas: each from one installed image, and the image itself for everybody else;
//   - Encrypted: a fetch of the ciphertext, which the device decrypts;
//   - Integrated: nothing is fetched; the bytes travel in the envelope. With Encrypted they are the ciphertext.
type Spec struct {
	Vendor      uuid.UUID
	Class       uuid.UUID
	Component   [][]byte // default [h'00']
	Staging     [][]byte // component that takes a delta or a ciphertext, of which a device knows what to do; default [h'01']
	Sequence    uint64   // UTC seconds of signing, as a rule; must rise from one manifest to the next
	Image       ident.Digest
	Size        int64      // of the image, bytes
	URI         string     // where the image is fetched; default: PayloadURI of Image
	Deltas      []Delta    // at most MaxDeltas, in the order in which a device tries them
	Encrypted   *Encrypted // instead of URI and Deltas
	Integrated  []byte     // at most MaxIntegrated bytes; instead of any URI
	Version     string     // for people, optional
	Description string     // for people, optional
	// For people, optional: the names that Vendor and Class were made of. They prove nothing; a reader can tell that they fit.
	VendorDomain string
	ModelInfo    string
}

// Delta is a payload that makes the image out of an installed one.
type Delta struct {
	From     ident.Digest // the installed image
	FromSize int64        // bytes
	Payload  ident.Digest
	Size     int64  // of the payload, bytes
	URI      string // default: PayloadURI of Payload
}

// Encrypted is the ciphertext of an image.
type Encrypted struct {
	Info    []byte // encryption-info, as package encrypt writes it
	Payload ident.Digest
	Size    int64  // of the payload, bytes
	URI     string // default: PayloadURI of Payload
}

// integratedURI names the one payload that travels in an envelope of ours.
const integratedURI = "#payload"

func (s Spec) withDefaults() Spec {
	if s.Component == nil {
		s.Component = [][]byte{{0}}
	}
	if s.Staging == nil {
		s.Staging = [][]byte{{1}}
	}
	if s.URI == "" {
		s.URI = PayloadURI(s.Image)
	}
	deltas := make([]Delta, len(s.Deltas))
	for i, d := range s.Deltas {
		if d.URI == "" {
			d.URI = PayloadURI(d.Payload)
		}
		deltas[i] = d
	}
	s.Deltas = deltas
	if s.Encrypted != nil {
		e := *s.Encrypted
		if e.URI == "" {
			e.URI = PayloadURI(e.Payload)
		}
		s.Encrypted = &e
	}
	return s
}

func (s Spec) check() error {
	switch {
	case s.Vendor == uuid.Nil || s.Class == uuid.Nil:
		return fmt.Errorf("vendor and class are required: %w", ErrUnsupported)
	case s.Sequence == 0:
		return fmt.Errorf("sequence number 0 is never newer: %w", ErrUnsupported)
	case len(s.Version) > MaxVersion || len(s.Description) > MaxDescription:
		return fmt.Errorf("version of %d bytes and description of %d, at most %d and %d: %w", len(s.Version),
			len(s.Description), MaxVersion, MaxDescription, ErrTooLarge)
	case len(s.VendorDomain) > maxName || len(s.ModelInfo) > maxName:
		return fmt.Errorf("vendor's domain of %d bytes and model of %d, at most %d: %w", len(s.VendorDomain), len(s.ModelInfo), maxName, ErrTooLarge)
	case len(s.Deltas) > 0 && (s.Encrypted != nil || s.Integrated != nil):
		return fmt.Errorf("deltas of an image that is encrypted or integrated: %w", ErrUnsupported)
	case len(s.Deltas) > MaxDeltas:
		return fmt.Errorf("%d deltas, at most %d: %w", len(s.Deltas), MaxDeltas, ErrTooLarge)
	}
	if err := checkContent("image", s.Image, s.Size); err != nil {
		return err
	}
	for i, d := range s.Deltas {
		if err := d.check(s.Image); err != nil {
			return fmt.Errorf("delta %d: %w", i, err)
		}
	}
	if s.Encrypted != nil {
		if err := checkContent("ciphertext", s.Encrypted.Payload, s.Encrypted.Size); err != nil {
			return err
		}
		if err := checkEncryption(s.Encrypted.Info, s.Encrypted.Size, s.Size); err != nil {
			return err
		}
	}
	return s.checkWhole()
}

// checkWhole checks the bytes that need no precursor.
func (s Spec) checkWhole() error {
	t := s.whole()
	if !t.Integrated() {
		return checkFetchURI(t.URI, t.Payload.Digest)
	}
	if len(s.Integrated) > MaxIntegrated {
		return fmt.Errorf("integrated payload of %d bytes, at most %d; larger ones are fetched: %w", len(s.Integrated), MaxIntegrated, ErrTooLarge)
	}
	if got := (suit.Content{Digest: ident.SumDigest(s.Integrated), Size: uint64(len(s.Integrated))}); got != t.Payload {
		return fmt.Errorf("integrated payload has %s and %d bytes, announced are %s and %d: %w", got.Digest, got.Size,
			t.Payload.Digest, t.Payload.Size, ErrDigestMismatch)
	}
	return nil
}

func (d Delta) check(image ident.Digest) error {
	if d.From == image {
		return fmt.Errorf("it starts from the image that it makes: %w", ErrUnsupported)
	}
	if err := checkContent("precursor", d.From, d.FromSize); err != nil {
		return err
	}
	if err := checkContent("delta", d.Payload, d.Size); err != nil {
		return err
	}
	return checkFetchURI(d.URI, d.Payload)
}

func checkContent(what string, d ident.Digest, size int64) error {
	if d.IsZero() || size < 1 {
		return fmt.Errorf("%s: digest and a size of at least 1 byte are required: %w", what, ErrUnsupported)
	}
	return nil
}

func (s Spec) plan() suit.Plan {
	p := suit.Plan{Vendor: s.Vendor, Class: s.Class, Component: s.Component, Image: content(s.Image, s.Size)}
	if len(s.Deltas) > 0 || s.Encrypted != nil {
		p.Staging = s.Staging
	}
	for _, d := range s.Deltas {
		p.Tries = append(p.Tries, suit.Try{Precursor: content(d.From, d.FromSize), Payload: content(d.Payload, d.Size), URI: d.URI})
	}
	p.Tries = append(p.Tries, s.whole())
	return p
}

// whole is the try that needs no precursor.
func (s Spec) whole() suit.Try {
	t := suit.Try{Payload: content(s.Image, s.Size), URI: s.URI}
	if e := s.Encrypted; e != nil {
		t = suit.Try{Payload: content(e.Payload, e.Size), URI: e.URI, Encryption: bytes.Clone(e.Info)}
	}
	if s.Integrated != nil {
		t.URI = integratedURI
	}
	return t
}

func content(d ident.Digest, size int64) suit.Content {
	return suit.Content{Digest: d, Size: uint64(size)}
}
