package egress_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"fleetbridge/bridge/egress"
	"fleetbridge/ident"
)

var epoch = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func flow(tenant, device string) egress.Flow {
	d, err := ident.ParseDevice(device)
	if err != nil {
		panic(err)
	}
	return egress.Flow{Tenant: ident.MustTenant(tenant), Device: d}
}

// source is a device that wants its next slice as soon as it got one, as a fetch does.
type source struct {
	flow  egress.Flow
	slice int
	got   int
}

// play serves sources for a time; each has one slice waiting, or its slice in hand.
func play(t *testing.T, l egress.Limits, span time.Duration, sources []*source) {
	t.Helper()
	s := egress.New(l)
	now := epoch
	if l.Slots == 0 {
		l.Slots = 1
	}
	owner := map[*egress.Turn]*source{}
	for _, src := range sources {
		owner[queue(t, s, src)] = src
	}
	for now.Before(epoch.Add(span)) {
		turn, wait := s.Next(now)
		if turn == nil {
			if wait <= 0 {
				t.Fatal("slices wait, slots are free, and the rate is no reason")
			}
			now = now.Add(wait)
			continue
		}
		src := owner[turn]
		delete(owner, turn)
		src.got += src.slice
		s.Done(0)
		owner[queue(t, s, src)] = src // before the next is chosen, but after it was not waiting for a moment
	}
}

func queue(t *testing.T, s *egress.Scheduler, src *source) *egress.Turn {
	t.Helper()
	turn := s.Queue(src.flow, src.slice)
	if turn == nil {
		t.Fatal("the queue is full")
	}
	return turn
}

func fleet(tenant string, n, slice int) (list []*source) {
	for i := range n {
		list = append(list, &source{flow: flow(tenant, fmt.Sprintf("dev-%d", i)), slice: slice})
	}
	return list
}

func sum(list []*source) (n int) {
	for _, s := range list {
		n += s.got
	}
	return n
}

// near says whether got is within a tenth of want.
func near(got, want int) bool { return got > want*9/10 && got < want*11/10 }

// Of two tenants with 50 devices and with one, each gets half, whatever their slices; and of the 50, each the same.
func TestTenantsShareTheRate(t *testing.T) {
	for what, c := range map[string]struct{ many, one int }{
		"same slices":        {32 << 10, 32 << 10},
		"the many's smaller": {4 << 10, 64 << 10},
		"the one's smaller":  {64 << 10, 4 << 10},
		"no two are even":    {100_003, 7919},
	} {
		const rate, seconds = 10 << 20, 60
		many, one := fleet("many", 50, c.many), fleet("one", 1, c.one)
		play(t, egress.Limits{Rate: rate, Slots: 8, Waiting: 100}, seconds*time.Second, append(many, one...))
		if a, b := sum(many), sum(one); !near(a, rate*seconds/2) || !near(b, rate*seconds/2) {
			t.Errorf("%s: the tenant with 50 devices got %d bytes, the one with 1 got %d, of %d", what, a, b, rate*seconds)
		}
		for _, s := range many {
			if !near(s.got, rate*seconds/100) {
				t.Errorf("%s: %s got %d bytes of its tenant's %d", what, s.flow.Device, s.got, rate*seconds/2)
			}
		}
	}
}

// A device with many connections has one part, as has its neighbour with one.
func TestDevicesShareWhatTheirTenantGets(t *testing.T) {
	greedy := fleet("acme", 1, 32<<10)
	for range 30 {
		greedy = append(greedy, &source{flow: greedy[0].flow, slice: 32 << 10})
	}
	modest := &source{flow: flow("acme", "modest"), slice: 32 << 10}
	play(t, egress.Limits{Rate: 10 << 20, Slots: 8, Waiting: 100}, time.Minute, append(greedy, modest))
	if !near(sum(greedy), modest.got) {
		t.Errorf("31 connections of a device got %d bytes, the one of another %d", sum(greedy), modest.got)
	}
}

// Who was away collects no credit: when it comes it gets its part, and not all.
func TestNobodySavesUp(t *testing.T) {
	s := egress.New(egress.Limits{Rate: 1 << 20, Slots: 1, Waiting: 100})
	now, got := epoch, map[string]int{}
	serve := func(n int, sources ...*source) {
		t.Helper()
		owner := map[*egress.Turn]*source{}
		for _, src := range sources {
			owner[queue(t, s, src)] = src
		}
		for range n {
			turn, wait := s.Next(now)
			if turn == nil {
				now = now.Add(wait)
				turn, _ = s.Next(now)
			}
			src := owner[turn]
			got[src.flow.Tenant.String()]++
			s.Done(0)
			owner[queue(t, s, src)] = src
		}
		for turn := range maps.Keys(owner) {
			s.Leave(turn)
		}
	}
	a, b := fleet("a", 1, 16<<10), fleet("b", 1, 16<<10)
	serve(100, a[0])
	clear(got)
	serve(100, a[0], b[0])
	if got["a"] < 45 || got["b"] < 45 {
		t.Errorf("after a's hundred alone, slices went to %v", got)
	}
}

