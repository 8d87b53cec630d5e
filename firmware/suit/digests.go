package suit

import (
	"fmt"
	"slices"

	"fleetbridge/ident"
)

// CheckDigests checks the digest over the manifest and those of the severed members that the envelope carries, and reads
// nothing else: a manifest with commands that Decode does not know may still be, whole, what was signed. It returns the
// severed members that it has checked.
func (p *Parts) CheckDigests() ([]Member, error) {
	if got := ident.SumDigest(p.wrapped); got != p.Digest {
		return nil, fmt.Errorf("check manifest: it has %s, signed is %s: %w", got, p.Digest, ErrDigest)
	}
	var checked []Member
	r := &reader{layer: "manifest", b: p.manifest}
	r.pairs("manifest", 1, maxCommands, func() {
		m := Member(r.uint("member"))
		severed, ok := p.severed[m]
		if !ok || r.next() != majorArray {
			r.item()
			return
		}
		if want, got := r.digest(), ident.SumDigest(severed); r.err == nil && got != want {
			r.fail(ErrDigest, "severed %s has %s, signed is %s", m, got, want)
		}
		checked = append(checked, m)
	})
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("check severed members: %w", err)
	}
	if len(checked) != len(p.severed) {
		return nil, fmt.Errorf("check severed members: the envelope carries %d, the manifest has the digests of %d: %w",
			len(p.severed), len(checked), ErrMalformed)
	}
	return checked, nil
}

// ImageDigests are the digests of images and payloads that the manifest's sequences set, each once, in order.
func (m Manifest) ImageDigests() []ident.Digest {
	var out []ident.Digest
	var walk func(Sequence)
	walk = func(s Sequence) {
		for _, c := range s {
			for _, p := range c.Parameters {
				if p.ID == ParamDigest && !slices.Contains(out, p.Digest) {
					out = append(out, p.Digest)
				}
			}
			for _, nested := range c.Cases {
				walk(nested)
			}
		}
	}
	for _, s := range []Sequence{m.Shared, m.Fetch, m.Install, m.Validate, m.Load, m.Invoke} {
		walk(s)
	}
	return out
}
