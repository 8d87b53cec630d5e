package badger

import (
	"maps"
	"sync"
	"time"

	kv "github.com/dgraph-io/badger/v4"
)

// published hands out the newest commit that is durable. Whoever reads shares one Badger transaction per commit: a new
// one would wait for the commit under way, because Badger shows that to whoever comes while it is being synced.
type published struct {
	mu     sync.Mutex
	newest *pin
	builds map[string]*build // by campaign; see index.go
	made   int               // sets, so far
	slow   time.Duration     // a walk over an index by state that takes as long is worth a stateSet
}

// pin keeps the versions that its transaction reads. A read-only transaction may be read from many goroutines at once.
type pin struct {
	snapshot
	users int                  // guarded by published.mu; the newest has one more than those who read
	sets  map[string]*stateSet // guarded by published.mu, the map itself never changes
}

func newPublished(txn *kv.Txn) *published {
	return &published{newest: &pin{snapshot: snapshot{txn}, users: 1}, builds: map[string]*build{}, slow: slowWalk}
}

// take returns the newest pin, which its caller gives back, and the sets as of it.
func (p *published) take() (*pin, map[string]*stateSet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest.users++
	return p.newest, p.newest.sets
}

func (p *published) give(one *pin) {
	p.mu.Lock()
	one.users--
	last := one.users == 0
	p.mu.Unlock()
	if last {
		one.txn.Discard()
	}
}

// publish replaces the newest: whoever takes from now on reads txn, of which the shifts tell what it did to the indexes by
// state.
func (p *published) publish(txn *kv.Txn, shifts []campaignShift) {
	by := map[string][]shift{}
	for _, c := range shifts {
		by[c.campaign] = append(by[c.campaign], c.shift)
	}
	p.mu.Lock()
	old := p.newest
	p.newest = &pin{snapshot: snapshot{txn}, users: 1, sets: old.sets}
	for c, list := range by {
		if b := p.builds[c]; b != nil {
			b.note(list)
		}
		if s := old.sets[c]; s != nil {
			p.hold(c, s.apply(list))
		}
	}
	p.mu.Unlock()
	p.give(old)
}

// hold replaces a campaign's set as of the newest commit. nil, or a set of nothing, is none.
func (p *published) hold(campaign string, s *stateSet) {
	sets := maps.Clone(p.newest.sets)
	if sets == nil {
		sets = map[string]*stateSet{}
	}
	if sets[campaign] = s; s == nil || s.empty() {
		delete(sets, campaign)
	}
	p.newest.sets = sets
}
