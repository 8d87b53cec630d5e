package campaign

import (
	"cmp"
	"errors"
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
	for _, id := range ids {
		one := Picked{ID: id}
		if records || filter != nil {
			if one.Device, err = r.Device(t, id); err != nil {
				return Picks{}, fmt.Errorf("read device: %w", err)
			}
			one.Known = true
		}
		in, err := matches(filter, one.Device, c.Component, c.SelectAt)
		if err != nil {
			if p.Unjudged++; p.Unjudged == 1 {
				p.Unjudgeable = clip(fmt.Sprintf("%s: %v", id, err))
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
	more := len(list) > limit
	for _, id := range list[:min(limit, len(list))] {
		one, err := pickOne(r, t, id, records)
		if err != nil {
			return Picks{}, err
		}
		p.Picked = append(p.Picked, one)
		if more {
			p.Next = id
		}
	}
	return p, nil
}

// pickOne picks a device that need not be registered.
func pickOne(r Reader, t ident.Tenant, id ident.Device, record bool) (one Picked, err error) {
	if one.ID = id; !record {
		return one, nil
	}
	switch one.Device, err = r.Device(t, id); {
	case err == nil:
		one.Known = true
	case !errors.Is(err, ErrNotFound):
		return one, fmt.Errorf("read device: %w", err)
	}
	return one, nil
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

// fetchPage is how many entries of the registry are looked at at a time.
const fetchPage = 1000

// Fetched is what Fetch found.
type Fetched struct {
	revision    uint64 // of the campaign as it was read
	selected    int
	laid        laid
	refuse      string // why the waves can't be laid out
	unjudged    uint64
	unjudgeable string
}

// Fetch reads the whole selection of a campaign whose step is DeviceFetch, which may take seconds and belongs into a
// View, and keeps 8 bytes per device. Only devices that are to be offered the manifest make waves: the others are
// skipped, and a wave of skipped devices would be a canary that proves nothing. Freeze commits what it found. The error is a *NotFoundError for a campaign that is
// gone.
func Fetch(r Reader, t ident.Tenant, id ident.Campaign) (Fetched, error) {
	c, err := r.Campaign(t, id)
	if err != nil {
		return Fetched{}, missing(err, "campaign", id)
	}
	f := Fetched{revision: c.Revision}
	if c.Phase != Starting || c.Step != DeviceFetch {
		return f, nil // Freeze will see the same
	}
	l, err := newLayout(c)
	if err != nil {
		return Fetched{}, err
	}
	f.unjudged, f.unjudgeable, err = c.visit(r, t, func(p Picked, why string) error {
		f.selected++
		if why == "" {
			l.add(p.Device)
		}
		return nil
	})
	if err != nil {
		return Fetched{}, fmt.Errorf("fetch devices of campaign %s: %w", id, err)
	}
	if f.laid, err = l.done(); err != nil {
		f.refuse = err.Error()
	}
	return f, nil
}

// visit calls see for each device that c selects, by identifier, with the reason to skip it, "" if it is to be offered
// the manifest. It counts those that the filter failed on, and says why on the first.
func (c Campaign) visit(r Reader, t ident.Tenant, see func(p Picked, why string) error) (unjudged uint64, unjudgeable string, err error) {
	for after := (ident.Device{}); ; {
		page, err := c.Pick(r, t, after, fetchPage, true)
		if err != nil {
			return 0, "", err
		}
		for _, p := range page.Picked {
			why := ReasonNotRegistered
			if p.Known {
				why = c.whyNot(p.Device)
			}
			if err := see(p, why); err != nil {
				return 0, "", err
			}
		}
		if unjudged == 0 {
			unjudgeable = page.Unjudgeable
		}
		unjudged += page.Unjudged
		if after = page.Next; after.IsZero() {
			return unjudged, unjudgeable, nil
		}
	}
}

// Freeze fixes the waves of a campaign by what Fetch found. If the campaign has moved since, it changes nothing, and the
// Wake says what to do now. Errors are those of Advance.
func Freeze(tx Tx, now time.Time, t ident.Tenant, id ident.Campaign, f Fetched) (Result, Wake, error) {
	c, err := tx.Campaign(t, id)
	if err != nil {
		return Result{}, Wake{}, missing(err, "campaign", id)
	}
	e := &engine{desk: desk{tx: tx, t: t, now: now}, c: c}
	if c.Revision != f.revision || c.Phase != Starting || c.Step != DeviceFetch {
		return Result{}, Wake{Again: c.Phase.Running()}, nil
	}
	e.c.Unjudged, e.c.Unjudgeable = f.unjudged, f.unjudgeable
	switch {
	case f.selected == 0 && c.Policy.Membership != Continuous:
		err = e.c.end(now, Refused, nobody(f))
	case f.refuse != "":
		err = e.c.end(now, Refused, f.refuse)
	case !c.Plan.IsZero() && c.Plan != f.laid.digest:
		err = e.c.end(now, Refused, fmt.Sprintf("the plan has changed: agreed on %s, now %s", c.Plan, f.laid.digest))
	default:
		e.c.Bounds, e.c.First, e.c.Cursor = f.laid.bounds, f.laid.first, ident.Device{}
		e.c.at(DeviceCopy)
	}
	if err != nil {
		return Result{}, Wake{}, fmt.Errorf("freeze campaign %s: %w", id, err)
	}
	return e.close(c)
}

// nobody says why nobody is selected.
func nobody(f Fetched) string {
	if f.unjudged == 0 {
		return "no device matches the selection"
	}
	return fmt.Sprintf("no device matches the selection; the filter failed on %d, such as %s", f.unjudged, f.unjudgeable)
}
