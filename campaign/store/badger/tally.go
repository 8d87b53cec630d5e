package badger

import (
	"fmt"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// maxTallies bounds the counts that are kept from one batch to the next.
const maxTallies = 256

// tally is a campaign's counts as they are with the batch, written once with it.
type tally struct {
	campaign.Counts
	key   string
	base  int  // what its record takes, in bytes
	size  int  // and at most with the batch
	dirty bool // it differs from the record
	taken bool // its size is in the overlay's
	gone  bool // its campaign was deleted
}

// count is what a function does to a tally, once it has succeeded.
type count struct {
	of       *tally
	reports  uint64               // more; wraps around where they are fewer
	was, now *campaign.Assignment // leaves, and comes; nil: none
	gone     bool                 // the whole record goes
}

// apply does to n what c is.
func (c count) apply(n *campaign.Counts) {
	n.Reports += c.reports
	var wasCharged, isCharged bool
	if a := c.was; a != nil {
		n.Add(a.Wave, a.State, -1)
		n.AddReason(a.State, a.Reason, -1)
		n.AddMarks(*a, -1)
		n.Permit(*a, -1)
		wasCharged = a.Charged
	}
	if a := c.now; a != nil {
		n.Add(a.Wave, a.State, 1)
		n.AddReason(a.State, a.Reason, 1)
		n.AddMarks(*a, 1)
		n.Permit(*a, 1)
		isCharged = a.Charged
	}
	n.Charge(wasCharged, isCharged)
	n.Waves = trimmed(n.Waves)
	if c.gone {
		*n = campaign.Counts{}
	}
}

// growth is at least what c adds to a record, in bytes.
func (c count) growth() int {
	n := 16
	for _, a := range []*campaign.Assignment{c.was, c.now} {
		if a != nil {
			n += 3*16 + 2*len(a.State) + len(a.Reason) + len(a.Permit.Value) + max(0, a.Wave+1-len(c.of.Waves))
		}
	}
	return n
}

// tally returns the counts of a campaign, without those of the function that runs.
func (t *tx) tally(tn ident.Tenant, c ident.Campaign) (*tally, error) {
	k := keyOf(tn, kindCounts).last(c.String())
	if n := t.ov.memory.tallies[string(k)]; n != nil {
		return n, t.usable()
	}
	n := &tally{key: string(k)}
	var err error
	n.Counts, n.base, _, err = findSized[countsRecord](&t.reader, k)
	if err != nil {
		return nil, err
	}
	n.size = n.base
	t.ov.memory.tallies[n.key] = n
	return n, nil
}

// Counts are those of the batch with those of the function that runs.
func (t *tx) Counts(tn ident.Tenant, c ident.Campaign) (campaign.Counts, error) {
	n, err := t.tally(tn, c)
	if err != nil {
		return campaign.Counts{}, err
	}
	return t.ov.counted(n), nil
}

// counted is n with what the function that runs does to it, the caller's own.
func (o *overlay) counted(n *tally) campaign.Counts {
	sum := n.Clone()
	for _, c := range o.counts {
		if c.of == n {
			c.apply(&sum)
		}
	}
	return sum
}

// count notes c. The record is written with the batch, so what it takes is reckoned now; where that may be too much for a record, it is
// measured.
func (t *tx) count(c count) error {
	o, n := t.ov, c.of
	if !n.taken {
		n.taken = true
		o.tallied += int64(len(n.key)+n.size) + entryCost
		o.taken = append(o.taken, n)
	}
	grown := c.growth()
	o.tallied += int64(grown)
	n.size += grown
	o.counts = append(o.counts, c)
	if n.size <= maxRecord/2 {
		return nil
	}
	val, err := encode(countsRecordOf(o.counted(n)))
	if err == nil && len(val) > maxRecord {
		err = fmt.Errorf("put %q: record of %d bytes: %w", n.key, len(val), ErrTooLarge)
	}
	return t.fail(err)
}

// accept makes the counts of the function that ran those of the batch.
func (o *overlay) accept() {
	for _, c := range o.counts {
		c.apply(&c.of.Counts)
		c.of.dirty, c.of.gone = true, c.gone
	}
	o.counts = o.counts[:0]
}

// settle writes the tallies of the batch, once no function follows.
func (o *overlay) settle() error {
	for _, n := range o.taken {
		n.taken, n.size = false, n.base
		if !n.dirty {
			continue
		}
		n.dirty = false
		if n.gone {
			o.delete([]byte(n.key))
			delete(o.memory.tallies, n.key)
			continue
		}
		val, err := encode(countsRecordOf(n.Counts))
		if err != nil {
			return err
		}
		n.base, n.size = len(val), len(val)
		o.put([]byte(n.key), val)
	}
	if len(o.memory.tallies) > maxTallies {
		clear(o.memory.tallies)
	}
	return nil
}

// trimmed is waves without the empty ones at its end.
func trimmed(waves []map[campaign.State]uint64) []map[campaign.State]uint64 {
	for len(waves) > 0 && len(waves[len(waves)-1]) == 0 {
		waves = waves[:len(waves)-1]
	}
	return waves
}
