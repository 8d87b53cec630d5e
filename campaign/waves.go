package campaign

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"math"
	"slices"
	"time"

	"fleetbridge/ident"
)

// MaxStrata bounds the values of the label that a first wave covers.
const MaxStrata = 256

// layout gathers what fixes a campaign's waves, device by device in the order of their identifiers.
type layout struct {
	c      Campaign
	orders []uint64          // of the devices that no filter puts into a wave
	fixed  int               // how many a filter does
	least  map[string]uint64 // the lowest order of each value of the label that the first wave covers
	sum    hash.Hash         // over the seed, manifest and policy, then over each device
	entry  []byte
}

func newLayout(c Campaign) (*layout, error) {
	l := &layout{c: c, least: map[string]uint64{}, sum: sha256.New()}
	policy, err := canonical(c.Policy)
	if err != nil {
		return nil, fmt.Errorf("hash policy: %w", err)
	}
	head := append([]byte("fleetbridge campaign plan 1\x00"), c.Seed[:]...)
	head = append(head, c.Manifest[:]...)
	head = binary.BigEndian.AppendUint32(head, uint32(len(policy)))
	l.write(append(head, policy...))
	return l, nil
}

func (l *layout) write(b []byte) {
	_, _ = l.sum.Write(b) // a hash never fails
}

// add takes the next device that is to be offered the manifest. What it returns is its order, and the wave that a filter
// puts it into, -1 if none does.
func (l *layout) add(d Device) (o uint64, wave int) {
	o, wave = order(l.c.Seed, d.ID), l.c.filtered(d)
	stratum := ""
	switch {
	case wave >= 0:
		l.fixed++
	case l.c.Policy.Stratify != "":
		stratum = d.label(l.c.Policy.Stratify)
		if was, ok := l.least[stratum]; !ok && len(l.least) <= MaxStrata || ok && o < was {
			l.least[stratum] = o
		}
	}
	if wave < 0 {
		l.orders = append(l.orders, o)
	}
	// The order follows from the seed and the name, so hashing by name pins it.
	l.entry = appendText(appendText(append(l.entry[:0], byte(wave+1)), d.ID.String()), stratum)
	l.write(l.entry)
	return o, wave
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// laid is where a campaign's waves end.
type laid struct {
	bounds []uint64
	first  []uint64 // orders of the first wave that are beyond its bound
	digest ident.Digest
}

// done fixes the waves. The error is for people: why the waves can't be laid out.
func (l *layout) done() (laid, error) {
	if len(l.least) > MaxStrata {
		return laid{}, fmt.Errorf("more than %d values of label %s, the first wave can't cover them", MaxStrata, l.c.Policy.Stratify)
	}
	slices.Sort(l.orders)
	var out laid
	out.bounds, out.first = bounds(l.c.Policy.Waves, l.orders, l.fixed, slices.Sorted(maps.Values(l.least)))
	l.sum.Sum(out.digest[:0])
	return out, nil
}

// bounds cuts sorted orders into waves: wave i takes the orders up to bounds[i] that an earlier wave did not take, and
// the first one also those of first. A percent is rounded up, so that a canary of 1 % of 50 devices is one device; it
// is a share of the fixed devices too, which a filter puts into a wave. The last wave takes the rest. The orders in must
// are in the first wave, which grows beyond its size if it has to.
func bounds(waves []Wave, orders []uint64, fixed int, must []uint64) (out, first []uint64) {
	out = make([]uint64, len(waves))
	taken := 0
	for i, w := range waves {
		n := w.Count
		if w.Percent != 0 {
			n = int(math.Ceil(float64(len(orders)+fixed)*w.Percent/100 - 1e-9))
		}
		if i == 0 && len(must) > 0 {
			n = covering(n, orders, must)
			if n > 0 {
				out[0] = orders[n-1]
			}
			in := func(o uint64) bool { return o <= out[0] }
			first = slices.DeleteFunc(slices.Clone(must), in)
			orders = slices.DeleteFunc(slices.Clone(orders), func(o uint64) bool {
				_, is := slices.BinarySearch(first, o)
				return is
			})
			fixed += len(first)
		}
		taken = min(taken+n, len(orders))
		if taken > 0 { // orders begin at 1, so a bound of 0 takes nobody
			out[i] = orders[taken-1]
		}
	}
	out[len(out)-1] = math.MaxUint64
	return out, first
}

// covering is how many of the lowest orders are in a wave of n that holds all of must.
func covering(n int, orders, must []uint64) (taken int) {
	left := n - len(must) // those of must that are among the lowest cost nothing more
	inside := 0
	for _, o := range orders {
		switch {
		case inside < len(must) && o == must[inside]:
			inside++
		case left > 0:
			left--
		default:
			return taken
		}
		taken++
	}
	return taken
}

// waveOf is the first wave whose bound takes the order.
func (c Campaign) waveOf(order uint64) int {
	if _, first := slices.BinarySearch(c.First, order); first {
		return 0
	}
	i, _ := slices.BinarySearch(c.Bounds, order)
	return min(i, max(len(c.Bounds)-1, 0))
}

// waveFor is the wave of a device: the one that a filter puts it into, else by its order.
func (c Campaign) waveFor(d Device, order uint64) int {
	if w := c.filtered(d); w >= 0 {
		return w
	}
	return c.waveOf(order)
}

// filtered is the first wave whose filter d passes, -1 if there is none. A filter that fails on d does not take it.
func (c Campaign) filtered(d Device) int {
	for i, w := range c.Policy.Waves {
		if w.Filter == "" {
			continue
		}
		f, err := compiled(w.Filter)
		if err != nil {
			continue // of a newer version's store
		}
		if in, err := matches(f, d, c.Component, c.SelectAt); err == nil && in {
			return i
		}
	}
	return -1
}

// label is the value of a label as people see it: what operators set, else what the device says; "" if there is none.
func (d Device) label(name string) string {
	if v, ok := d.Labels[name]; ok {
		return v
	}
	return d.Facts[name]
}

// canonical is a policy as text that the same policy always gives: members that are zero are left out, so that members
// which come with a later version change nothing.
func canonical(p Policy) ([]byte, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(pruned(v))
}

// pruned is v without what is zero; nil if nothing is left. Elements of lists stay in their places.
func pruned(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if e = pruned(e); e == nil {
				delete(v, k)
			} else {
				v[k] = e
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		for i := range v {
			v[i] = pruned(v[i])
		}
		if len(v) == 0 {
			return nil
		}
	case json.Number:
		if v == "0" {
			return nil
		}
	case string:
		if v == "" || v == (time.Time{}).Format(time.RFC3339Nano) {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return v
}
