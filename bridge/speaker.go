package bridge

import (
	"context"
	"hash/maphash"
	"sync"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

const (
	// lanes is how many goroutines say what follows from commits. What concerns one device stays in one lane.
	lanes = 4
	// laneLen bounds what waits in a lane. Past it whoever commits waits: what we owe to devices is not dropped.
	laneLen = 16384
)

// speaker says what is owed to devices after a commit, away from the goroutine that brought the outcome: reading the store and
// publishing take a while, and a link may make us wait. Safe for concurrent use.
type speaker struct {
	seed  maphash.Seed
	lanes [lanes]lane
	ended sync.WaitGroup
}

// lane is a queue of words with one goroutine.
type lane struct {
	mu     sync.Mutex
	change sync.Cond // of list or closed
	list   []word
	wanted map[owner]bool // whose topic is to be refreshed by a word in list: once is enough
	closed bool
}

// owner is a device of a tenant.
type owner struct {
	tenant ident.Tenant
	device ident.Device
}

// word is what one device is owed: the state of its manifest topic, or of a permit.
type word struct {
	owner
	permit *campaign.PermitWord // nil: the topic
}

func newSpeaker() *speaker {
	s := &speaker{seed: maphash.MakeSeed()}
	for i := range s.lanes {
		l := &s.lanes[i]
		l.change.L, l.wanted = &l.mu, map[owner]bool{}
	}
	return s
}

// start has say called for each word, until end.
func (s *speaker) start(say func(word)) {
	for i := range s.lanes {
		l := &s.lanes[i]
		s.ended.Go(func() {
			for w, more := l.first(); more; w, more = l.first() {
				say(w)
				l.drop()
			}
		})
	}
}

// end returns when everything is said. Nothing may be put any more.
func (s *speaker) end() {
	for i := range s.lanes {
		l := &s.lanes[i]
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		l.change.Broadcast()
	}
	s.ended.Wait()
}

func (s *speaker) put(w word) { s.lanes[maphash.Comparable(s.seed, w.owner)%lanes].put(w) }

// put waits while the lane is full.
func (l *lane) put(w word) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.permit == nil && l.wanted[w.owner] {
		return
	}
	for len(l.list) >= laneLen && !l.closed {
		l.change.Wait()
	}
	l.list = append(l.list, w)
	if w.permit == nil {
		l.wanted[w.owner] = true
	}
	l.change.Broadcast()
}

// first waits for a word; false when the lane is closed and empty. A refresh that is wanted from now on may be of what is
// committed later, so it is another word.
func (l *lane) first() (word, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.list) == 0 && !l.closed {
		l.change.Wait()
	}
	if len(l.list) == 0 {
		return word{}, false
	}
	w := l.list[0]
	if w.permit == nil {
		delete(l.wanted, w.owner)
	}
	return w, true
}

// drop removes the first word, which has been said.
func (l *lane) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list[0] = word{}
	l.list = l.list[1:]
	l.change.Broadcast()
}

// say is what the speaker does with a word.
func (b *Bridge) say(w word) {
	ctx := context.Background() // it is committed, so it is said even when its cause has gone
	if w.permit != nil {
		b.publishPermit(ctx, w.tenant, *w.permit)
		return
	}
	b.refresh(ctx, w.tenant, w.device)
}
