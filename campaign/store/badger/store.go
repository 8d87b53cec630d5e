// Package badger is the embedded store: campaign.Store on one Badger database, for a server that is one process.
//
// What Update returns nil for is on disk: one committer goroutine runs the functions of all callers one after the other
// over an overlay, writes what a batch of them wrote in one Badger transaction, syncs it, and only then answers all of
// them, those that failed included. A store whose commit failed takes nothing more until it is opened again, because
// what the failed write left behind is known only then. DESIGN.md has the keys, the order of events and the limits.
//
// A Store may be used from any goroutine. A Reader or Tx may be used by one goroutine at a time, and only until the
// function that got it returns. A function must not call Update or Close of its own store. This package is the only
// importer of Badger.
package badger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	kv "github.com/dgraph-io/badger/v4"

	"fleetbridge/campaign"
)

// Errors beside those of campaign.
var (
	// ErrNoSpace means that the file system has less room than Options.MinFree. It wraps campaign.ErrUnavailable.
	ErrNoSpace = fmt.Errorf("no space left for the store: %w", campaign.ErrUnavailable)
	// ErrFailed means that a commit failed; the store must be closed and opened again. It wraps campaign.ErrUnavailable.
	ErrFailed = fmt.Errorf("store stopped after a failed commit: %w", campaign.ErrUnavailable)
	// ErrStuck means that a commit has not returned for stuckAfter. It wraps campaign.ErrUnavailable.
	ErrStuck = fmt.Errorf("store hangs in a commit: %w", campaign.ErrUnavailable)
	// ErrInUse means that another process has the directory open.
	ErrInUse = errors.New("store directory is in use by another process")
	// ErrVersion means that the directory was written by a newer version, or is not a store of ours.
	ErrVersion = errors.New("store has another schema version")
	// ErrTooLarge means that one function wrote more than a transaction holds, or a record of 1 MiB or more.
	ErrTooLarge = errors.New("more than one transaction holds")
)

// stuckAfter is how long a commit may take: Badger waits without end for a disk that does not take its tables.
const stuckAfter = 30 * time.Second

// DefaultMinFree is Options.MinFree where none is given, in bytes.
const DefaultMinFree = 256 << 20

// Options says where a store is and how it behaves. The zero value of every member but Dir is a sound default.
type Options struct {
	// Dir is the directory of the database; it is made (0700) if it is not there. Unused with InMemory.
	Dir string
	// InMemory keeps everything in memory, for tests: nothing survives Close.
	InMemory bool
	// NoSync answers before the data is on disk. For benchmarks: an acknowledged report does not survive power loss.
	NoSync bool
	// MinFree is the free space, in bytes, below which Updates are refused with ErrNoSpace: Badger writes through mapped
	// files, so a full disk is a SIGBUS and not an error. Zero: DefaultMinFree. Negative: no check.
	MinFree int64
	// Free measures the free space of dir, in bytes. nil: asks the operating system, where it can.
	Free func(dir string) (uint64, error)
	// Logger gets what Badger warns of. nil: discarded.
	Logger *slog.Logger
}

// Store is a campaign.Store on Badger.
type Store struct {
	db    *kv.DB
	log   *slog.Logger
	space *space
	queue chan *request
	limit limits
	write func(*kv.Txn) error // commits and syncs; tests make it fail

	mu     sync.Mutex // guards closed, and orders inUse.Add before its Wait
	closed bool
	inUse  sync.WaitGroup
	ended  chan struct{} // closed when the committer has returned

	answers  chan *batch   // committed, and to be answered
	answered chan struct{} // closed when all are
	telling  *batch        // is being answered; used by answer only

	shown    *published // what Views and the next batch read
	versions versions
	failed   atomic.Pointer[error]
	stopped  chan struct{} // closed when failed is set
	began    atomic.Int64  // when the commit under way began, in Unix nanoseconds; 0: none is
	stats    counters
}

var _ campaign.Store = (*Store)(nil)

// Open opens the store in o.Dir, or makes one there. It recovers what a killed process had committed. Errors that tell
// an operator what to do wrap ErrInUse or ErrVersion.
func Open(o Options) (*Store, error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if !o.InMemory {
		if o.Dir == "" {
			return nil, errors.New("open store: no directory given")
		}
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
	}
	sp := newSpace(o)
	// Replaying a log on a full disk is the same SIGBUS as writing one.
	if err := sp.check(time.Now()); err != nil {
		return nil, fmt.Errorf("open store in %s: %w", o.Dir, err)
	}
	db, err := openDB(o, log)
	if err != nil {
		return nil, fmt.Errorf("open store in %s: %w", o.Dir, err)
	}
	if err := checkVersion(db); err != nil {
		return nil, errors.Join(fmt.Errorf("open store in %s: %w", o.Dir, err), db.Close())
	}
	s := &Store{
		db:    db,
		log:   log,
		space: sp,
		queue: make(chan *request, queueLen),
		limit: limitsOf(db),
		write: (*kv.Txn).Commit,
		shown: newPublished(db.NewTransaction(false)),
		ended: make(chan struct{}),

		answers:  make(chan *batch, answersLen),
		answered: make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	go s.run()
	go s.answer()
	return s, nil
}

// enter counts a caller in, so that Close waits for it.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return campaign.ErrClosed
	}
	s.inUse.Add(1)
	return nil
}

// View runs fn on the newest commit that is durable, and waits for none that is under way. Its methods return ctx's error
// once ctx has ended. After a failed commit nobody knows what a new process will find: View returns ErrFailed.
func (s *Store) View(ctx context.Context, fn func(campaign.Reader) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.inUse.Done()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.failure(); err != nil {
		return err
	}
	seen, sets := s.shown.take()
	defer s.shown.give(seen)
	r := &reader{src: seen, ctx: ctx, sets: sets, shown: s.shown}
	defer func() { r.ended = true }()
	return fn(r)
}

// Close waits for the transactions under way, those still in the queue included, and closes the database.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return campaign.ErrClosed
	}
	s.closed = true
	s.mu.Unlock()
	s.inUse.Wait()
	close(s.queue) // nobody can send any more: senders have been counted out
	<-s.ended
	<-s.answered
	s.shown.give(s.shown.newest)
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// Healthy says whether Update can work now; if not, why (ErrNoSpace, ErrFailed, ErrStuck, campaign.ErrClosed).
func (s *Store) Healthy() error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.inUse.Done()
	if err := s.failure(); err != nil {
		return err
	}
	now := time.Now()
	if t := s.began.Load(); t != 0 && now.Sub(time.Unix(0, t)) > stuckAfter {
		return ErrStuck
	}
	return s.space.check(now)
}

// Stopped is closed when a commit has failed: nothing works from then on but Close, and a new process recovers.
func (s *Store) Stopped() <-chan struct{} { return s.stopped }

// failure returns why the store has stopped, nil while it works.
func (s *Store) failure() error {
	if p := s.failed.Load(); p != nil {
		return *p
	}
	return nil
}
