package badger

import (
	"cmp"
	"fmt"
	"sort"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// roster numbers the assignments of a campaign by their place, so that a bitmap can speak of them. It never changes, and
// takes 12 bytes and the name per device.
type roster struct {
	waves  []uint32 // where each wave begins; the last ends with the roster
	orders []uint64
	ends   []uint32 // where the name of each ends in names
	names  []byte
}

// maxRoster bounds a roster, in assignments; a larger campaign goes without bitmaps.
const maxRoster = 4 << 20

func (r *roster) len() int { return len(r.orders) }

// add takes the next by place.
func (r *roster) add(p campaign.Place) {
	for len(r.waves) <= p.Wave {
		r.waves = append(r.waves, uint32(len(r.orders)))
	}
	r.orders = append(r.orders, p.Order)
	r.names = append(r.names, p.Device.String()...)
	r.ends = append(r.ends, uint32(len(r.names)))
}

func (r *roster) name(i int) string {
	from := uint32(0)
	if i > 0 {
		from = r.ends[i-1]
	}
	return string(r.names[from:r.ends[i]])
}

// wave returns the range of a wave.
func (r *roster) wave(w int) (from, to int) {
	bound := func(w int) int {
		if w < len(r.waves) {
			return int(r.waves[w])
		}
		return len(r.orders)
	}
	return bound(w), bound(w + 1)
}

// find returns the first number whose place is not before p, and whether its place is p.
func (r *roster) find(p campaign.Place) (n int, is bool) {
	from, to := r.wave(p.Wave)
	name := p.Device.String()
	n = from + sort.Search(to-from, func(i int) bool {
		i += from
		return r.orders[i] > p.Order || r.orders[i] == p.Order && r.name(i) >= name
	})
	return n, n < to && r.orders[n] == p.Order && r.name(n) == name
}

// place returns the place of number n.
func (r *roster) place(n int) (campaign.Place, error) {
	d, err := ident.ParseDevice(r.name(n))
	if err != nil {
		return campaign.Place{}, fmt.Errorf("%w: %w", errRecord, err)
	}
	w := sort.Search(len(r.waves), func(w int) bool { return int(r.waves[w]) > n }) - 1
	return campaign.Place{Wave: w, Order: r.orders[n], Device: d}, nil
}

func comparePlaces(a, b campaign.Place) int {
	return cmp.Or(cmp.Compare(a.Wave, b.Wave), cmp.Compare(a.Order, b.Order), cmp.Compare(a.Device.String(), b.Device.String()))
}
