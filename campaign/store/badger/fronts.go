package badger

import "strings"

// maxFronts bounds the fronts that are kept: more than the states of the campaigns that run at one time.
const maxFronts = 4096

// fronts holds, for queue-like indexes (by state, by due time, in line for a permit), a key before which there is no entry. An engine takes
// entries from the front, and each leaves a deletion behind that an iterator from the start would step over: without
// fronts, taking n entries in slices costs n² steps. They belong to the committer and describe what it would read now:
// the newest commit with the overlay on top. A put in front of one moves it back, and a rollback restores it.
type fronts map[string]string

type frontUndo struct {
	prefix, old string
	had         bool
}

// frontPrefix returns the part of k that names its index, "" for a key of no such index.
func frontPrefix(k string) string {
	i := strings.IndexByte(k, 0)
	if i < 0 || i+1 >= len(k) {
		return ""
	}
	parts := 0
	switch k[i+1] {
	case kindState, kindAsking:
		parts = 2 // campaign, state or value
	case kindDue:
		parts = 1 // campaign
	default:
		return ""
	}
	i += 2
	for range parts {
		n := strings.IndexByte(k[i:], 0)
		if n < 0 {
			return ""
		}
		i += n + 1
	}
	return k[:i]
}

// behind returns the key behind all that start with prefix, which ends with 0x00.
func behind(prefix string) string { return prefix[:len(prefix)-1] + "\x01" }

// setFront moves the front of prefix.
func (o *overlay) setFront(prefix, to string) {
	old, had := o.memory.fronts[prefix]
	if had && old == to {
		return
	}
	o.fronts = append(o.fronts, frontUndo{prefix, old, had})
	if len(o.memory.fronts) >= maxFronts {
		clear(o.memory.fronts) // a front that is missing costs time only
	}
	o.memory.fronts[prefix] = to
}

// written moves the front of key's index back, if key is in front of it.
func (o *overlay) written(key string) {
	if p := frontPrefix(key); p != "" {
		if f, ok := o.memory.fronts[p]; ok && key < f {
			o.setFront(p, key)
		}
	}
}

// queue is scan of a whole index that has a front: it starts there, and learns it.
func (o *overlay) queue(prefix []byte, fn func(key, val []byte) (bool, error)) error {
	p := string(prefix)
	from := prefix
	if f, ok := o.memory.fronts[p]; ok {
		from = []byte(f)
	}
	first := behind(p)
	seen := false
	err := o.merge(prefix, from, true, func(k, v []byte) (bool, error) {
		if !seen {
			seen, first = true, string(k)
		}
		return fn(k, v)
	})
	if err == nil {
		o.setFront(p, first)
	}
	return err
}
