package badger

import (
	"cmp"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"fleetbridge/campaign"
)

// stateSet is the index by state of one campaign as of one commit, in memory: a bitmap over the roster for each state.
// It never changes: apply makes the next one, which shares what stayed the same.
type stateSet struct {
	roster *roster
	in     map[campaign.State]*roaring.Bitmap
	late   []listed // those that came after the roster was made, by place
}

// listed is an entry of the index by state.
type listed struct {
	place campaign.Place
	state campaign.State
}

// shift is a change of the index by state: an entry that came, or went.
type shift struct {
	listed
	there bool
}

// maxLate bounds the entries beside a roster: more of them make a new one worth its while.
const maxLate = 1024

func newStateSet() *stateSet {
	return &stateSet{roster: &roster{}, in: map[campaign.State]*roaring.Bitmap{}}
}

// fill puts the entries, in whatever order, into a new set; nil if they are more than a roster holds.
func fill(all []listed) *stateSet {
	if len(all) > maxRoster {
		return nil
	}
	slices.SortFunc(all, func(a, b listed) int { return comparePlaces(a.place, b.place) })
	s := newStateSet()
	for i, e := range all {
		s.roster.add(e.place)
		s.bitmap(e.state).Add(uint32(i))
	}
	return s
}

func (s *stateSet) bitmap(st campaign.State) *roaring.Bitmap {
	b := s.in[st]
	if b == nil {
		b = roaring.New()
		b.SetCopyOnWrite(true)
		s.in[st] = b
	}
	return b
}

// apply returns the set after the shifts; nil if it has grown beyond its roster.
func (s *stateSet) apply(shifts []shift) *stateSet {
	next := &stateSet{roster: s.roster, in: make(map[campaign.State]*roaring.Bitmap, len(s.in)), late: slices.Clone(s.late)}
	for st, b := range s.in {
		next.in[st] = b
	}
	own := map[campaign.State]bool{}
	for _, c := range shifts {
		n, is := s.roster.find(c.place)
		if !is {
			if !next.shiftLate(c) {
				return nil
			}
			continue
		}
		if !own[c.state] {
			own[c.state] = true
			next.in[c.state] = next.bitmap(c.state).Clone() // copies no container before it is written to
		}
		if b := next.in[c.state]; c.there {
			b.Add(uint32(n))
		} else {
			b.Remove(uint32(n))
		}
	}
	return next
}

func (s *stateSet) shiftLate(c shift) bool {
	i, is := slices.BinarySearchFunc(s.late, c.listed, func(a, b listed) int {
		if d := comparePlaces(a.place, b.place); d != 0 {
			return d
		}
		return cmp.Compare(a.state, b.state)
	})
	switch {
	case c.there && !is:
		s.late = slices.Insert(s.late, i, c.listed)
	case !c.there && is:
		s.late = slices.Delete(s.late, i, i+1)
	}
	return len(s.late) <= maxLate
}

// page lists the devices in a state by their place, after the given one, at most limit.
func (s *stateSet) page(st campaign.State, after campaign.Place, limit int) (names []string, err error) {
	after.Wave = min(max(after.Wave, 0), maxWave)
	late := s.late
	if after != (campaign.Place{}) {
		i, _ := slices.BinarySearchFunc(late, after, func(a listed, b campaign.Place) int { return comparePlaces(a.place, b) })
		for i < len(late) && late[i].place == after {
			i++
		}
		late = late[i:]
	}
	// hand adds the late ones before p (nil: all), and says whether there is room for more.
	hand := func(p *campaign.Place) bool {
		for len(late) > 0 && len(names) < limit && (p == nil || comparePlaces(late[0].place, *p) < 0) {
			if late[0].state == st {
				names = append(names, late[0].place.Device.String())
			}
			late = late[1:]
		}
		return len(names) < limit
	}
	if b := s.in[st]; b != nil {
		from := 0
		if after != (campaign.Place{}) {
			var is bool
			if from, is = s.roster.find(after); is {
				from++
			}
		}
		it := b.Iterator()
		for it.AdvanceIfNeeded(uint32(from)); it.HasNext(); {
			n := int(it.Next())
			if len(late) > 0 {
				p, err := s.roster.place(n)
				if err != nil {
					return nil, err
				}
				hand(&p)
			}
			if len(names) >= limit {
				return names, nil
			}
			names = append(names, s.roster.name(n))
		}
	}
	hand(nil)
	return names, nil
}

func (s *stateSet) empty() bool {
	for _, b := range s.in {
		if !b.IsEmpty() {
			return false
		}
	}
	return len(s.late) == 0
}

// counts is how many there are in each state.
func (s *stateSet) counts() map[campaign.State]int {
	n := map[campaign.State]int{}
	for st, b := range s.in {
		n[st] = int(b.GetCardinality())
	}
	for _, e := range s.late {
		n[e.state]++
	}
	return n
}
