package bridge

import (
	"context"
	"sync"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

// Bounds of the commands that read a whole registry, log or campaign.
const (
	maxScans       = 2  // run at a time: each can keep a processor busy for seconds
	maxTenantScans = 4  // of a tenant that run or wait
	maxScansHeld   = 32 // of all tenants
)

// scanning are those commands. They change nothing, so they are acknowledged when they are taken, and answered when they are
// done: meanwhile the connection that asked goes on, and its pings are answered.
var scanning = map[[2]string]bool{
	{"selector", "test"}: true,
	{"campaign", "plan"}: true,
	{"server", "check"}:  true,
	{"audit", "verify"}:  true,
}

// scans says which scan runs now. Safe for concurrent use.
type scans struct {
	running chan struct{} // holds a token for each scan that runs
	ended   sync.WaitGroup
	life    context.Context // ends with the bridge
	cancel  context.CancelFunc
	mu      sync.Mutex
	held    map[ident.Tenant]int
	all     int
}

func newScans() *scans {
	life, cancel := context.WithCancel(context.Background())
	return &scans{running: make(chan struct{}, maxScans), life: life, cancel: cancel, held: map[ident.Tenant]int{}}
}

// start runs fn, for which there is a place, in a goroutine of its own. Its context ends with ctx and with the bridge.
func (s *scans) start(ctx context.Context, t ident.Tenant, fn func(context.Context)) {
	go func() {
		defer s.leave(t)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.life, cancel)()
		fn(ctx)
	}()
}

// end ends what runs, and waits for it.
func (s *scans) end() {
	s.cancel()
	s.ended.Wait()
}

// take holds a place for a scan of t. The error is the client's: too many wait.
func (s *scans) take(t ident.Tenant) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[t] >= maxTenantScans || s.all >= maxScansHeld {
		return problem(topics.ProblemQuota, "%d commands that read everything run or wait, at most %d of a tenant may: ask again when they are answered", s.held[t], maxTenantScans)
	}
	s.held[t]++
	s.all++
	s.ended.Add(1)
	return nil
}

// leave gives the place back.
func (s *scans) leave(t ident.Tenant) {
	s.mu.Lock()
	if s.held[t]--; s.held[t] == 0 {
		delete(s.held, t)
	}
	s.all--
	s.mu.Unlock()
	s.ended.Done()
}

// run runs fn when its turn has come, or gives ctx's error.
func (s *scans) run(ctx context.Context, fn func() (any, error)) (any, error) {
	select {
	case s.running <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.running }()
	return fn()
}
