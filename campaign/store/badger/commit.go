package badger

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	kv "github.com/dgraph-io/badger/v4"

	"fleetbridge/internal/failpoint"
)

// batchLen bounds the functions that share a commit: past it a commit costs more than it saves.
const batchLen = 1024

// limits are in bytes and keys as Badger counts them.
type limits struct {
	softBytes int64 // a batch that has reached it takes no further function
	hardBytes int64 // what a transaction holds
	softKeys  int
	hardKeys  int
}

// limitsOf leaves a tenth of what Badger allows for its own entries.
func limitsOf(db *kv.DB) limits {
	l := limits{hardBytes: db.MaxBatchSize() / 10 * 9, hardKeys: int(db.MaxBatchCount() / 10 * 9)}
	l.softBytes, l.softKeys = l.hardBytes*2/3, l.hardKeys*2/3
	return l
}

// batch is a group of functions that share one commit.
type batch struct {
	ov   *overlay
	reqs []*request
	err  error // of all of them: they are answered with it
	said int   // how many have been
}

// run is the committer. Whatever it wrote is answered after its commit, and nothing is answered twice.
func (s *Store) run() {
	defer func() {
		select {
		case <-s.ended:
		default:
			go s.run() // a function ended this goroutine (runtime.Goexit); its callers have been answered
		}
	}()
	ov := newOverlay(newMemory())
	var carry *request // did not fit into the batch before
	for {
		r := carry
		carry = nil
		if r == nil {
			var open bool
			if r, open = <-s.queue; !open {
				close(s.ended)
				close(s.answers)
				return
			}
		}
		if err := s.ready(); err != nil {
			if r.claim() {
				s.answers <- &batch{reqs: []*request{r}, err: err}
			}
			continue
		}
		carry = s.commitBatch(r, ov)
	}
}

// ready says whether a commit may be tried.
func (s *Store) ready() error {
	if err := s.failure(); err != nil {
		return err
	}
	return s.space.check(time.Now())
}

// commitBatch runs first and what is waiting behind it, commits, and answers. It returns a request that it ran, that
// did not fit, and that is to be run again in the next batch.
func (s *Store) commitBatch(first *request, ov *overlay) (carry *request) {
	base, _ := s.shown.take()
	defer s.shown.give(base)
	ov.reset(base)
	b := &batch{ov: ov}
	err := errExited // stands if a function ends this goroutine: then nothing is committed
	defer func() {
		b.err = err
		s.answers <- b
	}()
	for r := first; r != nil; r = s.next(b) {
		if r.claim() && !s.execute(b, r) {
			carry = r
			break
		}
	}
	err = s.commit(b)
	return carry
}

// next takes a waiting request into b, without waiting for one.
func (s *Store) next(b *batch) *request {
	if bytes, keys := b.ov.size(); len(b.reqs) >= batchLen || bytes >= s.limit.softBytes || keys >= s.limit.softKeys {
		return nil
	}
	select {
	case r := <-s.queue: // nil once the queue is closed
		return r
	default:
		return nil
	}
}

// execute runs r's function on the batch's overlay and leaves nothing of it there if it fails. It reports false if
// the batch has no room left for what it wrote.
func (s *Store) execute(b *batch, r *request) bool {
	b.ov.begin()
	b.reqs = append(b.reqs, r)
	r.err = s.call(b, r)
	bytes, keys := b.ov.size()
	switch {
	case r.err != nil:
		b.ov.rollback()
	case bytes > s.limit.hardBytes || keys > s.limit.hardKeys:
		b.ov.rollback()
		if len(b.reqs) > 1 && len(b.ov.data) > 0 {
			b.reqs = b.reqs[:len(b.reqs)-1]
			return false
		}
		r.err = fmt.Errorf("commit: %w", ErrTooLarge)
	default:
		b.ov.accept()
	}
	return true
}

// call runs one function; a panic of it is its own caller's error.
func (s *Store) call(b *batch, r *request) (err error) {
	t := &tx{reader: reader{src: b.ov}, ov: b.ov}
	t.reader.tx = t
	defer func() {
		t.ended = true
		if p := recover(); p != nil {
			s.log.Error("transaction panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("transaction panicked: %v", p)
		}
	}()
	if err := r.fn(t); err != nil {
		return err
	}
	return t.bad
}

// commit makes b's writes durable, then visible. A failed commit stops the store: Badger may hold the writes in memory, or on disk, or
// not at all, and an fsync that failed once says nothing when it succeeds later.
func (s *Store) commit(b *batch) error {
	s.stats.functions.Add(uint64(len(b.reqs)))
	if len(b.ov.data) == 0 {
		return nil
	}
	defer s.versions.renew(b.ov)
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	err := b.ov.settle()
	if err == nil {
		err = b.ov.flush(txn)
	}
	if err == nil {
		start := time.Now()
		s.began.Store(start.UnixNano())
		failpoint.At("store: before write", "")
		err = s.write(txn)
		failpoint.At("store: after write", "")
		s.began.Store(0)
		s.stats.commits.Add(1)
		s.stats.keys.Add(uint64(len(b.ov.data)))
		s.stats.bytes.Add(uint64(b.ov.bytes))
		s.stats.nanos.Add(uint64(time.Since(start)))
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrFailed, err)
		if s.failed.Swap(&err) == nil {
			close(s.stopped)
		}
		s.log.Error("commit failed", "err", err)
		return err
	}
	s.shown.publish(s.db.NewTransaction(false), b.ov.shifts)
	return nil
}

// counters are what Stats reads.
type counters struct{ functions, commits, nanos, keys, bytes atomic.Uint64 }

// Stats are totals since Open.
type Stats struct {
	Functions uint64        // run by the committer and answered
	Commits   uint64        // of batches that wrote something
	Committed time.Duration // spent in commits
	Keys      uint64        // written or deleted by commits
	Bytes     uint64        // of these keys and their values, about as Badger counts
}

// Stats returns the totals since Open. Functions/Commits is how many callers share an fsync.
func (s *Store) Stats() Stats {
	return Stats{
		Functions: s.stats.functions.Load(),
		Commits:   s.stats.commits.Load(),
		Committed: time.Duration(s.stats.nanos.Load()),
		Keys:      s.stats.keys.Load(),
		Bytes:     s.stats.bytes.Load(),
	}
}
