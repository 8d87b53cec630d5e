package badger

import (
	"bytes"
	"slices"
	"sort"
	"strings"

	kv "github.com/dgraph-io/badger/v4"
)

// entry is a written value, or a deletion.
type entry struct {
	val []byte
	del bool
}

type undo struct {
	key string
	old entry
	had bool
}

// overlay is a source with writes on top of a base: those of the batch, and, undoable, of the function that runs.
type overlay struct {
	base   source
	data   map[string]entry
	bytes  int64    // of data, about as Badger counts
	sorted []string // keys of data in order; may hold keys that were rolled back
	fresh  []string // keys written since sorted was made
	undo   []undo   // of the function that runs

	reads  map[string][]byte // values of base that were read; base does not change
	memory *memory
	fronts []frontUndo // of the function that runs

	counts  []count  // of the function that runs
	taken   []*tally // that the batch may change
	tallied int64    // what they take, in bytes

	shifts []campaignShift // of the batch
	kept   kept            // what is of functions before

	versions []uint32 // that change with the commit of the batch
}

func newOverlay(m *memory) *overlay {
	return &overlay{data: map[string]entry{}, reads: map[string][]byte{}, memory: m}
}

// reset makes o an empty overlay of base: what it has allocated serves the next batch.
func (o *overlay) reset(base source) {
	o.base = base
	clear(o.data)
	clear(o.reads)
	o.bytes, o.tallied = 0, 0
	o.sorted, o.fresh, o.undo, o.fronts = o.sorted[:0], o.fresh[:0], o.undo[:0], o.fronts[:0]
	for _, n := range o.taken {
		n.taken = false
	}
	o.taken, o.versions, o.shifts = o.taken[:0], o.versions[:0], o.shifts[:0]
	o.begin()
}

// kept says how much of an overlay's lists a rollback leaves.
type kept struct {
	shifts, taken int
	tallied       int64
}

// begin starts a function: rollback comes back to here.
func (o *overlay) begin() {
	o.undo, o.fronts, o.counts = o.undo[:0], o.fronts[:0], o.counts[:0]
	o.kept = kept{len(o.shifts), len(o.taken), o.tallied}
}

// rollback takes back everything since begin.
func (o *overlay) rollback() {
	for _, u := range slices.Backward(o.undo) {
		o.memory.forget(u.key)
		o.bytes -= cost(u.key, o.data[u.key])
		if u.had {
			o.data[u.key] = u.old
			o.bytes += cost(u.key, u.old)
		} else {
			delete(o.data, u.key)
		}
	}
	for _, u := range slices.Backward(o.fronts) {
		if u.had {
			o.memory.fronts[u.prefix] = u.old
		} else {
			delete(o.memory.fronts, u.prefix)
		}
	}
	for _, n := range o.taken[o.kept.taken:] {
		n.taken = false
	}
	o.shifts, o.taken, o.tallied = o.shifts[:o.kept.shifts], o.taken[:o.kept.taken], o.kept.tallied
	o.begin()
}

// entryCost is what Badger counts for an entry beside key and value, at most.
const entryCost = 24

// cost is at least what Badger counts for an entry.
func cost(key string, e entry) int64 { return int64(len(key) + len(e.val) + entryCost) }

// size is what the batch writes so far.
func (o *overlay) size() (bytes int64, keys int) {
	return o.bytes + o.tallied, len(o.data) + len(o.taken)
}

// put keeps val; its caller does not use it afterwards.
func (o *overlay) put(key, val []byte) {
	k := string(key)
	o.memory.forget(k)
	o.set(k, entry{val: val})
	o.written(k)
}

// replace is put of a record that its caller remembers, under the key that is returned.
func (o *overlay) replace(key, val []byte) string {
	k := string(key)
	o.set(k, entry{val: val})
	return k
}

func (o *overlay) delete(key []byte) {
	k := string(key)
	o.memory.forget(k)
	o.set(k, entry{del: true})
}

func (o *overlay) set(key string, e entry) {
	old, had := o.data[key]
	o.undo = append(o.undo, undo{key, old, had})
	if had {
		o.bytes -= cost(key, old)
	} else {
		o.fresh = append(o.fresh, key)
	}
	o.data[key] = e
	o.bytes += cost(key, e)
}

