package badger_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/campaign/store/storetest"
	"fleetbridge/ident"
)

// TestDueIsLazy: words that put a deadline off write no index entry until the half of its time is over; what is due is found
// all the same, in order, and by an Update in no more steps than there are early entries.
func TestDueIsLazy(t *testing.T) {
	s := open(t, badger.Options{InMemory: true})
	now := time.Unix(1_795_000_000, 0).UTC()
	const n = 40
	put := func(i int, at, deadline time.Duration) {
		t.Helper()
		a := campaign.Assignment{Campaign: spring, Device: device(t, fmt.Sprintf("d%02d", i)), State: campaign.Received,
			Updated: now.Add(at), Deadline: now.Add(at + deadline)}
		if err := s.Update(t.Context(), func(tx campaign.Tx) error { return tx.PutAssignment(acme, a) }); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		put(i, 0, time.Hour)
	}
	keys := s.Stats().Keys
	for i := range n { // the last first, so that the order of the entries is not that of what is due
		put(i, time.Duration(n-i)*time.Minute/2, time.Hour)
	}
	if wrote := s.Stats().Keys - keys; wrote != n {
		t.Errorf("%d keys written by %d words, want the records alone", wrote, n)
	}
	check := func(until time.Duration, want int) (next time.Time) {
		t.Helper()
		for name, run := range map[string]func(func(campaign.Reader) error) error{
			"view": func(fn func(campaign.Reader) error) error { return s.View(t.Context(), fn) },
			"update": func(fn func(campaign.Reader) error) error {
				return s.Update(t.Context(), func(tx campaign.Tx) error { return fn(tx) })
			},
			"again": func(fn func(campaign.Reader) error) error {
				return s.Update(t.Context(), func(tx campaign.Tx) error { return fn(tx) })
			},
		} {
			err := run(func(r campaign.Reader) error {
				as, err := r.DueBy(acme, spring, now.Add(until), n+1)
				for i, a := range as {
					if i > 0 && a.Due().Before(as[i-1].Due()) || a.Due().After(now.Add(until)) {
						t.Errorf("%s: %s stands at %d", name, a.Device, i)
					}
				}
				if len(as) != want {
					t.Errorf("%s: %d are due, want %d", name, len(as), want)
				}
				var err2 error
				next, err2 = r.NextDue(acme, spring)
				return errors.Join(err, err2)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := s.View(t.Context(), func(r campaign.Reader) error { return storetest.AuditCampaign(r, acme, spring) }); err != nil {
			t.Error(err)
		}
		return next
	}
	keys = s.Stats().Keys
	put(0, 40*time.Minute, time.Hour) // from where its entry is in the first half of the time
	put(0, 20*time.Minute, time.Hour) // and back, before its entry
	if wrote := s.Stats().Keys - keys; wrote != 6 {
		t.Errorf("%d keys written, want the record and two entries each time", wrote)
	}
	check(59*time.Minute, 0)
	if next := check(time.Hour, 0); !next.After(now.Add(time.Hour)) {
		t.Errorf("after an Update has looked the next is due at %v", next)
	}
	check(time.Hour+10*time.Minute, 20)
	check(2*time.Hour, n)
	err := s.Update(t.Context(), func(tx campaign.Tx) error {
		var errs []error
		for i := range n {
			errs = append(errs, tx.DeleteAssignment(acme, spring, device(t, fmt.Sprintf("d%02d", i))))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
	if next := check(3*time.Hour, 0); !next.IsZero() {
		t.Errorf("entries of nobody are left: the next is due at %v", next)
	}
}

// TestDueIsBounded: one look moves so many early entries and no more, and the next goes on.
func TestDueIsBounded(t *testing.T) {
	s := open(t, badger.Options{InMemory: true})
	now := time.Unix(1_795_000_000, 0).UTC()
	n := badger.MaxEarly + 10
	put := func(deadline time.Time) {
		for from := 0; from < n; from += 500 {
			err := s.Update(t.Context(), func(tx campaign.Tx) error {
				for i := from; i < min(n, from+500); i++ {
					a := campaign.Assignment{Campaign: spring, Device: device(t, fmt.Sprintf("d%05d", i)), State: campaign.Received, Deadline: deadline}
					if err := tx.PutAssignment(acme, a); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	put(now)
	put(now.Add(time.Hour))
	looks := 0
	for next := now; !next.After(now); looks++ {
		err := s.Update(t.Context(), func(tx campaign.Tx) error {
			as, err := tx.DueBy(acme, spring, now, 256)
			if len(as) > 0 {
				t.Errorf("%d are due", len(as))
			}
			var err2 error
			next, err2 = tx.NextDue(acme, spring)
			return errors.Join(err, err2)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if looks != 2 {
		t.Errorf("%d looks, want 2", looks)
	}
}

// TestMemoryIsRight: what a function reads is what is there, whatever functions before it in the batch did and took back.
func TestMemoryIsRight(t *testing.T) {
	s := open(t, badger.Options{InMemory: true})
	d := device(t, "d")
	a := campaign.Assignment{Campaign: spring, Device: d, State: campaign.Received, Seq: 1, Reports: 1}
	w := campaign.Work{Live: []campaign.Live{{Component: "00", Campaign: spring}}}
	put := func(tx campaign.Tx, seq uint64, state campaign.State) error {
		a := a
		a.Seq, a.Reports, a.State, a.Reason = seq, seq, state, fmt.Sprint("because ", seq)
		w := w
		w.Waiting = make([]ident.Campaign, seq)
		for i := range w.Waiting {
			w.Waiting[i] = spring
		}
		return errors.Join(tx.PutAssignment(acme, a), tx.PutWork(acme, d, w), tx.PutDevice(acme, campaign.Device{ID: d, Boot: seq, Facts: map[string]string{"seq": fmt.Sprint(seq)}}))
	}
	want := func(tx campaign.Reader, seq uint64, state campaign.State) {
		t.Helper()
		got, err := tx.Assignment(acme, spring, d)
		work, err2 := tx.Work(acme, d)
		dev, err3 := tx.Device(acme, d)
		boot, err4 := tx.Boot(acme, d)
		counts, err5 := tx.Counts(acme, spring)
		if err := errors.Join(err, err2, err3, err4, err5); err != nil {
			t.Error(err)
		}
		if got.Seq != seq || got.State != state || len(work.Waiting) != int(seq) || dev.Boot != seq || boot != seq || dev.Facts["seq"] != fmt.Sprint(seq) ||
			counts.Reports != seq || counts.Of(state) != 1 || counts.Total() != 1 {
			t.Errorf("read %d %s, waiting %d, boot %d/%d, counts %+v; want %d %s", got.Seq, got.State, len(work.Waiting), dev.Boot, boot, counts, seq, state)
		}
		clear(dev.Facts) // one's own
		clear(work.Live)
	}
	held, release := make(chan struct{}), make(chan struct{})
	done := make(chan error, 9)
	told := func(err error) { done <- err }
	s.Submit(t.Context(), func(tx campaign.Tx) error { close(held); <-release; return put(tx, 1, campaign.Failed) }, told)
	<-held // the following share a batch
	errMine := errors.New("mine")
	steps := []struct {
		from uint64
		was  campaign.State
		to   uint64
		is   campaign.State
		err  error
	}{
		{1, campaign.Failed, 2, campaign.Skipped, errMine},
		{1, campaign.Failed, 3, campaign.Downloading, nil},
		{3, campaign.Downloading, 4, campaign.Silent, errMine},
		{3, campaign.Downloading, 5, campaign.Confirmed, nil},
		{5, campaign.Confirmed, 6, campaign.Reverted, errMine},
	}
	for _, c := range steps {
		s.Submit(t.Context(), func(tx campaign.Tx) error {
			want(tx, c.from, c.was)
			if err := put(tx, c.to, c.is); err != nil {
				return err
			}
			want(tx, c.to, c.is)
			return c.err
		}, told)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, c := range steps {
		if err := <-done; !errors.Is(err, c.err) {
			t.Errorf("told %v, want %v", err, c.err)
		}
	}
	for range 2 {
		err := s.View(t.Context(), func(r campaign.Reader) error {
			want(r, 5, campaign.Confirmed)
			return storetest.AuditCampaign(r, acme, spring)
		})
		err2 := s.Update(t.Context(), func(tx campaign.Tx) error { want(tx, 5, campaign.Confirmed); return nil })
		if err := errors.Join(err, err2); err != nil {
			t.Error(err)
		}
	}
	if n := s.Stats().Commits; n > 2 {
		t.Errorf("%d commits: the functions did not share one", n)
	}
	err := s.Update(t.Context(), func(tx campaign.Tx) error { // goes, and is made anew, within one transaction
		return errors.Join(tx.PutCampaign(acme, campaign.Campaign{ID: spring}), tx.DeleteAssignment(acme, spring, d), tx.DeleteCampaign(acme, spring), put(tx, 7, campaign.Received))
	})
	err2 := s.View(t.Context(), func(r campaign.Reader) error {
		want(r, 7, campaign.Received)
		return storetest.AuditCampaign(r, acme, spring)
	})
	if err := errors.Join(err, err2); err != nil {
		t.Error(err)
	}
}
