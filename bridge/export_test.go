package bridge

import (
	"runtime"
	"time"
)

// TellEvery shortens the time between two progress messages of one campaign. Call it before Run.
func (b *Bridge) TellEvery(d time.Duration) { b.progress.every = d }

// AwaitFetches returns when no fetch is being served. Nothing may be fetched meanwhile.
func (b *Bridge) AwaitFetches() { b.fetches.running.Wait() }

// AwaitSaid returns when every hello and report is dealt with, and what follows from them is said.
func (b *Bridge) AwaitSaid() {
	b.underway.wait()
	for !b.receipts.idle() || !b.speaker.idle() {
		runtime.Gosched()
	}
}

func (s *receipts) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.by) == 0
}

func (s *speaker) idle() bool {
	for i := range s.lanes {
		l := &s.lanes[i]
		l.mu.Lock()
		busy := len(l.list) > 0
		l.mu.Unlock()
		if busy {
			return false
		}
	}
	return true
}
