package egress

import "container/heap"

// level orders tenants, or the devices of one, by their tags. The zero value is empty. Who has nothing waiting stays until its tag
// is the lowest: then the others have got as much, and there is nothing to remember.
type level[K comparable, V any] struct {
	places heapOf[K, V]
	by     map[K]*place[K, V]
	clock  uint64 // tag of the last that was charged, from which a new one starts
	orders uint64
}

type place[K comparable, V any] struct {
	key   K
	value V
	tag   uint64 // bytes, from the level's beginning
	order uint64 // of two with the same tag the one that was not served for longer is first
	at    int    // in the heap
}

// of returns k's place, a new one if there is none.
func (l *level[K, V]) of(k K) *place[K, V] {
	if p := l.by[k]; p != nil {
		return p
	}
	if l.by == nil {
		l.by = map[K]*place[K, V]{}
	}
	l.orders++
	p := &place[K, V]{key: k, tag: l.clock, order: l.orders}
	l.by[k] = p
	heap.Push(&l.places, p)
	return p
}

// first returns the place with the lowest tag of those with something waiting, of which there is one; those before it are
// forgotten.
func (l *level[K, V]) first(waits func(*V) bool) *place[K, V] {
	for {
		p := l.places[0]
		if waits(&p.value) {
			return p
		}
		heap.Pop(&l.places)
		delete(l.by, p.key)
	}
}

// charge moves p, the first, back by n bytes.
func (l *level[K, V]) charge(p *place[K, V], n int) {
	l.orders++
	l.clock = p.tag
	p.tag, p.order = p.tag+uint64(n), l.orders
	heap.Fix(&l.places, p.at)
}

type heapOf[K comparable, V any] []*place[K, V]

func (h heapOf[K, V]) Len() int { return len(h) }

func (h heapOf[K, V]) Less(i, j int) bool {
	if h[i].tag != h[j].tag {
		return h[i].tag < h[j].tag
	}
	return h[i].order < h[j].order
}

func (h heapOf[K, V]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push is heap.Interface's.
func (h *heapOf[K, V]) Push(p any) {
	e := p.(*place[K, V])
	e.at = len(*h)
	*h = append(*h, e)
}

// Pop is heap.Interface's.
func (h *heapOf[K, V]) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return p
}
