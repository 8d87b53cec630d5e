package badger_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
)

// TestSubmitWaitsForRoom: a full queue holds up who submits, until its context ends or there is room; nothing is lost.
func TestSubmitWaitsForRoom(t *testing.T) {
	s := open(t, badger.Options{InMemory: true})
	held, release := make(chan struct{}), make(chan struct{})
	var ran, told atomic.Int64
	count := func(campaign.Tx) error { ran.Add(1); return nil }
	done := func(err error) {
		if err == nil {
			told.Add(1)
		}
	}
	s.Submit(t.Context(), func(campaign.Tx) error { close(held); <-release; return nil }, done)
	<-held
	for range badger.QueueLen {
		s.Submit(t.Context(), count, done)
	}
	ctx, cancel := context.WithCancel(t.Context())
	refused := make(chan error, 1)
	go s.Submit(ctx, func(campaign.Tx) error { t.Error("ran"); return nil }, func(err error) { refused <- err })
	cancel()
	if err := <-refused; !errors.Is(err, context.Canceled) {
		t.Errorf("a full queue's caller was told %v", err)
	}
	last := make(chan struct{})
	go func() {
		s.Submit(t.Context(), count, done)
		close(last)
	}()
	close(release)
	<-last
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if ran.Load() != badger.QueueLen+1 || told.Load() != badger.QueueLen+2 {
		t.Errorf("%d ran, %d were told", ran.Load(), told.Load())
	}
}
