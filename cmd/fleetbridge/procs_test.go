package main

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestProcsAreSpreadDuringBulkWork: from the first bulk work to a while after the last, once however many overlap, and never on
// a machine with many cores or against the environment.
func TestProcsAreSpreadDuringBulkWork(t *testing.T) {
	for _, c := range []struct {
		name  string
		cores int
		ours  bool
		most  int
	}{
		{"two cores", 2, true, 8},
		{"four cores", 4, true, 16},
		{"many cores", 8, true, 8},
		{"set by the environment", 2, false, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, changes := c.cores, 0
				set := func(to int) int {
					old := n
					if to > 0 {
						n, changes = to, changes+1
					}
					return old
				}
				s := newProcs(set, func() { n, changes = c.cores, changes+1 }, c.ours)
				want := func(procs int, when string) {
					t.Helper()
					synctest.Wait()
					s.mu.Lock()
					defer s.mu.Unlock()
					if n != procs {
						t.Errorf("%d Ps %s, want %d", n, when, procs)
					}
				}
				want(c.cores, "before")
				first, second := s.bulk(), s.bulk()
				want(c.most, "while two run")
				first()
				first() // again: it has ended
				time.Sleep(2 * afterBulk)
				want(c.most, "while the second runs")
				second()
				time.Sleep(afterBulk / 2)
				third := s.bulk() // in time: nothing changes
				third()
				time.Sleep(afterBulk - 1)
				want(c.most, "soon after")
				time.Sleep(time.Nanosecond)
				want(c.cores, "after")
				s.mu.Lock()
				defer s.mu.Unlock()
				if changes > 2 {
					t.Errorf("%d changes, each of which stops the world", changes)
				}
			})
		})
	}
}
