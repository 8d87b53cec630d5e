package bridge

import (
	"context"
	"sync"
	"sync/atomic"
)

// fetches serves what could not be served at once: one goroutine for each connection that waits for chunks, so that its
// reports, and everybody else, wait behind nothing. A connection has one fetch being served and at most one that waits: a new
// one ends the one before and takes the place of any that waited. Safe for concurrent use.
type fetches struct {
	mu      sync.Mutex
	tracks  map[*track]struct{} // with a goroutine
	running sync.WaitGroup
}

// track is what a connection's goroutine has to do.
type track struct {
	busy      atomic.Bool // there is a goroutine
	now, next *fetchJob   // guarded by fetches
}

func newFetches() *fetches { return &fetches{tracks: map[*track]struct{}{}} }

// put has j served by serve, and ends what the connection fetched before.
func (s *fetches) put(ctx context.Context, l *track, j *fetchJob, serve func(context.Context, *fetchJob)) {
	j.over = make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.now != nil {
		l.now.end()
		l.next.drop()
		l.next = j
		return
	}
	l.now = j
	l.busy.Store(true)
	s.tracks[l] = struct{}{}
	s.running.Go(func() {
		for j := j; j != nil; j = s.following(l) {
			serve(ctx, j)
		}
	})
}

// following is what the connection fetched meanwhile; nil ends its goroutine.
func (s *fetches) following(l *track) *fetchJob {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.now, l.next = l.next, nil
	if l.now == nil {
		delete(s.tracks, l)
		l.busy.Store(false)
	}
	return l.now
}

// end gives up what is being served and returns when nothing is. Nothing may be put any more.
func (s *fetches) end() {
	s.mu.Lock()
	for l := range s.tracks {
		l.now.end()
		l.next.drop()
		l.next = nil
	}
	s.mu.Unlock()
	s.running.Wait()
}
