package badger

import (
	"sync"

	kv "github.com/dgraph-io/badger/v4"
)

// published hands out the newest commit that is durable. Whoever reads shares one Badger transaction per commit: a new
// one would wait for the commit under way, because Badger shows that to whoever comes while it is being synced.
type published struct {
	mu     sync.Mutex
	newest *pin
}

// pin keeps the versions that its transaction reads. A read-only transaction may be read from many goroutines at once.
type pin struct {
	snapshot
	users int // guarded by published.mu; the newest has one more than those who read
}

func newPublished(txn *kv.Txn) *published { return &published{newest: pinOf(txn)} }

func pinOf(txn *kv.Txn) *pin { return &pin{snapshot: snapshot{txn}, users: 1} }

// take returns the newest pin, which its caller gives back.
func (p *published) take() *pin {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest.users++
	return p.newest
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

// publish replaces the newest: whoever takes from now on reads txn.
func (p *published) publish(txn *kv.Txn) {
	p.mu.Lock()
	old := p.newest
	p.newest = pinOf(txn)
	p.mu.Unlock()
	p.give(old)
}
