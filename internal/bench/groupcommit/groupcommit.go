// Package groupcommit is Badger alone: writers that each wait for one value to be durable, and one committer that takes what is
// waiting. It is what a disk and the key-value store under ours do with nothing around them, beside which `fleetbridge bench`
// shows the rate of durable reports.
package groupcommit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	kv "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"fleetbridge/internal/bench"
)

// Params say what the role [Run] writes.
type Params struct {
	Dir     string `json:"dir"`     // an empty folder
	Writers int    `json:"writers"` // values that wait at any time
	Size    int    `json:"size"`    // bytes of each, at least 8
}

// Run is the role of writers. Each replaces its own value again and again, as a device's report replaces the record of its
// assignment. Units are values that are durable.
func Run(ctx context.Context, w *bench.Worker) (err error) {
	m := &writers{}
	if err := w.Params(&m.Params); err != nil {
		return err
	}
	if m.db, err = kv.Open(profile(m.Dir)); err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	defer func() { err = errors.Join(err, m.db.Close()) }()
	m.waiting = make(chan *write, m.Writers)
	ctx, cancel := context.WithCancel(ctx)
	defer m.running.Wait()
	defer cancel()
	if err := w.Ready(struct{}{}); err != nil {
		return err
	}
	return w.Serve(func() { m.begin(ctx) }, m.mark)
}

// profile suits small values that are written again and again; it is near that of our store.
func profile(dir string) kv.Options {
	return kv.DefaultOptions(dir).WithSyncWrites(true).WithDetectConflicts(false).WithMemTableSize(16 << 20).WithNumMemtables(3).
		WithBlockCacheSize(64 << 20).WithNumCompactors(2).WithValueLogFileSize(64 << 20).WithCompression(options.None).
		WithMetricsEnabled(false).WithLogger(nil)
}

// write is one value that waits.
type write struct {
	key, value []byte
	done       chan error
}

type writers struct {
	Params
	db      *kv.DB
	waiting chan *write
	running sync.WaitGroup
	written atomic.Uint64
	failed  atomic.Pointer[error]
	took    bench.Histogram
}

func (m *writers) begin(ctx context.Context) {
	var writing sync.WaitGroup
	for i := range m.Writers {
		w := &write{key: binary.BigEndian.AppendUint32([]byte("writer/"), uint32(i)), value: make([]byte, m.Size), done: make(chan error, 1)}
		writing.Go(func() { m.write(ctx, w) })
	}
	m.running.Go(func() {
		writing.Wait()
		close(m.waiting)
	})
	m.running.Go(m.commit)
}

// write replaces a value until ctx ends, or a commit fails.
func (m *writers) write(ctx context.Context, w *write) {
	for n := uint64(1); ctx.Err() == nil; n++ {
		binary.BigEndian.PutUint64(w.value, n)
		began := time.Now()
		m.waiting <- w
		if <-w.done != nil {
			return
		}
		m.took.Add(time.Since(began))
	}
}

// maxBatch is how many values one commit takes; more per commit are no faster.
const maxBatch = 1024

// commit takes what waits until the writers have ended. After a commit that failed none is tried.
func (m *writers) commit() {
	batch := make([]*write, 0, maxBatch)
	var failed error
	for w := range m.waiting {
		batch = m.gather(append(batch[:0], w))
		if failed == nil {
			if failed = m.store(batch); failed != nil {
				m.failed.Store(&failed)
			}
		}
		for _, w := range batch {
			w.done <- failed
		}
	}
}

// gather adds what waits, without waiting.
func (m *writers) gather(batch []*write) []*write {
	for len(batch) < maxBatch {
		select {
		case w, more := <-m.waiting:
			if !more {
				return batch
			}
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

func (m *writers) store(batch []*write) error {
	err := m.db.Update(func(txn *kv.Txn) error {
		for _, w := range batch {
			if err := txn.Set(w.key, w.value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	m.written.Add(uint64(len(batch)))
	return nil
}

func (m *writers) mark() any {
	n := bench.Counts{Units: m.written.Load(), Quantiles: m.took.Take()}
	if err := m.failed.Load(); err != nil {
		n.Failed, n.Problem = 1, (*err).Error()
	}
	n.Bytes = n.Units * uint64(m.Size)
	return n
}
