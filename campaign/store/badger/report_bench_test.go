//go:build unix

package badger_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/ident"
)

// reporters are devices with a live assignment each, in the middle of their update.
type reporters struct {
	devices  []ident.Device
	seqs     []uint64
	manifest ident.Digest
	start    time.Time
}

func newReporters(b testing.TB, s campaign.Store, n int) *reporters {
	r := &reporters{devices: benchDevices(b, n), seqs: make([]uint64, n), manifest: ident.SumDigest([]byte("manifest")), start: time.Now()}
	c, err := ident.ParseCampaign("spring-2026")
	if err != nil {
		b.Fatal(err)
	}
	vendor, class, image := uuid.New(), uuid.New(), ident.SumDigest([]byte("image"))
	update := func(fn func(tx campaign.Tx) error) {
		if err := s.Update(b.Context(), fn); err != nil {
			b.Fatal(err)
		}
	}
	update(func(tx campaign.Tx) error {
		return tx.PutCampaign(acme, campaign.Campaign{ID: c, Manifest: r.manifest, Vendor: vendor, Class: class, Component: "00",
			Image: image, Size: 1 << 20, Policy: campaign.PolicyDefaults(), Phase: campaign.Active, Step: campaign.Deploying})
	})
	live := []campaign.Live{{Component: "00", Campaign: c, Manifest: r.manifest}}
	old := []campaign.Image{{Component: "00", Digest: ident.SumDigest([]byte("old")), Sequence: 1, Version: "1.0.0"}}
	for i, d := range r.devices {
		update(func(tx campaign.Tx) error {
			dev := campaign.Device{ID: d, Vendor: vendor, Class: class, Installed: old, Boot: 7, MaxChunk: 16384, Algs: []int64{-19},
				Facts: map[string]string{"region": "eu", "board": "rev-c"}, HelloSeq: 1, LastSeen: r.start, Created: r.start}
			if err := tx.PutDevice(acme, dev); err != nil {
				return err
			}
			if err := tx.PutWork(acme, d, campaign.Work{Live: live, Recent: live}); err != nil {
				return err
			}
			return tx.PutAssignment(acme, campaign.Assignment{Campaign: c, Device: d, Manifest: r.manifest, Component: "00", Image: image,
				Order: uint64(i) * 0x9e3779b97f4a7c15, State: campaign.Offered, Offers: 1, Updated: r.start, Deadline: r.start.Add(72 * time.Hour),
				Path: []campaign.PathStep{{State: campaign.Offered, At: r.start}}})
		})
		r.seqs[i] = 1
	}
	return r
}

// next is the next report of device i as a function for the store: received, then three times downloading, again and
// again, so that half of the reports move the assignment.
func (r *reporters) next(i int) func(campaign.Tx) error {
	n := r.seqs[i]
	r.seqs[i]++
	rep := campaign.Report{Seq: n + 1, Manifest: r.manifest, State: "downloading", Bytes: n << 14}
	if n%4 == 1 {
		rep.State, rep.Bytes = "received", 0
	}
	now := time.Now()
	return func(tx campaign.Tx) error {
		res, err := campaign.ApplyReport(tx, now, acme, r.devices[i], rep)
		if err == nil && res.Verdict != campaign.Recorded {
			err = fmt.Errorf("report is %s", res.Verdict)
		}
		return err
	}
}

// BenchmarkReport is the report path below the bridge: the rules, the records and the synced commit, for 1,000 devices
// that wait for each answer. Its µs are of the process's CPU.
func BenchmarkReport(b *testing.B) {
	const n = 1000
	s := open(b, badger.Options{Dir: b.TempDir()})
	r := newReporters(b, s, n)
	before, cpu := s.Stats(), cpuTime(b)
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for j := i; j < b.N; j += n {
				if err := s.Update(context.Background(), r.next(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	tell(b, s, before, cpu, start)
}

// BenchmarkReportSubmit is BenchmarkReport with answers that come by themselves, and so with more reports of one device
// under way.
func BenchmarkReportSubmit(b *testing.B) {
	const n = 1000
	for _, window := range []int{1, 8} {
		b.Run(fmt.Sprint(window), func(b *testing.B) {
			s := open(b, badger.Options{Dir: b.TempDir()})
			r := newReporters(b, s, n)
			before, cpu := s.Stats(), cpuTime(b)
			b.ReportAllocs()
			b.ResetTimer()
			start := time.Now()
			room := make(chan int, n*window) // devices that may send
			for i := range cap(room) {
				room <- i % n
			}
			for range b.N {
				i := <-room
				s.Submit(context.Background(), r.next(i), func(err error) {
					if err != nil {
						b.Error(err)
					}
					room <- i
				})
			}
			for range cap(room) {
				<-room
			}
			tell(b, s, before, cpu, start)
		})
	}
}

// tell reports what b.N reports cost.
func tell(b *testing.B, s *badger.Store, before badger.Stats, cpu time.Duration, start time.Time) {
	b.StopTimer()
	took, after := time.Since(start), s.Stats()
	per := func(v float64, unit string) { b.ReportMetric(v/float64(b.N), unit) }
	per(float64((cpuTime(b) - cpu).Microseconds()), "cpu-µs/report")
	per(float64(after.Keys-before.Keys), "keys/report")
	per(float64(after.Bytes-before.Bytes), "bytes/report")
	b.ReportMetric(float64(b.N)/took.Seconds(), "reports/s")
	b.ReportMetric(float64(after.Functions-before.Functions)/float64(max(1, after.Commits-before.Commits)), "reports/commit")
}

func cpuTime(b testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
