package badger_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kv "github.com/dgraph-io/badger/v4"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/ident"
)

// callers share b.N calls of op among n goroutines.
func callers(b *testing.B, n int, op func(caller, i int) error) {
	b.ResetTimer()
	start := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for c := range n {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				if err := op(c, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "updates/s")
}

// BenchmarkUpdate is what a report costs: read the device's work and assignment, move it on, count it, and answer after
// the fsync. Compare with BenchmarkRaw of as many callers.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("report/%d", n), func(b *testing.B) { benchReports(b, n) })
		b.Run(fmt.Sprintf("put/%d", n), func(b *testing.B) {
			s := open(b, badger.Options{Dir: b.TempDir()})
			ds := benchDevices(b, n)
			callers(b, n, func(c, i int) error {
				return s.Update(context.Background(), func(tx campaign.Tx) error {
					return tx.PutDevice(acme, campaign.Device{ID: ds[c], Boot: uint64(i)})
				})
			})
		})
	}
}

func benchDevices(b testing.TB, n int) (ds []ident.Device) {
	for i := range n {
		ds = append(ds, device(b, fmt.Sprintf("device-%06d", i)))
	}
	return ds
}

func benchReports(b *testing.B, n int) {
	s := open(b, badger.Options{Dir: b.TempDir()})
	c, err := ident.ParseCampaign("spring")
	if err != nil {
		b.Fatal(err)
	}
	ds := benchDevices(b, n)
	live := []campaign.Live{{Component: "00", Campaign: c, Manifest: ident.SumDigest(nil)}}
	err = s.Update(b.Context(), func(tx campaign.Tx) error {
		for _, d := range ds {
			a := campaign.Assignment{Campaign: c, Device: d, State: campaign.Received, Manifest: live[0].Manifest, Component: "00"}
			if err := tx.PutAssignment(acme, a); err != nil {
				return err
			}
			if err := tx.PutWork(acme, d, campaign.Work{Live: live, Recent: live}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	states := []campaign.State{campaign.Received, campaign.Downloading}
	callers(b, n, func(caller, i int) error {
		return s.Update(context.Background(), func(tx campaign.Tx) error {
			w, err := tx.Work(acme, ds[caller])
			if err != nil {
				return err
			}
			a, err := tx.Assignment(acme, w.Live[0].Campaign, ds[caller])
			if err != nil {
				return err
			}
			a.Seq, a.Reports, a.Bytes = uint64(i), a.Reports+1, uint64(i)
			a.State = states[i%2]
			a.Updated = time.Unix(int64(i), 0)
			a.Deadline = a.Updated.Add(time.Minute)
			if len(a.Path) < 4 {
				a.Path = append(a.Path, campaign.PathStep{State: a.State, Seq: a.Seq, At: a.Updated})
			}
			return tx.PutAssignment(acme, a)
		})
	})
}

// BenchmarkRaw is the ceiling: Badger with one goroutine that takes what is waiting, sets one key for each and syncs.
func BenchmarkRaw(b *testing.B) {
	for _, n := range []int{1, 64, 512} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			db, err := kv.Open(kv.DefaultOptions(b.TempDir()).WithLogger(nil).WithSyncWrites(true).WithDetectConflicts(false).WithMemTableSize(16 << 20))
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			queue := make(chan chan error, 1024)
			go rawCommitter(db, queue)
			defer close(queue)
			callers(b, n, func(int, int) error {
				done := make(chan error, 1)
				queue <- done
				return <-done
			})
		})
	}
}

func rawCommitter(db *kv.DB, queue chan chan error) {
	val := make([]byte, 150)
	for n := 0; ; {
		first, ok := <-queue
		if !ok {
			return
		}
		batch := []chan error{first}
		for len(batch) < cap(queue) && len(queue) > 0 {
			batch = append(batch, <-queue)
		}
		err := db.Update(func(txn *kv.Txn) error {
			for range batch {
				n++
				if err := txn.Set(fmt.Appendf(nil, "acme\x00d%012d", n%1024), val); err != nil {
					return err
				}
			}
			return nil
		})
		for _, done := range batch {
			done <- err
		}
	}
}

// BenchmarkQueue takes a campaign's pending assignments from the front, a slice to a transaction, as the engine does.
func BenchmarkQueue(b *testing.B) {
	const slice = 100
	s := open(b, badger.Options{Dir: b.TempDir(), NoSync: true})
	c, err := ident.ParseCampaign("spring")
	if err != nil {
		b.Fatal(err)
	}
	ds := benchDevices(b, b.N)
	for i := 0; i < len(ds); i += slice {
		err := s.Update(b.Context(), func(tx campaign.Tx) error {
			for j, d := range ds[i:min(i+slice, len(ds))] {
				a := campaign.Assignment{Campaign: c, Device: d, State: campaign.Pending, Order: uint64(i + j)}
				if err := tx.PutAssignment(acme, a); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for left := b.N; left > 0; {
		var taken int
		err := s.Update(b.Context(), func(tx campaign.Tx) error {
			as, err := tx.InState(acme, c, campaign.Pending, campaign.Place{}, slice)
			if err != nil || len(as) == 0 {
				return errors.Join(err, errors.New("queue ended early"))
			}
			for _, a := range as {
				a.State = campaign.Offered
				if err := tx.PutAssignment(acme, a); err != nil {
					return err
				}
			}
			taken = len(as)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		left -= taken
	}
}
