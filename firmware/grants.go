package firmware

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"fleetbridge/firmware/suit"
)

// Grants are what an anchor's signature is good for. The zero value grants everything: each empty list, each zero time
// limits nothing.
type Grants struct {
	Vendors    []uuid.UUID
	Classes    []uuid.UUID
	Components []string // each grants the component of that name, and those below it: 00 grants 00 and 00/01, not 0001
	Uses       []Use
	NotBefore  time.Time // from this moment on
	NotAfter   time.Time // until this moment, which is included
}

// Equal reports whether g and o grant the same, as they were written.
func (g Grants) Equal(o Grants) bool {
	return slices.Equal(g.Vendors, o.Vendors) && slices.Equal(g.Classes, o.Classes) && slices.Equal(g.Components, o.Components) &&
		slices.Equal(g.Uses, o.Uses) && g.NotBefore.Equal(o.NotBefore) && g.NotAfter.Equal(o.NotAfter)
}

// Use is something that a manifest makes a device do, which an anchor may or may not be granted.
type Use string

// The uses. A manifest may have several of them: one with a delta and a full image to fall back on has two.
const (
	UseImage      Use = "image"      // a full image is fetched
	UseDelta      Use = "delta"      // a delta is fetched, and applied to what the device holds
	UseEncrypted  Use = "encrypted"  // what is fetched is decrypted
	UseIntegrated Use = "integrated" // the payload travels in the envelope
	UseHTTPS      Use = "https"      // the device fetches from a server that the author names
)

// Uses lists every use.
var Uses = []Use{UseImage, UseDelta, UseEncrypted, UseIntegrated, UseHTTPS}

// Uses are the uses of m, as far as its fetches tell.
func (m Manifest) Uses() []Use {
	var out []Use
	for _, f := range m.Fetches {
		out = append(out, map[Role]Use{RoleImage: UseImage, RoleDelta: UseDelta, RoleCiphertext: UseEncrypted}[f.Role])
		if _, ours := PayloadOf(f.URI); !ours {
			out = append(out, UseHTTPS)
		}
	}
	if len(m.Fetches) == 0 {
		out = append(out, UseIntegrated)
	}
	return out
}

// usesOf are the uses of a manifest that is whole.
func usesOf(p suit.Plan) []Use {
	var out []Use
	for _, t := range p.Tries {
		switch {
		case t.Delta():
			out = append(out, UseDelta)
		case t.Encryption == nil && !t.Integrated():
			out = append(out, UseImage)
		}
		if t.Encryption != nil {
			out = append(out, UseEncrypted)
		}
		if t.Integrated() {
			out = append(out, UseIntegrated)
		} else if _, ours := PayloadOf(t.URI); !ours {
			out = append(out, UseHTTPS)
		}
	}
	return out
}

// Cover says why g does not cover m at a moment; nil if it does. A zero at is no moment: then time limits nothing. The
// error wraps ErrGrant, or ErrUntimely if only the time is wrong.
func (g Grants) Cover(m Manifest, at time.Time) error { return g.cover(m, m.Uses(), at) }

func (g Grants) cover(m Manifest, uses []Use, at time.Time) error {
	switch {
	case len(g.Vendors) > 0 && !slices.Contains(g.Vendors, m.Vendor):
		return fmt.Errorf("not for vendor %s: %w", m.Vendor, ErrGrant)
	case len(g.Classes) > 0 && !slices.Contains(g.Classes, m.Class):
		return fmt.Errorf("not for class %s: %w", m.Class, ErrGrant)
	case len(g.Components) > 0 && !slices.ContainsFunc(g.Components, func(p string) bool { return within(m.Component, p) }):
		return fmt.Errorf("not for component %s: %w", m.Component, ErrGrant)
	}
	for _, u := range uses {
		if len(g.Uses) > 0 && !slices.Contains(g.Uses, u) {
			return fmt.Errorf("not for %s: %w", u, ErrGrant)
		}
	}
	switch {
	case at.IsZero():
	case at.Before(g.NotBefore):
		return fmt.Errorf("not before %s: %w", g.NotBefore.UTC().Format(time.RFC3339), ErrUntimely)
	case !g.NotAfter.IsZero() && at.After(g.NotAfter):
		return fmt.Errorf("not after %s: %w", g.NotAfter.UTC().Format(time.RFC3339), ErrUntimely)
	}
	return nil
}

// within says whether a component is that of prefix, or below it. Identifiers end at a slash: 00 does not hold 0001.
func within(component, prefix string) bool {
	rest, ok := strings.CutPrefix(component, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// Trust says which of the anchors stand behind m at a moment: live, named by one of m's keys, and granted what m is. It
// goes by what Verify found and checks no signature. The error wraps ErrUntrusted, and says of each key of m why not.
func Trust(m Manifest, anchors []Anchor, at time.Time) ([]Anchor, error) {
	return trust(m, m.Uses(), anchors, at)
}

func trust(m Manifest, uses []Use, anchors []Anchor, at time.Time) ([]Anchor, error) {
	var trusted []Anchor
	var why []string
	class := ErrUntrusted
	for _, s := range m.Keys {
		i := slices.IndexFunc(anchors, func(a Anchor) bool { return a.ID == s.Key && a.Alg == s.Alg })
		switch {
		case i < 0:
			why = append(why, fmt.Sprintf("key %s is not a trust anchor", s.Key))
			continue
		case !anchors[i].Live():
			why = append(why, fmt.Sprintf("key %s is revoked since %s", s.Key, anchors[i].Revoked.UTC().Format(time.RFC3339)))
			class = ErrRevoked
			continue
		}
		err := anchors[i].Grants.cover(m, uses, at)
		if err == nil {
			trusted = append(trusted, anchors[i])
			continue
		}
		why = append(why, fmt.Sprintf("key %s is %s", s.Key, strings.TrimSuffix(err.Error(), ": "+errors.Unwrap(err).Error())))
		class = errors.Unwrap(err)
	}
	if trusted == nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(why, "; "), class)
	}
	return trusted, nil
}
