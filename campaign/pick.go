package campaign

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"fleetbridge/campaign/selector"
	"fleetbridge/ident"
)

// Picked is a device that a campaign selects. Device is zero unless its record was read (Known): a device that is listed
// need not be registered, and indexes alone tell of most.
type Picked struct {
	ID     ident.Device
	Device Device
	Known  bool
}

// Picks is a page of the devices that a campaign selects.
type Picks struct {
	Picked []Picked
	Next   ident.Device // the page after this one follows it; zero: this is the last
	// Unjudged counts the devices that were left out because the filter failed on them, Unjudgeable says why it failed
	// on the first.
	Unjudged    uint64
	Unjudgeable string
}

// Pick reads the devices that c selects by their identifier, after the given one, and looks at no more than limit. With
// records, or where the filter needs them, it reads their records; else only indexes.
func (c Campaign) Pick(r Reader, t ident.Tenant, after ident.Device, limit int, records bool) (Picks, error) {
	switch {
	case len(c.Selection.Devices) > 0:
		return c.pickListed(r, t, after, limit, records)
	case !c.Selection.From.IsZero():
		return c.pickFrom(r, t, after, limit, records)
	}
	filter, err := compiled(c.Selection.Filter)
	if err != nil {
		return Picks{}, fmt.Errorf("compile filter: %w", err)
	}
	var p Picks
	var ids []ident.Device
	if ids, p.Next, err = r.Narrow(t, c.narrow(filter), after, limit); err != nil {
		return Picks{}, fmt.Errorf("list devices: %w", err)
	}
	records = records || filter != nil
	all, err := pickAll(r, t, ids, records)
	if err != nil {
		return Picks{}, err
	}
	p.Picked = all[:0]
	for _, one := range all {
		if records && !one.Known {
			return Picks{}, fmt.Errorf("read device %s, which an index has: %w", one.ID, ErrNotFound)
		}
		in, err := matches(filter, one.Device, c.Component, c.SelectAt)
		if err != nil {
			if p.Unjudged++; p.Unjudged == 1 {
				p.Unjudgeable = clip(fmt.Sprintf("%s: %v", one.ID, err))
			}
		}
		if in {
			p.Picked = append(p.Picked, one)
		}
	}
	return p, nil
}

func (c Campaign) pickListed(r Reader, t ident.Tenant, after ident.Device, limit int, records bool) (p Picks, err error) {
	list := c.Selection.Devices // sorted, each once
	if !after.IsZero() {
		i, found := slices.BinarySearchFunc(list, after.String(), func(d ident.Device, s string) int { return cmp.Compare(d.String(), s) })
		if list = list[i:]; found {
			list = list[1:]
		}
	}
	if len(list) > limit {
		list = list[:limit]
		p.Next = list[limit-1]
	}
	p.Picked, err = pickAll(r, t, list, records)
	return p, err
}

// pickAll picks devices that are in order, and that need not be registered.
func pickAll(r Reader, t ident.Tenant, ids []ident.Device, records bool) ([]Picked, error) {
	var found []Device
	if records {
		var err error
		if found, err = r.DevicesOf(t, ids); err != nil {
			return nil, fmt.Errorf("read devices: %w", err)
		}
	}
	picked := make([]Picked, len(ids))
	for i, id := range ids {
		if picked[i].ID = id; records {
			picked[i].Device, picked[i].Known = found[i], !found[i].ID.IsZero()
		}
	}
	return picked, nil
}

// Selects says whether c, which neither lists devices nor takes another campaign's, selects a registered device at a moment. With an error it does not: the
// filter failed on the device, or is none.
func (c Campaign) Selects(d Device, at time.Time) (bool, error) {
	if !c.eligible(d) {
		return false, nil
	}
	for k, v := range c.Selection.Labels {
		if have, ok := d.Labels[k]; !ok || have != v {
			return false, nil
		}
	}
	f, err := compiled(c.Selection.Filter)
	if err != nil {
		return false, err
	}
	return matches(f, d, c.Component, at)
}

// narrow is what of c's selection the store's indexes can answer.
func (c Campaign) narrow(f *selector.Filter) Narrow {
	n := Narrow{Vendor: c.Vendor, Class: c.Class, Labels: c.Selection.Labels}
	return n.by(f)
}

// by is n with what a filter wants of every device. Where n wants another value of a label, the filter will say so.
func (n Narrow) by(f *selector.Filter) Narrow {
	if f == nil {
		return n
	}
	labels := maps.Clone(f.Labels())
	maps.Copy(labels, n.Labels)
	n.Labels, n.Groups = labels, f.Groups()
	return n
}

// matches asks a filter, nil for one that all pass, about d at a moment.
func matches(f *selector.Filter, d Device, component string, at time.Time) (bool, error) {
	if f == nil {
		return true, nil
	}
	s := selector.Device{
		ID: d.ID, Vendor: d.Vendor, Class: d.Class, Component: component, Boot: d.Boot, LastSeen: d.LastSeen,
		Labels: d.Labels, Facts: d.Facts, Groups: d.Groups, Installed: make([]selector.Image, len(d.Installed)),
	}
	for i, img := range d.Installed {
		s.Installed[i] = selector.Image{Component: img.Component, Digest: img.Digest, Version: img.Version}
	}
	return f.Match(s, at)
}

// maxCompiled bounds the filters that are kept compiled.
const maxCompiled = 256

// filters keeps filters compiled by their text. What a text compiles to never changes, so it is no state of any rule.
var filters struct {
	sync.Mutex
	by map[string]*selector.Filter
}

// compiled compiles a filter once; nil for "".
func compiled(text string) (*selector.Filter, error) {
	if text == "" {
		return nil, nil
	}
	filters.Lock()
	f, ok := filters.by[text]
	filters.Unlock()
	if ok {
		return f, nil
	}
	f, err := selector.Compile(text)
	if err != nil {
		return nil, err
	}
	filters.Lock()
	defer filters.Unlock()
	if filters.by == nil || len(filters.by) >= maxCompiled {
		filters.by = map[string]*selector.Filter{}
	}
	filters.by[text] = f
	return f, nil
}
