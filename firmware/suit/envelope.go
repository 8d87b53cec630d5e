package suit

import (
	"fmt"
	"slices"

	"fleetbridge/ident"
)

const (
	tagEnvelope = 107
	digestSize  = len(ident.Digest{})
)

// knownDigests are the algorithms of section 8.2.2 that are defined but not ours.
var knownDigests = []int64{-43, -44, -18, -45}

// Parts is an envelope that has been taken apart but not checked: what its blocks sign, and the bytes that it is about.
type Parts struct {
	Digest ident.Digest // as the envelope claims; Decode checks it
	Blocks [][]byte     // COSE messages, one per signature

	wrapped  []byte            // the manifest as a byte string, head included: what the digest is over
	manifest []byte            // the same without the head
	severed  map[Member][]byte // as byte strings, heads included
	payloads []IntegratedPayload
}

// Signed returns the payload of the signature blocks: the encoded SUIT_Digest (section 8.3).
func (p *Parts) Signed() []byte {
	b, err := p.Digest.MarshalCBOR()
	if err != nil {
		return nil // it never returns one
	}
	return b
}

// Split takes an envelope apart. Only the outermost two layers are read; the manifest is not looked into.
func Split(envelope []byte) (*Parts, error) {
	if len(envelope) > MaxEnvelope {
		return nil, fmt.Errorf("envelope of %d bytes, at most %d: %w", len(envelope), MaxEnvelope, ErrMalformed)
	}
	r := &reader{layer: "envelope", b: envelope}
	if tag := r.expect(majorTag, "tag 107"); r.err == nil && tag != tagEnvelope {
		r.fail(ErrMalformed, "tag %d, want %d", tag, tagEnvelope)
	}
	p := &Parts{severed: map[Member][]byte{}}
	integrated := 0
	r.pairs("envelope", 2, 5+maxPayloads, func() {
		if r.next() == majorText {
			name := r.text("payload name", maxURI)
			p.payloads = append(p.payloads, IntegratedPayload{name, r.bytes("payload", MaxIntegrated)})
			integrated += len(p.payloads[len(p.payloads)-1].Bytes)
			return
		}
		p.member(r, Member(r.uint("member")))
	})
	if r.err == nil && (p.Blocks == nil || p.wrapped == nil) {
		r.fail(ErrMalformed, "authentication wrapper or manifest is missing")
	}
	if r.err == nil && (integrated > MaxIntegrated || len(p.payloads) > maxPayloads) {
		r.fail(ErrMalformed, "%d integrated payloads of %d bytes, at most %d of %d", len(p.payloads), integrated, maxPayloads, MaxIntegrated)
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("split envelope: %w", err)
	}
	return p, nil
}

func (p *Parts) member(r *reader, m Member) {
	switch m {
	case memberAuthentication:
		r.wrapped("authentication wrapper", p.authentication)
	case memberManifest:
		at := r.off
		p.manifest = r.bytes("manifest", MaxEnvelope)
		p.wrapped = r.b[at:r.off]
	case MemberFetch, MemberInstall, MemberText:
		at := r.off
		r.bytes(m.String(), MaxEnvelope)
		p.severed[m] = r.b[at:r.off]
	default:
		r.fail(ErrUnknown, "envelope %s", m)
	}
}

// authentication reads [digest, *block], each in a byte string. No block at all is legal here; whoever trusts the
// envelope must ask for one.
func (p *Parts) authentication(r *reader) {
	n := r.array("authentication wrapper", 1, 1+maxBlocks)
	r.wrapped("manifest digest", func(r *reader) { p.Digest = r.digest() })
	p.Blocks = make([][]byte, 0, maxBlocks)
	for range n - 1 {
		p.Blocks = append(p.Blocks, r.bytes("signature block", MaxEnvelope))
	}
}

// digest reads a SUIT_Digest, SHA-256 only.
func (r *reader) digest() ident.Digest {
	r.array("digest", 2, 2)
	alg := r.int("digest algorithm")
	b := r.bytes("digest", 64)
	switch {
	case r.err != nil:
	case slices.Contains(knownDigests, alg):
		r.fail(ErrUnsupported, "digest algorithm %d, want SHA-256 (%d)", alg, ident.DigestAlg)
	case alg != ident.DigestAlg || len(b) != digestSize:
		r.fail(ErrMalformed, "digest of algorithm %d and %d bytes", alg, len(b))
	case ident.Digest(b).IsZero():
		r.fail(ErrMalformed, "digest is all zeros, which nothing has")
	default:
		return ident.Digest(b)
	}
	return ident.Digest{}
}

// Decode reads an envelope whole and checks its digests. It checks no signature: firmware.Verify does.
func Decode(envelope []byte) (*Envelope, error) {
	p, err := Split(envelope)
	if err != nil {
		return nil, err
	}
	return p.Decode()
}

// Decode checks the manifest's digest (over its byte string, head included, section 8.3) and those of severed members,
// and reads all of them.
func (p *Parts) Decode() (*Envelope, error) {
	if got := ident.SumDigest(p.wrapped); got != p.Digest {
		return nil, fmt.Errorf("decode manifest: it has %s, signed is %s: %w", got, p.Digest, ErrDigest)
	}
	d := &decoder{severed: p.severed, budget: maxCommands}
	r := &reader{layer: "manifest", b: p.manifest}
	d.manifest(r)
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	for m := range p.severed {
		if !slices.Contains(d.m.Severed, m) {
			return nil, fmt.Errorf("decode manifest: the envelope carries %s, the manifest has no digest of it: %w", m, ErrMalformed)
		}
	}
	return &Envelope{Digest: p.Digest, Blocks: p.Blocks, Manifest: d.m, Payloads: p.payloads}, nil
}
