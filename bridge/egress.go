package bridge

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"fleetbridge/bridge/egress"
	"fleetbridge/topics"
)

const (
	// slotsPerProc is how many slices may be on their way into sockets for each processor: enough to keep all busy while some
	// wait for a lock, few enough that the order of those that wait is theirs.
	slotsPerProc = 4
	// maxWaiting bounds the slices that wait for their turn; each is one connection's.
	maxWaiting = 1 << 16
)

// egressGate has slices of chunks wait for their turn. Its lock is held for a look at the scheduler, never while anything is
// written. Safe for concurrent use.
type egressGate struct {
	rate int64

	mu    sync.Mutex
	s     *egress.Scheduler
	timer *time.Timer // of the next slice that the rate allows; nil: none is awaited
}

func newEgressGate(rate int64) *egressGate {
	return &egressGate{rate: rate, s: egress.New(egress.Limits{Rate: rate, Slots: slotsPerProc * runtime.GOMAXPROCS(0), Waiting: maxWaiting})}
}

// now is the time where it matters.
func (g *egressGate) now() time.Time {
	if g.rate == 0 {
		return time.Time{}
	}
	return time.Now()
}

// slice is how many bytes a slice should have at most.
func (g *egressGate) slice() int { return g.s.Slice() }

// try reports whether a slice of n bytes may go at once; then done is due.
func (g *egressGate) try(n int) bool {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.s.Take(now, n)
}

// errOver is why a slice is not sent: nobody wants it any more.
var errOver = errors.New("the fetch is over")

// wait returns when a slice of n bytes may go: then done is due. It returns errOver once over is closed, and a problem when too
// many wait.
func (g *egressGate) wait(over <-chan struct{}, f egress.Flow, n int) error {
	g.mu.Lock()
	if g.s.Take(g.now(), n) {
		g.mu.Unlock()
		return nil
	}
	turn := g.s.Queue(f, n)
	g.dispatch()
	g.mu.Unlock()
	if turn == nil {
		return problem(topics.ProblemQuota, "more devices wait for chunks than the server lets wait: ask again later")
	}
	select {
	case <-turn.Go:
		return nil
	case <-over:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.s.Leave(turn) {
		g.s.Done(n)
	}
	g.dispatch()
	return errOver
}

// done gives a slice's turn back, and of its bytes what was not sent.
func (g *egressGate) done(unsent int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.s.Done(unsent)
	g.dispatch()
}

// dispatch lets go what may go. The caller holds mu.
func (g *egressGate) dispatch() {
	for {
		turn, wait := g.s.Next(g.now())
		if turn != nil {
			continue
		}
		if wait > 0 && g.timer == nil {
			g.timer = time.AfterFunc(wait, g.tick)
		}
		return
	}
}

func (g *egressGate) tick() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.timer = nil
	g.dispatch()
}
