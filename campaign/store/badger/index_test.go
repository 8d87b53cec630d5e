package badger_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/campaign/store/storetest"
	"fleetbridge/ident"
)

// TestContractWithSets is the contract where each View that lists a state makes a set of it, so that the next one is
// answered from memory.
func TestContractWithSets(t *testing.T) {
	var stores []*badger.Store
	storetest.Run(t, func(t *testing.T) campaign.Store {
		s := open(t, badger.Options{InMemory: true})
		s.MakeSets(0)
		stores = append(stores, s)
		return s
	})
	if !slices.ContainsFunc(stores, func(s *badger.Store) bool { return s.SetsMade() > 0 }) {
		t.Error("no store made a set: the test tests nothing")
	}
}

// fleet is a campaign whose assignments are put at random.
type fleet struct {
	s *badger.Store
	c ident.Campaign
	n int
}

func newFleet(t testing.TB, n int) *fleet {
	t.Helper()
	s := open(t, badger.Options{InMemory: true})
	s.MakeSets(0)
	c, err := ident.ParseCampaign("c")
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{s, c, n}
}

func (f *fleet) put(t testing.TB, i int, state campaign.State, waiting bool) {
	t.Helper()
	a := campaign.Assignment{Campaign: f.c, Device: device(t, fmt.Sprintf("d%05d", i)), Wave: i % 3, Order: uint64(i*7919%f.n) + 1, State: state, Waiting: waiting}
	if err := f.s.Update(t.Context(), func(tx campaign.Tx) error { return tx.PutAssignment(acme, a) }); err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) audit(t testing.TB) {
	t.Helper()
	if err := f.s.View(t.Context(), func(r campaign.Reader) error { return storetest.AuditCampaign(r, acme, f.c) }); err != nil {
		t.Error(err)
	}
}

// TestSetFollowsCommits: a set that was made once stays what the index says, whatever is committed, and whatever comes
// late to it; one that grew beyond its bounds is made anew.
func TestSetFollowsCommits(t *testing.T) {
	const late = 1500 // more than a set keeps beside its roster
	f := newFleet(t, 300+late)
	rng := rand.New(rand.NewPCG(1, 2))
	some := func(n int) {
		for range n {
			f.put(t, rng.IntN(n), campaign.States[rng.IntN(len(campaign.States))], rng.IntN(4) == 0)
		}
	}
	some(300)
	f.audit(t)
	if f.s.Sets() != 1 {
		t.Fatalf("%d sets, want 1", f.s.Sets())
	}
	for range 5 {
		some(300)
		f.audit(t)
	}
	made := f.s.SetsMade()
	for i := range late {
		f.put(t, 300+i, campaign.Pending, false)
	}
	if f.s.Sets() != 0 {
		t.Error("a set was kept that most of its campaign is not in")
	}
	f.audit(t)
	if f.s.SetsMade() == made {
		t.Error("no set was made anew")
	}
}

// TestSetBesideCommits: sets that are made while others commit lose nothing of what they commit.
func TestSetBesideCommits(t *testing.T) {
	f := newFleet(t, 400)
	for i := range f.n {
		f.put(t, i, campaign.Pending, false)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(rand.Uint64(), 1))
			for range 200 {
				f.put(t, rng.IntN(f.n), campaign.States[rng.IntN(len(campaign.States))], false)
				if rng.IntN(20) == 0 {
					f.s.DropSets()
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range 20 {
				f.audit(t)
			}
		})
	}
	wg.Wait()
	f.audit(t)
}

// TestViewKeepsItsSet: a View that lasts lists what its own commit says.
func TestViewKeepsItsSet(t *testing.T) {
	f := newFleet(t, 100)
	for i := range f.n {
		f.put(t, i, campaign.Pending, false)
	}
	f.audit(t)
	err := f.s.View(t.Context(), func(r campaign.Reader) error {
		for i := range f.n / 2 {
			f.put(t, i, campaign.Offered, false)
		}
		return storetest.AuditCampaign(r, acme, f.c)
	})
	if err != nil {
		t.Error(err)
	}
	f.audit(t)
}

// TestSetForgetsWhatFailed: what a function of a shared commit did to the index before it failed is in no set.
func TestSetForgetsWhatFailed(t *testing.T) {
	f := newFleet(t, 10)
	for i := range f.n {
		f.put(t, i, campaign.Pending, false)
	}
	f.audit(t)
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.s.Update(t.Context(), func(campaign.Tx) error { close(held); <-release; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-held
	queued := f.s.Queued(2)
	errMine := errors.New("of the test")
	wg.Go(func() { f.put(t, 1, campaign.Offered, false) })
	wg.Go(func() {
		err := f.s.Update(t.Context(), func(tx campaign.Tx) error {
			a, err := tx.Assignment(acme, f.c, device(t, "d00002"))
			if err != nil {
				return err
			}
			a.State = campaign.Failed
			return errors.Join(tx.PutAssignment(acme, a), errMine)
		})
		if !errors.Is(err, errMine) {
			t.Error(err)
		}
	})
	<-queued
	close(release)
	wg.Wait()
	f.audit(t)
}
