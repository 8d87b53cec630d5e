package campaign

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fleetbridge/campaign/selector"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// DefaultComponent is whose version and digest a filter means outside of any campaign.
const DefaultComponent = "00"

// CompileFilter compiles a filter, nil for "", that stands at pointer in a request. The error is an *InvalidError.
func CompileFilter(text, pointer string) (*selector.Filter, error) {
	f, err := compiled(text)
	if err != nil {
		return nil, &InvalidError{[]FieldError{{pointer, err.Error()}}}
	}
	return f, nil
}

// Query is a question to the registry: which devices pass a filter.
type Query struct{ c Campaign }

// NewQuery makes a query at a moment. With a manifest it is about the devices that the manifest is for. The error is an
// *InvalidError about /filter.
func NewQuery(filter string, m *firmware.Manifest, at time.Time) (Query, error) {
	if _, err := CompileFilter(filter, "/filter"); err != nil {
		return Query{}, err
	}
	c := Campaign{Selection: Selection{Filter: filter}, Component: DefaultComponent, SelectAt: at}
	if m != nil {
		c.Vendor, c.Class, c.Component = m.Vendor, m.Class, m.Component
	}
	return Query{c}, nil
}

// Find returns at most want devices that pass, with their records, after the given one, and looks at no more than look.
func (q Query) Find(r Reader, t ident.Tenant, after ident.Device, want, look int) (Picks, error) {
	found := Picks{Next: after}
	for first := true; first || !found.Next.IsZero() && look > 0; first = false {
		n := min(fetchPage, look)
		page, err := q.c.Pick(r, t, found.Next, n, true)
		if err != nil {
			return Picks{}, err
		}
		look -= n
		if found.Unjudged == 0 {
			found.Unjudgeable = page.Unjudgeable
		}
		found.Unjudged += page.Unjudged
		found.Next = page.Next
		if room := want - len(found.Picked); len(page.Picked) > room || len(page.Picked) == room && !page.Next.IsZero() {
			found.Picked = append(found.Picked, page.Picked[:room]...)
			found.Next = found.Picked[len(found.Picked)-1].ID
			break
		}
		found.Picked = append(found.Picked, page.Picked...)
	}
	return found, nil
}

// Tally is what a filter selects of a whole registry.
type Tally struct {
	Total       uint64   // devices in question
	Matched     uint64   // those that pass
	Sample      []Device // the first of them
	Unjudged    uint64   // those that the filter failed on
	Unjudgeable string   // why, for the first
	Near        []Near   // if none passes: what the filter may have meant
}

// Near is a value that the filter compares a field with and that no device has, and values that devices have.
type Near struct {
	Field, Value string
	Have         []string
}

// Tally asks about every device, keeps at most sample of those that pass, and calls rest after each page: its error ends
// the work. It may take seconds and belongs into a View.
func (q Query) Tally(r Reader, t ident.Tenant, sample int, rest func() error) (Tally, error) {
	var y Tally
	all := Narrow{Vendor: q.c.Vendor, Class: q.c.Class}
	for after := (ident.Device{}); ; {
		ids, next, err := r.Narrow(t, all, after, fetchPage)
		if err == nil {
			err = rest()
		}
		if err != nil {
			return y, fmt.Errorf("list devices: %w", err)
		}
		y.Total += uint64(len(ids))
		if after = next; after.IsZero() {
			break
		}
	}
	for after := (ident.Device{}); ; {
		page, err := q.c.Pick(r, t, after, fetchPage, false)
		if err == nil {
			err = rest()
		}
		if err != nil {
			return y, err
		}
		if y.Unjudged == 0 {
			y.Unjudgeable = page.Unjudgeable
		}
		y.Unjudged += page.Unjudged
		y.Matched += uint64(len(page.Picked))
		for _, p := range page.Picked[:min(len(page.Picked), sample-len(y.Sample))] {
			if !p.Known {
				if p.Device, err = r.Device(t, p.ID); err != nil {
					return y, fmt.Errorf("read device: %w", err)
				}
			}
			y.Sample = append(y.Sample, p.Device)
		}
		if after = page.Next; after.IsZero() {
			break
		}
	}
	if y.Matched > 0 {
		return y, nil
	}
	var err error
	y.Near, err = q.near(r, t, rest)
	return y, err
}

// What near looks at and keeps.
const (
	nearLook   = 20_000 // devices
	nearValues = 1000   // of one field
	nearShown  = 3
)

// near finds values that devices have in the fields that the filter compares.
func (q Query) near(r Reader, t ident.Tenant, rest func() error) ([]Near, error) {
	f, err := compiled(q.c.Selection.Filter)
	if err != nil || f == nil {
		return nil, err
	}
	have := map[string]map[string]bool{}
	for _, m := range f.Mentions() {
		have[m.Field] = map[string]bool{}
	}
	all := q.c
	all.Selection = Selection{}
	after := ident.Device{}
	for looked := 0; looked < nearLook; looked += fetchPage {
		page, err := all.Pick(r, t, after, fetchPage, true)
		if err == nil {
			err = rest()
		}
		if err != nil {
			return nil, err
		}
		for _, p := range page.Picked {
			for field, values := range have {
				for _, v := range valuesOf(p.Device, q.c.Component, field) {
					if v != "" && len(values) < nearValues {
						values[v] = true
					}
				}
			}
		}
		if after = page.Next; after.IsZero() {
			break
		}
	}
	var out []Near
	for _, m := range f.Mentions() {
		values := slices.Sorted(maps.Keys(have[m.Field]))
		if slices.Contains(values, m.Value) || m.Value == "" {
			continue
		}
		near := selector.Nearest(m.Value, values, nearShown)
		if len(near) == 0 && len(values) <= nearShown {
			near = values
		}
		out = append(out, Near{m.Field, m.Value, near})
	}
	return out, nil
}

// valuesOf are the values of a field that a filter can name, as the filter sees them.
func valuesOf(d Device, component, field string) []string {
	name, key, _ := strings.Cut(field, ".")
	if name == "version" || name == "digest" {
		key = component
	}
	img, _ := image(d.Installed, key)
	switch name {
	case "id":
		return []string{d.ID.String()}
	case "vendor":
		return []string{d.Vendor.String()}
	case "class":
		return []string{d.Class.String()}
	case "version", "versions":
		return []string{img.Version}
	case "digest", "installed":
		return []string{img.Digest.String()}
	case "labels":
		return []string{d.Labels[key]}
	case "facts":
		return []string{d.Facts[key]}
	case "groups":
		return d.Groups
	}
	return nil
}
