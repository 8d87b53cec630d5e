package storetest

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// testEnded: a Tx or Reader that was kept is of no use, and a write to it does no harm.
func testEnded(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	var tx campaign.Tx
	var r campaign.Reader
	update(t, s, func(x campaign.Tx) error { tx = x; return putDevices(x, tn, "a") })
	view(t, s, func(x campaign.Reader) error { r = x; return nil })
	for name, err := range map[string]error{
		"put":          putDevices(tx, tn, "b"),
		"put of index": tx.PutWork(tn, device("b"), campaign.Work{Live: []campaign.Live{{}}}),
		"expire":       func() error { _, err := tx.ExpireReplies(tn, epoch, 1); return err }(),
		"read":         func() error { _, err := r.Device(tn, device("a")); return err }(),
		"list":         func() error { _, err := r.Devices(tn, ident.Device{}, 1); return err }(),
		"list in tx":   func() error { _, err := tx.Devices(tn, ident.Device{}, 1); return err }(),
	} {
		if err == nil || errors.Is(err, campaign.ErrNotFound) {
			t.Errorf("%s after the end: %v", name, err)
		}
	}
	update(t, s, func(campaign.Tx) error { return nil })
	view(t, s, func(r campaign.Reader) error { wantDevices(t, r, tn, "a"); return nil })
}

func testContextBefore(t *testing.T, s campaign.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Update(ctx, func(campaign.Tx) error { t.Error("ran"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v", err)
	}
	if err := s.View(ctx, func(campaign.Reader) error { t.Error("ran"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("View: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	err := s.View(ctx, func(r campaign.Reader) error {
		cancel()
		_, err := r.Devices(tenants[0], ident.Device{}, 1)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a long View goes on after its context: %v", err)
	}
}

// testContextWaiting: a caller whose context ends while another function holds the store leaves, and its function never
// runs; one whose function has started gets the outcome.
func testContextWaiting(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	running, release := make(chan struct{}), make(chan struct{})
	first := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	go func() {
		first <- s.Update(ctx, func(tx campaign.Tx) error {
			once.Do(func() { close(running) })
			<-release
			return putDevices(tx, tn, "first")
		})
	}()
	<-running
	cancel() // of the one that runs: too late
	waiting, leave := context.WithCancel(t.Context())
	second := make(chan error)
	go func() {
		second <- s.Update(waiting, func(tx campaign.Tx) error { return putDevices(tx, tn, "second") })
	}()
	leave()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("the waiting one: %v", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Errorf("the running one: %v", err)
	}
	view(t, s, func(r campaign.Reader) error { wantDevices(t, r, tn, "first"); return nil })
}

func testClose(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	running, release := make(chan struct{}), make(chan struct{})
	outcome, closed := make(chan error, 1), make(chan error, 1)
	var once sync.Once
	go func() {
		outcome <- s.Update(t.Context(), func(tx campaign.Tx) error {
			once.Do(func() { close(running) })
			<-release
			return putDevices(tx, tn, "a")
		})
	}()
	<-running
	go func() { closed <- s.Close() }()
	// Until Close has begun, a View works; afterwards it is refused. Either way nothing hangs.
	for {
		err := s.View(t.Context(), func(campaign.Reader) error { return nil })
		if errors.Is(err, campaign.ErrClosed) {
			break
		}
		if err != nil {
			t.Fatalf("View: %v", err)
		}
		runtime.Gosched()
	}
	select {
	case err := <-closed:
		t.Errorf("Close did not wait: %v", err)
	default:
	}
	close(release)
	if err := <-outcome; err != nil {
		t.Errorf("the transaction under way: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := s.Update(t.Context(), func(campaign.Tx) error { t.Error("ran"); return nil }); !errors.Is(err, campaign.ErrClosed) {
		t.Errorf("Update after Close: %v", err)
	}
	if err := s.Close(); !errors.Is(err, campaign.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}
