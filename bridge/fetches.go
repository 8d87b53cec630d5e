package bridge

import (
	"context"
	"sync"
	"sync/atomic"

	"fleetbridge/link"
	"fleetbridge/topics"
)

// fetches serves what devices fetch: one goroutine for each connection that waits for chunks, so that its reports, and
// everybody else, wait behind nothing. A connection has one fetch being served and at most one that waits: a new one ends the one
// before and takes the place of any that waited. Safe for concurrent use.
type fetches struct {
	mu      sync.Mutex
	by      map[session]*serving
	running sync.WaitGroup
}

// session is one connection of a device, as far as the link tells them apart.
type session struct {
	principal topics.Principal
	client    string
}

// serving is what a session's goroutine has to do.
type serving struct{ now, next *fetchJob }

// fetchJob is one fetch under way.
type fetchJob struct {
	addr      topics.Address
	fetch     topics.Fetch
	format    topics.Format
	invalid   error // why it can't be served at all
	reply     link.Replier
	maxPacket uint32
	over      atomic.Bool // a later fetch has come
}

func newFetches() *fetches { return &fetches{by: map[session]*serving{}} }

// put has j served by serve, and ends what the session fetched before.
func (s *fetches) put(ctx context.Context, k session, j *fetchJob, serve func(context.Context, *fetchJob)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.by[k]; w != nil {
		w.now.over.Store(true)
		w.next = j
		return
	}
	w := &serving{now: j}
	s.by[k] = w
	s.running.Go(func() {
		for j := j; j != nil; j = s.following(k, w) {
			serve(ctx, j)
		}
	})
}

// following is what the session fetched meanwhile; nil ends its goroutine.
func (s *fetches) following(k session, w *serving) *fetchJob {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.now, w.next = w.next, nil
	if w.now == nil {
		delete(s.by, k)
	}
	return w.now
}

// end gives up what is being served and returns when nothing is. Nothing may be put any more.
func (s *fetches) end() {
	s.mu.Lock()
	for _, w := range s.by {
		w.now.over.Store(true)
		w.next = nil
	}
	s.mu.Unlock()
	s.running.Wait()
}
