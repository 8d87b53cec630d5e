package badger

import (
	"context"
	"errors"
	"runtime/debug"
	"sync/atomic"

	"fleetbridge/campaign"
)

const (
	// queueLen bounds the functions that wait for the committer; who brings more waits until there is room.
	queueLen = 1024
	// answersLen bounds the batches that are committed and not answered yet, beside the one that is being answered: past it
	// the committer waits.
	answersLen = 1
)

// The life of a request: the committer starts it, or its caller, whose context has ended, drops it.
const (
	waiting int32 = iota
	started
	dropped
)

// errExited answers the callers of a batch of which one function ended the committer's goroutine.
var errExited = errors.New("a function of the batch ended its goroutine")

// request is one call of Update or Submit.
type request struct {
	fn        func(campaign.Tx) error
	done      func(error) // called exactly once if the request was started
	submitted bool        // Close waits until done has returned
	state     atomic.Int32
	err       error // of fn
}

// claim reports whether the request is to be run: it is again, if it was put back.
func (r *request) claim() bool {
	return r.state.CompareAndSwap(waiting, started) || r.state.Load() == started
}

// Update runs fn as campaign.Store says. If ctx ends before fn has started, it does not run and ctx's error is returned;
// once it has started, Update waits for the outcome.
func (s *Store) Update(ctx context.Context, fn func(campaign.Tx) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.inUse.Done()
	if err := ctx.Err(); err != nil {
		return err
	}
	outcome := make(chan error, 1)
	r := &request{fn: fn, done: func(err error) { outcome <- err }}
	select {
	case s.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-outcome:
		return err
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, dropped) {
			return ctx.Err()
		}
		return <-outcome
	}
}

// Submit runs fn as campaign.Store says. ctx bounds the wait for room in the queue, and nothing else.
func (s *Store) Submit(ctx context.Context, fn func(campaign.Tx) error, done func(error)) {
	if err := s.enter(); err != nil {
		done(err)
		return
	}
	r := &request{fn: fn, done: done, submitted: true}
	err := ctx.Err()
	if err == nil {
		select {
		case s.queue <- r:
			return
		default:
		}
		select {
		case s.queue <- r:
			return
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	defer s.inUse.Done()
	done(err)
}

// answer tells the outcomes of batches, in order, while the committer is at the next one.
func (s *Store) answer() {
	ended := false
	defer func() {
		if !ended {
			go s.answer() // a done ended this goroutine (runtime.Goexit): the others are still to be told
		}
	}()
	for {
		if s.telling == nil {
			b, open := <-s.answers
			if !open {
				ended = true
				close(s.answered)
				return
			}
			s.telling = b
		}
		for b := s.telling; b.said < len(b.reqs); {
			b.said++
			s.tell(b.reqs[b.said-1], b.err)
		}
		s.telling = nil
	}
}

// tell answers one request. One that failed by itself gets the batch's err too, if there is one: what it saw, and its own
// error may speak of, is not durable then.
func (s *Store) tell(r *request, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("answer of a transaction panicked", "panic", p, "stack", string(debug.Stack()))
		}
		if r.submitted {
			s.inUse.Done()
		}
	}()
	if err == nil {
		err = r.err
	}
	r.done(err)
}
