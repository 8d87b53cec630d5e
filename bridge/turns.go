package bridge

import (
	"context"
	"sync"
	"time"

	"fleetbridge/ident"
)

// job names a campaign that the engine drives.
type job struct {
	tenant   ident.Tenant
	campaign ident.Campaign
}

// turns says which campaign the engine looks at next, and when. It holds one entry per campaign that waits for a turn,
// so it is bounded by the number of running campaigns. Safe for concurrent use.
type turns struct {
	mu     sync.Mutex
	due    map[job]time.Time
	served map[ident.Tenant]uint64 // the turn in which a tenant was served last
	turn   uint64
	kick   chan struct{}
}

func newTurns() *turns {
	return &turns{due: map[job]time.Time{}, served: map[ident.Tenant]uint64{}, kick: make(chan struct{}, 1)}
}

// want asks for a turn for j at the latest at t; an earlier wish stands.
func (q *turns) want(j job, t time.Time) {
	q.mu.Lock()
	old, ok := q.due[j]
	sooner := !ok || t.Before(old)
	if sooner {
		q.due[j] = t
	}
	q.mu.Unlock()
	if sooner {
		select {
		case q.kick <- struct{}{}:
		default: // a kick is waiting already
		}
	}
}

// take removes and returns a job that is due at now, of the tenant that has waited longest for its turn. If none is due
// it says how long until the next one is; no job at all gives a negative wait.
func (q *turns) take(now time.Time) (j job, ok bool, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	wait = -1
	for k, at := range q.due {
		if at.After(now) {
			if d := at.Sub(now); wait < 0 || d < wait {
				wait = d
			}
			continue
		}
		if !ok || q.before(k, j) {
			j, ok = k, true
		}
	}
	if !ok {
		return job{}, false, wait
	}
	delete(q.due, j)
	q.turn++
	q.served[j.tenant] = q.turn
	if len(q.due) == 0 {
		clear(q.served)
	}
	return j, true, 0
}

// before reports whether a is to be served before b: by tenant in turn, then by due time, then by name.
func (q *turns) before(a, b job) bool {
	if a.tenant != b.tenant {
		if x, y := q.served[a.tenant], q.served[b.tenant]; x != y {
			return x < y
		}
		return a.tenant.String() < b.tenant.String()
	}
	if x, y := q.due[a], q.due[b]; !x.Equal(y) {
		return x.Before(y)
	}
	return a.campaign.String() < b.campaign.String()
}

// next waits for a job to be due; an error means that ctx has ended.
func (q *turns) next(ctx context.Context, now func() time.Time) (job, error) {
	for {
		if err := ctx.Err(); err != nil {
			return job{}, err
		}
		j, ok, wait := q.take(now())
		if ok {
			return j, nil
		}
		if err := sleep(ctx, wait, q.kick); err != nil {
			return job{}, err
		}
	}
}

// sleep waits for d (negative: for ever), for a kick, or for the end of ctx, which is an error.
func sleep(ctx context.Context, d time.Duration, kick <-chan struct{}) error {
	var alarm <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-kick:
	case <-alarm:
	}
	return nil
}
