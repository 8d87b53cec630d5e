package httpapi

import (
	"sync"

	"fleetbridge/topics"
)

// transfers bounds how many run at once, in all and of one principal. Safe for concurrent use.
type transfers struct {
	all, own int

	mu  sync.Mutex
	sum int
	by  map[topics.Principal]int
}

func newTransfers(all, own int) *transfers {
	return &transfers{all: all, own: own, by: map[topics.Principal]int{}}
}

// enter takes a place, which leave gives back; false means that there is none.
func (t *transfers) enter(p topics.Principal) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sum >= t.all || t.by[p] >= t.own {
		return false
	}
	t.sum++
	t.by[p]++
	return true
}

func (t *transfers) leave(p topics.Principal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum--
	if t.by[p]--; t.by[p] == 0 {
		delete(t.by, p)
	}
}