// While nothing limits, a slice goes at once; every slot that is taken comes back once.
func TestTakeIsFreeWhileNothingLimits(t *testing.T) {
	s := egress.New(egress.Limits{Slots: 2, Waiting: 1})
	if s.Slice() != egress.MaxSlice || !s.Take(epoch, 1) || !s.Take(epoch, 1<<30) {
		t.Fatal("a slice had to wait for nothing")
	}
	if s.Take(epoch, 1) {
		t.Fatal("three slices in two slots")
	}
	turn := s.Queue(flow("acme", "d"), 1)
	if got, wait := s.Next(epoch); got != nil || wait != 0 {
		t.Fatalf("a third slice may go: %v, or in %s", got, wait)
	}
	s.Done(0)
	if s.Take(epoch, 1) {
		t.Error("a slice went ahead of one that waits")
	}
	if got, _ := s.Next(epoch); got != turn {
		t.Error("the one that waits does not get the slot")
	}
	select {
	case <-turn.Go:
	default:
		t.Error("it was not told")
	}
}

// As many wait as may, and no more; who leaves makes room.
func TestQueueIsBounded(t *testing.T) {
	s := egress.New(egress.Limits{Slots: 1, Waiting: 2})
	a, b := s.Queue(flow("acme", "a"), 1), s.Queue(flow("acme", "b"), 1)
	if s.Queue(flow("other", "c"), 1) != nil {
		t.Fatal("three wait in a queue of two")
	}
	if !s.Leave(a) || s.Leave(a) {
		t.Error("a turn leaves once")
	}
	c := s.Queue(flow("other", "c"), 1)
	if c == nil {
		t.Fatal("no room was made")
	}
	first, _ := s.Next(epoch)
	if first == a || s.Leave(first) {
		t.Error("a turn that left went, or one that went left")
	}
	s.Done(0)
	second, _ := s.Next(epoch)
	if second == nil || second == first || first != b && first != c {
		t.Error("those that wait do not go one after the other")
	}
	s.Done(0)
	if last, wait := s.Next(epoch); last != nil || wait != 0 {
		t.Error("somebody waits in an empty queue")
	}
}

// The rate is kept over any time, the burst excepted, and what was not sent is given back.
func TestRate(t *testing.T) {
	const rate = 1 << 20
	s := egress.New(egress.Limits{Rate: rate, Slots: 100, Waiting: 100})
	slice := s.Slice()
	if slice != rate/20 {
		t.Errorf("slices of %d bytes", slice)
	}
	sent, now := 0, epoch
	for now.Before(epoch.Add(10 * time.Second)) {
		for s.Take(now, slice) {
			s.Done(slice / 2) // half of it is not sent
			sent += slice / 2
		}
		now = now.Add(time.Millisecond)
	}
	if !near(sent, 10*rate) {
		t.Errorf("%d bytes in 10 s at %d a second", sent, rate)
	}
	if s := egress.New(egress.Limits{Rate: 1}); s.Slice() < 1024 {
		t.Errorf("slices of %d bytes at a low rate", s.Slice())
	}
	if s := egress.New(egress.Limits{Rate: 1 << 40}); s.Slice() != egress.MaxSlice {
		t.Errorf("slices of %d bytes at a high rate", s.Slice())
	}
}

// Whatever comes in whatever order: each turn goes once or leaves once, none is lost, slots and queue are never passed.
func TestAnyOrder(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 0))
		limits := egress.Limits{Slots: 1 + rng.IntN(4), Waiting: 1 + rng.IntN(20)}
		if seed%2 == 0 {
			limits.Rate = 1 << 20
		}
		s, now := egress.New(limits), epoch
		waiting, used := map[*egress.Turn]bool{}, 0
		for range 3000 {
			now = now.Add(time.Duration(rng.IntN(int(10 * time.Millisecond))))
			switch rng.IntN(5) {
			case 0, 1:
				turn := s.Queue(flow(string("abc"[rng.IntN(3)]), string("wxyz"[rng.IntN(4)])), 1+rng.IntN(egress.MaxSlice))
				if (turn == nil) != (len(waiting) == limits.Waiting) {
					t.Fatalf("seed %d: queued %v with %d of %d", seed, turn != nil, len(waiting), limits.Waiting)
				}
				if turn != nil {
					waiting[turn] = true
				}
			case 2:
				for turn := range waiting {
					if !s.Leave(turn) {
						t.Fatalf("seed %d: a turn that waits can't leave", seed)
					}
					delete(waiting, turn)
					break
				}
			case 3:
				turn, wait := s.Next(now)
				if turn == nil {
					if len(waiting) > 0 && used < limits.Slots && wait <= 0 {
						t.Fatalf("seed %d: %d wait for nothing", seed, len(waiting))
					}
					break
				}
				if used++; !waiting[turn] || used > limits.Slots {
					t.Fatalf("seed %d: a turn went that does not wait, or %d in %d slots", seed, used, limits.Slots)
				}
				delete(waiting, turn)
			case 4:
				if used > 0 {
					s.Done(0)
					used--
				}
			}
		}
	}
}

// BenchmarkTake is what a slice pays while nothing limits; BenchmarkNext while 10,000 devices of 100 tenants wait.
func BenchmarkTake(b *testing.B) {
	s := egress.New(egress.Limits{Slots: 8, Waiting: 8})
	b.ReportAllocs()
	for b.Loop() {
		if !s.Take(epoch, 1) {
			b.Fatal("had to wait")
		}
		s.Done(0)
	}
}

func BenchmarkNext(b *testing.B) {
	s := egress.New(egress.Limits{Slots: 1, Waiting: 20_000})
	var flows []egress.Flow
	for i := range 10_000 {
		f := flow(fmt.Sprintf("t%d", i%100), fmt.Sprintf("d%d", i))
		flows = append(flows, f)
		s.Queue(f, 32<<10)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if t, _ := s.Next(epoch); t == nil {
			b.Fatal("nobody waits")
		}
		s.Done(0)
		s.Queue(flows[i%len(flows)], 32<<10)
	}
}
