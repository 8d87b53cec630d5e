package campaign

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"fleetbridge/ident"
)

// Plan is what would run if a campaign started now. The same seed, manifest, policy and devices give the same Digest, in
// whatever store; what only delays a device (Busy) or may pass by (Poisoned, Unseen) is no part of it.
type Plan struct {
	Campaign Campaign
	Digest   ident.Digest
	At       time.Time
	Devices  int   // that are to be offered the manifest
	Waves    []int // how many of them in each wave
	Excluded []Exclusion
	Busy     []Blocked // held by other campaigns: these wait for them
	Poisoned int       // of Devices, those that will be skipped because the payload failed there too often
	Unseen   int       // of Devices, those not heard of within the deadline for an offer
	// Unjudged counts the devices that were left out because the filter failed on them, Unjudgeable says why it failed
	// on the first.
	Unjudged    uint64
	Unjudgeable string
	Refused     string // why it would be refused; "": it would not
	order       []planned
}

// Exclusion is a reason for which selected devices are skipped, and the first of them.
type Exclusion struct {
	Reason   string
	Devices  int
	Examples []ident.Device // at most maxExamples
}

// Blocked says how many devices another campaign holds.
type Blocked struct {
	Campaign ident.Campaign
	Devices  int
}

const maxExamples = 3

// Planned is a device's place in a plan.
type Planned struct {
	Device ident.Device
	Wave   int    // from 0
	Order  uint64 // place within the wave
	Note   string // what is known to be in its way: ReasonPoisoned or WhyBusy; "": nothing
}

// planned is a Planned in little room.
type planned struct {
	order uint64
	id    ident.Device
	wave  int8 // -1: by its order
	note  byte
}

var planNotes = [...]string{"", ReasonPoisoned, WhyBusy}

// MakePlan says what would run if the campaign started at now; it changes nothing. It reads the whole selection, which
// may take seconds, so it belongs into a View; it keeps about 50 bytes per device. A campaign that has started gives
// ErrPhase, one that is not there a *NotFoundError.
func MakePlan(r Reader, now time.Time, t ident.Tenant, id ident.Campaign) (Plan, error) {
	c, err := r.Campaign(t, id)
	if err != nil {
		return Plan{}, missing(err, "campaign", id)
	}
	if c.Phase != Draft && c.Phase != AwaitingApproval {
		return Plan{}, fmt.Errorf("campaign %s is %s, only one that has not started has a plan: %w", id, c.Phase, ErrPhase)
	}
	c.SelectAt = now
	l, err := newLayout(c)
	if err != nil {
		return Plan{}, err
	}
	p := planner{Plan: Plan{Campaign: c, At: now}, r: r, t: t, layout: l}
	if p.Unjudged, p.Unjudgeable, err = c.visit(r, t, p.see); err != nil {
		return Plan{}, fmt.Errorf("plan campaign %s: %w", id, err)
	}
	return p.finish(), nil
}

type planner struct {
	Plan
	r      Reader
	t      ident.Tenant
	layout *layout
}

// see takes the next devices of the selection.
func (p *planner) see(page []Picked) error {
	in := page[:0]
	for _, d := range page {
		if why := p.Campaign.skip(d); why != "" {
			p.exclude(d.ID, why)
			continue
		}
		in = append(in, d)
	}
	ids := make([]ident.Device, len(in))
	for i, d := range in {
		ids[i] = d.ID
	}
	works, err := p.r.WorksOf(p.t, ids)
	if err != nil {
		return fmt.Errorf("read work: %w", err)
	}
	for i, d := range in {
		p.place(d.Device, works[i])
	}
	return nil
}

// place gives a device its place, and notes what its work puts in its way.
func (p *planner) place(d Device, w Work) {
	o, wave := p.layout.add(d)
	one := planned{order: o, id: d.ID, wave: int8(wave)}
	switch i := slices.IndexFunc(w.Live, func(l Live) bool { return l.Component == p.Campaign.Component }); {
	case p.Campaign.Poisons(w):
		one.note = 1
		p.Poisoned++
	case i >= 0:
		one.note = 2
		p.block(w.Live[i].Campaign)
	}
	if d.LastSeen.Before(p.At.Add(-p.Campaign.Policy.Deadlines[Offered])) {
		p.Unseen++
	}
	p.order = append(p.order, one)
}

func (p *planner) exclude(d ident.Device, why string) {
	i := slices.IndexFunc(p.Excluded, func(e Exclusion) bool { return e.Reason == why })
	if i < 0 {
		p.Excluded, i = append(p.Excluded, Exclusion{Reason: why}), len(p.Excluded)
	}
	e := &p.Excluded[i]
	if e.Devices++; len(e.Examples) < maxExamples {
		e.Examples = append(e.Examples, d)
	}
}

// block counts a device that another campaign holds. A component has one holder per device, and a tenant few campaigns
// that run at a time.
func (p *planner) block(by ident.Campaign) {
	i := slices.IndexFunc(p.Busy, func(b Blocked) bool { return b.Campaign == by })
	if i < 0 {
		p.Busy, i = append(p.Busy, Blocked{Campaign: by}), len(p.Busy)
	}
	p.Busy[i].Devices++
}

func (p *planner) finish() Plan {
	laid, err := p.layout.done()
	switch {
	case err != nil:
		p.Refused = err.Error()
		return p.Plan
	case len(p.order) == 0 && len(p.Excluded) == 0 && p.Campaign.Policy.Membership != Continuous:
		p.Refused = nobody(Fetched{unjudged: p.Unjudged, unjudgeable: p.Unjudgeable})
	}
	c := p.Campaign
	c.Bounds, c.First = laid.bounds, laid.first
	p.Waves = make([]int, len(laid.bounds))
	for i := range p.order {
		d := &p.order[i]
		if d.wave < 0 {
			d.wave = int8(c.waveOf(d.order))
		}
		p.Waves[d.wave]++
	}
	slices.SortFunc(p.order, func(a, b planned) int { return comparePlaces(a.place(), b.place()) })
	p.Digest, p.Devices = laid.digest, len(p.order)
	return p.Plan
}

func (d planned) place() Place { return Place{int(d.wave), d.order, d.id} }

func comparePlaces(a, b Place) int {
	return cmp.Or(cmp.Compare(a.Wave, b.Wave), cmp.Compare(a.Order, b.Order), cmp.Compare(a.Device.String(), b.Device.String()))
}

// Page lists the devices of p in the order in which they are offered the manifest, after a place, at most limit of them.
func (p Plan) Page(after Place, limit int) []Planned {
	i, found := slices.BinarySearchFunc(p.order, after, func(d planned, at Place) int { return comparePlaces(d.place(), at) })
	if found {
		i++
	}
	list := p.order[i:]
	var out []Planned
	for _, d := range list[:min(limit, len(list))] {
		out = append(out, Planned{d.id, int(d.wave), d.order, planNotes[d.note]})
	}
	return out
}

// Bytes is what the devices of p download at most: one with a delta for what it holds takes less.
func (p Plan) Bytes() int64 { return int64(p.Devices) * p.Campaign.Size }
