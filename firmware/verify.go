package firmware

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/suit"
)

// MaxAhead is how far a sequence number, read as UTC seconds, may lie in the future: one far ahead would lock a device
// class out of every later update.
const MaxAhead = 24 * time.Hour

// Verify reads a signed envelope and returns what it says, with Envelope a copy of the exact bytes and Created set to at.
// Server and device run it alike. In this order: size and outermost form; signatures, each over the digest that the
// envelope claims; that digest over the manifest; severed digests; the manifest in our profile (suit.Envelope.Plan);
// its URIs and its sequence number. So bytes that nobody signed reach only the outermost parser.
//
// One verifying block of a live anchor is enough. A block of an unknown or revoked key, or of an algorithm that isn't
// ours, counts for nothing; but a block that names a live anchor and doesn't verify refuses the envelope, since some
// device would be sent it. At last one of the keys must be granted what the manifest is and does (Grants). A zero at is a
// device without a clock: MaxAhead and the time of grants aren't checked then.
//
// The error wraps ErrMalformed, ErrUnsupported, ErrDigestMismatch or ErrUntrusted, and a narrower one where there is one.
func Verify(envelope []byte, anchors []Anchor, at time.Time) (Manifest, error) {
	m, err := verify(envelope, anchors, at)
	if err != nil {
		return Manifest{}, fmt.Errorf("verify manifest: %w", classify(err))
	}
	return m, nil
}

func verify(envelope []byte, anchors []Anchor, at time.Time) (Manifest, error) {
	if len(envelope) > suit.MaxEnvelope {
		return Manifest{}, fmt.Errorf("envelope of %d bytes, at most %d: %w", len(envelope), suit.MaxEnvelope, ErrMalformed)
	}
	parts, err := suit.Split(envelope)
	if err != nil {
		return Manifest{}, err
	}
	keys, err := verifyBlocks(parts, anchors)
	if err != nil {
		return Manifest{}, err
	}
	e, err := parts.Decode()
	if err != nil {
		return Manifest{}, err
	}
	plan, err := e.Plan()
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{
		Digest:    e.Digest,
		Envelope:  slices.Clone(envelope),
		Sequence:  e.Manifest.Sequence,
		Vendor:    plan.Vendor,
		Class:     plan.Class,
		Component: plan.Component.String(),
		Image:     plan.Image.Digest,
		Size:      int64(plan.Image.Size),
		Fetches:   fetchesOf(plan),
		Version:   e.Manifest.Version(plan.Component),
		Keys:      keys,
		Created:   at,
	}
	if err := checkManifest(m, plan, at); err != nil {
		return m, err
	}
	_, err = trust(m, usesOf(plan), anchors, at)
	return m, err
}

func checkManifest(m Manifest, plan suit.Plan, at time.Time) error {
	switch {
	case len(m.Version) > MaxVersion:
		return fmt.Errorf("version of %d bytes, at most %d: %w", len(m.Version), MaxVersion, ErrUnsupported)
	case m.Sequence == 0:
		return fmt.Errorf("sequence number 0 is never newer: %w", ErrUnsupported)
	case !at.IsZero() && m.Sequence > uint64(max(0, at.Add(MaxAhead).Unix())):
		return fmt.Errorf("sequence number %d lies more than %s ahead of %s: %w", m.Sequence, MaxAhead,
			at.UTC().Format(time.RFC3339), ErrAhead)
	}
	return checkPlan(plan)
}

// passed is why a block counts for nothing, and the class of the error if no other block counts.
type passed struct {
	error
	class error
}

// verifyBlocks returns the anchors that verified a block, each (key, algorithm) once, in the order of the blocks.
func verifyBlocks(p *suit.Parts, anchors []Anchor) ([]Signature, error) {
	if len(p.Blocks) == 0 {
		return nil, fmt.Errorf("no signature block: %w", ErrUntrusted)
	}
	var keys []Signature
	var why []string
	class := ErrUntrusted
	for i, block := range p.Blocks {
		s, err := verifyBlock(block, p.Signed(), anchors)
		var pass passed
		switch {
		case errors.As(err, &pass):
			if pass.class == ErrRevoked {
				class = ErrRevoked
			}
			why = append(why, fmt.Sprintf("block %d: %v", i, err))
		case err != nil:
			return nil, fmt.Errorf("block %d: %w", i, err)
		case !slices.Contains(keys, s):
			keys = append(keys, s)
		}
	}
	if keys == nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(why, "; "), class)
	}
	return keys, nil
}

func verifyBlock(block, signed []byte, anchors []Anchor) (Signature, error) {
	h, err := cose.Parse(block)
	if errors.Is(err, cose.ErrUnknownAlg) {
		return Signature{}, passed{err, ErrUntrusted}
	}
	if err != nil {
		return Signature{}, err
	}
	if h.KID == nil {
		return tryAll(block, signed, h.Alg, anchors)
	}
	a, found := byKID(anchors, h)
	switch {
	case !found:
		return Signature{}, passed{fmt.Errorf("key %q with %s is not a trust anchor", h.KID, h.Alg), ErrUntrusted}
	case !a.Live():
		return Signature{}, passed{fmt.Errorf("key %s is revoked since %s", a.ID, a.Revoked.UTC().Format(time.RFC3339)), ErrRevoked}
	}
	if err := a.verify(block, signed); err != nil {
		return Signature{}, fmt.Errorf("key %s: %w: %w", a.ID, ErrSignature, err)
	}
	return Signature{a.ID, a.Alg}, nil
}

// byKID finds the anchor that a block names. A key identifier that isn't text is known by its hex. The algorithm is the
// anchor's: a block that names the key under another one names nothing.
func byKID(anchors []Anchor, h cose.Header) (Anchor, bool) {
	for _, a := range anchors {
		if id := a.ID.String(); a.Alg == h.Alg && (id == string(h.KID) || id == hex.EncodeToString(h.KID)) {
			return a, true
		}
	}
	return Anchor{}, false
}

// tryAll is for a block that doesn't name its key.
func tryAll(block, signed []byte, alg cose.Alg, anchors []Anchor) (Signature, error) {
	for _, a := range anchors {
		if a.Live() && a.Alg == alg && a.verify(block, signed) == nil {
			return Signature{a.ID, a.Alg}, nil
		}
	}
	return Signature{}, passed{fmt.Errorf("no live %s key verifies the block", alg), ErrUntrusted}
}
