package badger

import (
	"bytes"
	"fmt"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

const (
	// slowWalk is when a View's walk over an index by state took long enough to make a stateSet of it. What has left a state
	// stays in the index as a deletion until Badger compacts it away, so that a walk may pass many and find few.
	slowWalk = 10 * time.Millisecond
	// maxHeld bounds the assignments of all sets together, at up to 40 bytes each.
	maxHeld = maxRoster
)

// campaignShift is a shift in the index of a campaign, named as by setName.
type campaignShift struct {
	campaign string
	shift
}

// setName names a campaign's set: what the keys of its index by state start with.
func setName(t ident.Tenant, c ident.Campaign) key { return keyOf(t, kindState).part(c.String()) }

// shift notes what a put or a deletion does to the index by state; nil is no assignment.
func (t *tx) shift(tn ident.Tenant, c ident.Campaign, old, a *campaign.Assignment) {
	was, wasThere := listedAs(old)
	is, isThere := listedAs(a)
	if wasThere == isThere && was == is {
		return
	}
	name := string(setName(tn, c))
	if wasThere {
		t.ov.shifts = append(t.ov.shifts, campaignShift{name, shift{was, false}})
	}
	if isThere {
		t.ov.shifts = append(t.ov.shifts, campaignShift{name, shift{is, true}})
	}
}

// listedAs is a's entry in the index by state, if it has one.
func listedAs(a *campaign.Assignment) (listed, bool) {
	if a == nil || !inState(*a) {
		return listed{}, false
	}
	return listed{a.Place(), a.State}, true
}

// build is a set in the making: commits that come meanwhile leave their shifts.
type build struct {
	shifts []shift
	lost   bool // there were too many
}

func (b *build) note(list []shift) {
	if b.lost = b.lost || len(b.shifts)+len(list) > maxRoster; b.lost {
		b.shifts = nil
		return
	}
	b.shifts = append(b.shifts, list...)
}

// begin allows one caller to make the set of a campaign, from the newest commit, which it gives back.
func (p *published) begin(campaign string) *pin {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.builds[campaign] != nil || p.newest.sets[campaign] != nil {
		return nil
	}
	p.builds[campaign] = &build{}
	p.newest.users++
	return p.newest
}

// end holds the set that was made, nil for none, as of the newest commit. Where it does not fit, the others go.
func (p *published) end(campaign string, s *stateSet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.builds[campaign]
	delete(p.builds, campaign)
	if s == nil || b.lost {
		return
	}
	sum := s.roster.len()
	for _, other := range p.newest.sets {
		sum += other.roster.len()
	}
	if sum > maxHeld {
		p.newest.sets = nil
	}
	p.made++
	p.hold(campaign, s.apply(b.shifts))
}

// walk reads the whole index by state of a campaign.
func (r *reader) walk(t ident.Tenant, c ident.Campaign, fn func(listed) error) error {
	if err := r.usable(); err != nil {
		return err
	}
	prefix := setName(t, c)
	states := map[string]campaign.State{}
	n := 0
	err := r.src.scan(prefix, prefix, true, func(k, _ []byte) (bool, error) {
		if n++; n%1024 == 0 {
			if err := r.usable(); err != nil {
				return false, err
			}
		}
		state, rest, _ := bytes.Cut(k[len(prefix):], []byte{0})
		if len(state) == 0 {
			return true, nil // of the unpaid, see unpaidPrefix
		}
		p, err := parsePlace(rest)
		if err != nil {
			return false, err
		}
		s, ok := states[string(state)]
		if !ok {
			s = campaign.State(state)
			states[string(state)] = s
		}
		return true, fn(listed{p, s})
	})
	if err != nil {
		return fmt.Errorf("read index of campaign %s: %w", c, err)
	}
	return nil
}

func (r *reader) StateIndex(t ident.Tenant, c ident.Campaign) (campaign.StateIndex, error) {
	x := campaign.StateIndex{Entries: map[campaign.State]int{}}
	err := r.walk(t, c, func(e listed) error { x.Entries[e.state]++; return nil })
	if set := r.sets[string(setName(t, c))]; set != nil && err == nil {
		x.Kept = set.counts()
	}
	return x, err
}

// makeSet makes the set of a campaign for the Views to come, unless somebody does. It keeps about 150 bytes per assignment
// while it does so.
func (r *reader) makeSet(t ident.Tenant, c ident.Campaign) error {
	name := string(setName(t, c))
	from := r.shown.begin(name)
	if from == nil {
		return nil
	}
	defer r.shown.give(from)
	var made *stateSet
	defer func() { r.shown.end(name, made) }()
	newest := &reader{src: from, ctx: r.ctx}
	var all []listed
	err := newest.walk(t, c, func(e listed) error { all = append(all, e); return nil })
	if err == nil {
		made = fill(all)
	}
	return err
}