func (o *overlay) get(key []byte, fn func([]byte) error) (bool, error) {
	if e, ok := o.data[string(key)]; ok {
		if e.del {
			return false, nil
		}
		return true, fn(e.val)
	}
	if val, ok := o.reads[string(key)]; ok {
		return true, fn(val)
	}
	return o.base.get(key, func(val []byte) error {
		if len(o.reads) < maxReads && len(val) < maxReadLen {
			o.reads[string(key)] = bytes.Clone(val)
		}
		return fn(val)
	})
}

func (o *overlay) among(prefix []byte, names []string, fn func(i int, val []byte) error) error {
	var rest []string // not written
	var at []int      // their places in names
	var k []byte
	for i, name := range names {
		k = append(append(k[:0], prefix...), name...)
		e, written := o.data[string(k)]
		switch {
		case !written:
			rest, at = append(rest, name), append(at, i)
		case !e.del:
			if err := fn(i, e.val); err != nil {
				return err
			}
		}
	}
	return o.base.among(prefix, rest, func(i int, val []byte) error { return fn(at[i], val) })
}

// What a batch keeps of what it read: enough for the records that its functions share, and each function's own.
const (
	maxReads   = 4096
	maxReadLen = 4096
)

// window returns the written keys from `from` on that start with prefix, in order.
func (o *overlay) window(prefix, from []byte) []string {
	if len(o.fresh) > 0 {
		slices.Sort(o.fresh)
		o.sorted = union(o.sorted, o.fresh)
		o.fresh = o.fresh[:0]
	}
	p, f := string(prefix), string(from)
	keys := o.sorted[sort.SearchStrings(o.sorted, max(p, f)):]
	end := sort.Search(len(keys), func(i int) bool { return keys[i] > p && !strings.HasPrefix(keys[i], p) })
	return keys[:end]
}

// union merges two sorted lists into a new one without repeats.
func union(a, b []string) []string {
	out := make([]string, 0, len(a)+len(b))
	add := func(s string) {
		if n := len(out); n == 0 || out[n-1] != s {
			out = append(out, s)
		}
	}
	for len(a) > 0 && len(b) > 0 {
		if a[0] <= b[0] {
			add(a[0])
			a = a[1:]
		} else {
			add(b[0])
			b = b[1:]
		}
	}
	for _, s := range a {
		add(s)
	}
	for _, s := range b {
		add(s)
	}
	return out
}

func (o *overlay) scan(prefix, from []byte, keysOnly bool, fn func(key, val []byte) (bool, error)) error {
	if keysOnly && bytes.Equal(prefix, from) && frontPrefix(string(prefix)) == string(prefix) {
		return o.queue(prefix, fn)
	}
	return o.merge(prefix, from, keysOnly, fn)
}

// merge is scan of base and writes together.
func (o *overlay) merge(prefix, from []byte, keysOnly bool, fn func(key, val []byte) (bool, error)) error {
	keys := o.window(prefix, from)
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	more := true
	// written hands out the written keys before limit (nil: all that are left).
	written := func(limit []byte) (err error) {
		for more && err == nil && len(keys) > 0 && (limit == nil || keys[0] < string(limit)) {
			if e, ok := o.data[keys[0]]; ok && !e.del {
				more, err = fn([]byte(keys[0]), e.val)
			}
			keys = keys[1:]
		}
		return err
	}
	err := o.base.scan(prefix, from, keysOnly, func(k, v []byte) (bool, error) {
		err := written(k)
		if err != nil || !more {
			return false, err
		}
		if _, ok := o.data[string(k)]; ok {
			return true, nil // written: its turn comes with the next key
		}
		more, err = fn(k, v)
		return more, err
	})
	if err != nil || !more {
		return err
	}
	return written(nil)
}

// flush puts the writes into txn.
func (o *overlay) flush(txn *kv.Txn) error {
	for k, e := range o.data {
		var err error
		if e.del {
			err = txn.Delete([]byte(k))
		} else {
			err = txn.Set([]byte(k), e.val)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
