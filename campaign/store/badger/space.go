package badger

import (
	"fmt"
	"sync"
	"time"
)

// spaceEvery is how old a measurement of the free space may be.
const spaceEvery = 100 * time.Millisecond

// space watches the free space of the store's file system.
type space struct {
	dir   string
	min   uint64 // 0: not watched
	free  func(string) (uint64, error)
	every time.Duration

	mu   sync.Mutex
	last time.Time
	err  error
}

func newSpace(o Options) *space {
	s := &space{dir: o.Dir, free: o.Free, every: spaceEvery}
	if s.free == nil {
		s.free = freeSpace
	}
	switch {
	case o.InMemory && o.Free == nil, o.MinFree < 0, s.free == nil:
		return s
	case o.MinFree == 0:
		s.min = DefaultMinFree
	default:
		s.min = uint64(o.MinFree)
	}
	return s
}

// check returns ErrNoSpace while there is too little room. What can't be measured counts as too little.
func (s *space) check(now time.Time) error {
	if s.min == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if since := now.Sub(s.last); !s.last.IsZero() && since >= 0 && since < s.every {
		return s.err
	}
	s.last = now
	n, err := s.free(s.dir)
	switch {
	case err != nil:
		s.err = fmt.Errorf("%w: measure free space: %w", ErrNoSpace, err)
	case n < s.min:
		s.err = fmt.Errorf("%w: %d MiB free, %d MiB needed", ErrNoSpace, n>>20, s.min>>20)
	default:
		s.err = nil
	}
	return s.err
}

// Room says whether bytes more may be written beside the store: it keeps twice Options.MinFree, so that whatever else is
// on the file system stops before the store has to. The error is ErrNoSpace.
func (s *Store) Room(bytes int64) error { return s.space.room(bytes) }

func (s *space) room(bytes int64) error {
	if s.min == 0 {
		return nil
	}
	n, err := s.free(s.dir)
	if err != nil {
		return fmt.Errorf("%w: measure free space: %w", ErrNoSpace, err)
	}
	if need := 2*s.min + uint64(max(bytes, 0)); n < need {
		return fmt.Errorf("%w: %d MiB free, %d MiB needed", ErrNoSpace, n>>20, need>>20)
	}
	return nil
}
