package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// ErrSabotage is what a Saboteur's failed Update returns.
var ErrSabotage = fmt.Errorf("commit sabotaged: %w", campaign.ErrUnavailable)

// Saboteur is a store whose commits can be made to fail. It may be used from any goroutine.
type Saboteur struct {
	campaign.Store
	mu      sync.Mutex
	commits int
	fail    func(n int) Sabotage
}

// Sabotage is what happens to a commit.
type Sabotage int

// The kinds of sabotage.
const (
	None   Sabotage = iota // it works
	Lost                   // nothing of it is there, and an error is returned
	Unsure                 // it is there, and an error is returned all the same
)

// NewSaboteur wraps s; nothing fails yet.
func NewSaboteur(s campaign.Store) *Saboteur {
	return &Saboteur{Store: s, fail: func(int) Sabotage { return None }}
}

// Fail counts the Updates from 1 again and asks fail what becomes of each. fail is called under a lock.
func (s *Saboteur) Fail(fail func(n int) Sabotage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commits, s.fail = 0, fail
}

// FailAt lets only the n-th Update from now fail.
func (s *Saboteur) FailAt(n int, how Sabotage) {
	s.Fail(func(i int) Sabotage {
		if i == n {
			return how
		}
		return None
	})
}

// Commits is the number of Updates since Fail or FailAt.
func (s *Saboteur) Commits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits
}

// Update is Store.Update, sabotaged. A function that fails by itself returns its own error in any case.
func (s *Saboteur) Update(ctx context.Context, fn func(campaign.Tx) error) error {
	s.mu.Lock()
	s.commits++
	how := s.fail(s.commits)
	s.mu.Unlock()
	err := s.Store.Update(ctx, func(tx campaign.Tx) error {
		if err := fn(tx); err != nil || how != Lost {
			return err
		}
		return ErrSabotage
	})
	if err == nil && how == Unsure {
		return ErrSabotage
	}
	return err
}

// Submit is Store.Submit, sabotaged as Update is; it waits for the commit.
func (s *Saboteur) Submit(ctx context.Context, fn func(campaign.Tx) error, done func(error)) {
	done(s.Update(ctx, fn))
}

// Rerun returns s with every function run twice, the first time for nothing, as a store may run it: what a function
// leaves behind beside its transaction shows. Close must not be called while an Update is under way.
func Rerun(s campaign.Store) campaign.Store { return rerun{s} }

type rerun struct{ campaign.Store }

var errAgain = errors.New("run again")

func (s rerun) Update(ctx context.Context, fn func(campaign.Tx) error) error {
	err := s.Store.Update(ctx, func(tx campaign.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return errAgain
	})
	if !errors.Is(err, errAgain) {
		return err
	}
	return s.Store.Update(context.WithoutCancel(ctx), fn)
}

func (s rerun) Submit(ctx context.Context, fn func(campaign.Tx) error, done func(error)) {
	done(s.Update(ctx, fn))
}

// scenario is a small campaign as a list of transactions. Each is its own check of what was done before, so the whole
// may be repeated from its start at any time.
func scenario(tn ident.Tenant) []func(campaign.Tx) error {
	c, d := campaignID("c"), device("d")
	move := func(from, to campaign.State, seq uint64) func(campaign.Tx) error {
		return func(tx campaign.Tx) error {
			a, err := tx.Assignment(tn, c, d)
			if err != nil || a.State != from {
				return err
			}
			a.State, a.Seq, a.Reports = to, seq, a.Reports+1
			a.Deadline = epoch.Add(time.Duration(seq) * time.Minute)
			a.Path = append(a.Path, campaign.PathStep{State: to, Seq: seq, At: epoch})
			var w campaign.Work
			if to.Live() {
				w.Live = []campaign.Live{{Component: "00", Campaign: c}}
			}
			return errors.Join(tx.PutAssignment(tn, a), tx.PutWork(tn, d, w))
		}
	}
	phase := func(p campaign.Phase) func(campaign.Tx) error {
		return func(tx campaign.Tx) error {
			v, err := tx.Campaign(tn, c)
			if err != nil || v.Phase == p || v.Phase == campaign.Stopped {
				return err
			}
			v.Phase, v.Revision = p, v.Revision+1
			return tx.PutCampaign(tn, v)
		}
	}
	return []func(campaign.Tx) error{
		func(tx campaign.Tx) error {
			return errors.Join(tx.PutTenant(campaign.Tenant{ID: tn}), tx.PutDevice(tn, campaign.Device{ID: d}))
		},
		func(tx campaign.Tx) error {
			if _, err := tx.Campaign(tn, c); !errors.Is(err, campaign.ErrNotFound) {
				return err
			}
			return errors.Join(
				tx.PutCampaign(tn, campaign.Campaign{ID: c, Phase: campaign.Draft}),
				tx.PutAssignment(tn, campaign.Assignment{Campaign: c, Device: d, State: campaign.Pending}),
				tx.PutReply(tn, must(ident.ParseName("n")), "create", campaign.StoredReply{Expires: epoch}))
		},
		phase(campaign.Active),
		move(campaign.Pending, campaign.Offered, 0),
		move(campaign.Offered, campaign.Downloading, 1),
		move(campaign.Downloading, campaign.Rebooting, 2),
		move(campaign.Rebooting, campaign.Confirmed, 3),
		func(tx campaign.Tx) error { _, err := tx.ExpireReplies(tn, epoch, 10); return err },
		phase(campaign.Stopped),
	}
}

// testSaboteur: whichever commit of the scenario fails, and however, the records agree with each other, and the
// scenario can be repeated to the end that it has when nothing fails.
func testSaboteur(t *testing.T, open Open) {
	tn := tenants[0]
	play := func(s campaign.Store) error {
		for _, step := range scenario(tn) {
			if err := s.Update(t.Context(), step); err != nil {
				return err
			}
		}
		return nil
	}
	undisturbed := open(t)
	if err := play(undisturbed); err != nil {
		t.Fatal(err)
	}
	want := outcome(t, undisturbed, tn)
	if want.State != campaign.Confirmed || want.Reports != 4 {
		t.Fatalf("the scenario ends with %v", want)
	}
	for n := range scenario(tn) {
		for _, how := range []Sabotage{Lost, Unsure} {
			s := NewSaboteur(open(t))
			s.FailAt(n+1, how)
			if err := play(s); !errors.Is(err, ErrSabotage) {
				t.Fatalf("commit %d: %v, want sabotage", n+1, err)
			}
			view(t, s, Audit)
			if err := play(s); err != nil {
				t.Fatalf("again after commit %d: %v", n+1, err)
			}
			view(t, s, Audit)
			if d := compare(want, outcome(t, s, tn)); d != "" {
				t.Errorf("after commit %d failed (%d), another end:\n%s", n+1, how, d)
			}
		}
	}
}

// outcome is the assignment of the scenario.
func outcome(t *testing.T, s campaign.Store, tn ident.Tenant) (a campaign.Assignment) {
	t.Helper()
	view(t, s, func(r campaign.Reader) (err error) {
		a, err = r.Assignment(tn, campaignID("c"), device("d"))
		return err
	})
	return a
}
