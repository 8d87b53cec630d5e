package badger

import (
	"bytes"
	"errors"
	"runtime"
	"strconv"
	"time"

	kv "github.com/dgraph-io/badger/v4"
)

// OnCommit lets test decide on a commit before it happens (nil: go on) or after it was made. To be called before any
// Update.
func (s *Store) OnCommit(before, after func() error) {
	s.write = func(txn *kv.Txn) error {
		if err := before(); err != nil {
			return err
		}
		if err := txn.Commit(); err != nil {
			return err
		}
		return after()
	}
}

// MeasureAlways makes every check of the free space measure it. To be called before any Update.
func (s *Store) MeasureAlways() { s.space.every = 0 }

// MakeSets makes a View that walks over an index by state for so long make a set of it.
func (s *Store) MakeSets(slow time.Duration) { s.shown.slow = slow }

// Sets is how many campaigns have one now.
func (s *Store) Sets() int {
	s.shown.mu.Lock()
	defer s.shown.mu.Unlock()
	return len(s.shown.newest.sets)
}

// SetsMade is how many were made so far.
func (s *Store) SetsMade() int {
	s.shown.mu.Lock()
	defer s.shown.mu.Unlock()
	return s.shown.made
}

// DropSets forgets them.
func (s *Store) DropSets() {
	s.shown.mu.Lock()
	defer s.shown.mu.Unlock()
	s.shown.newest.sets = nil
}

// NewerSchema is the version of a store that a later program wrote.
var NewerSchema = strconv.Itoa(schemaVersion + 1)

// SetVersion writes a schema version.
func (s *Store) SetVersion(v string) error {
	return s.db.Update(func(txn *kv.Txn) error { return txn.Set(schemaKey, []byte(v)) })
}

// Downgrade makes the store one of schema version 1, which had no indexes and no counts but those by state.
func (s *Store) Downgrade() error {
	err := s.db.Update(func(txn *kv.Txn) error {
		it := txn.NewIterator(kv.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			k := it.Item().KeyCopy(nil)
			_, rest, _ := bytes.Cut(k, []byte{0})
			if len(rest) > 0 && (rest[0] == kindClass || rest[0] == kindLabel || rest[0] == kindFetched || rest[0] == kindNeeded || string(rest) == string([]byte{kindQuota, quotaDevices})) {
				if err := txn.Delete(k); err != nil {
					return err
				}
			}
			if len(rest) > 0 && rest[0] == kindCounts {
				if err := forgetSpared(txn, k); err != nil {
					return err
				}
			}
		}
		return nil
	})
	err = errors.Join(err, s.SetVersion("1"))
	s.shown.publish(s.db.NewTransaction(false), nil) // written past the committer
	return err
}

// forgetSpared makes a campaign's counts those of a version that did not count the spared.
func forgetSpared(txn *kv.Txn, k []byte) error {
	n, _, err := find[countsRecord](&reader{src: snapshot{txn}}, k)
	if err != nil {
		return err
	}
	n.Spared = 0
	val, err := encode(countsRecordOf(n))
	if err != nil {
		return err
	}
	return txn.Set(k, val)
}

// HardBytes is what one transaction holds.
func (s *Store) HardBytes() int64 { return s.limit.hardBytes }

// Queued returns a channel that is closed once n callers more than now wait in the queue. To be called while the
// committer is held by a function.
func (s *Store) Queued(n int) <-chan struct{} {
	want, done := len(s.queue)+n, make(chan struct{})
	go func() {
		for len(s.queue) < want {
			runtime.Gosched()
		}
		close(done)
	}()
	return done
}

// QueueLen is how many functions wait in the queue at most.
const QueueLen = queueLen

// Syncs reports whether Badger syncs each commit before it returns.
func (s *Store) Syncs() bool { return s.db.Opts().SyncWrites }

// MaxEarly is how many early entries of the index by due time one DueBy moves.
const MaxEarly = maxEarly
