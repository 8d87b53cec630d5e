package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"fleetbridge/campaign"
)

// testSubmit: Submit is Update with the answer by itself, in order, once, and when it is true.
func testSubmit(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, campaign.Store){
		"in order":                     testSubmitOrder,
		"seen when it is answered":     testSubmitSeen,
		"an error leaves nothing":      testSubmitErrors,
		"an answer that fails":         testSubmitDone,
		"context before room":          testSubmitContext,
		"close waits, then it refuses": testSubmitClose,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// outcomes collects what dones were told, in order; each may be told once.
func outcomes(n int) (done func(i int) func(error), all func() []string) {
	told := make(chan string, 2*n)
	done = func(i int) func(error) { return func(err error) { told <- fmt.Sprint(i, " ", err) } }
	return done, func() (list []string) {
		for range n {
			list = append(list, <-told)
		}
		select {
		case extra := <-told:
			list = append(list, "again: "+extra)
		default:
		}
		return list
	}
}

func testSubmitOrder(t *testing.T, s campaign.Store) {
	const n = 3000 // more than a batch, more than a queue
	tn := tenants[0]
	done, told := outcomes(n)
	var ran []int // by the store, one after the other
	for i := range n {
		s.Submit(t.Context(), func(tx campaign.Tx) error {
			if len(ran) == 0 || ran[len(ran)-1] != i { // it may run again
				ran = append(ran, i)
			}
			if i%500 != 0 {
				return nil
			}
			return putDevices(tx, tn, fmt.Sprint(i))
		}, done(i))
	}
	for i, got := range told() {
		if want := fmt.Sprint(i, " <nil>"); got != want {
			t.Fatalf("answer %d is %q, want %q", i, got, want)
		}
	}
	// An Update comes after what its caller has submitted.
	update(t, s, func(tx campaign.Tx) error {
		wantDevices(t, tx, tn, "0", "1000", "1500", "2000", "2500", "500")
		return nil
	})
	if !slices.IsSorted(ran) || len(ran) != n {
		t.Errorf("%d functions ran, in order: %t", len(ran), slices.IsSorted(ran))
	}
}

func testSubmitSeen(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	for _, name := range []string{"a", "b", "c"} {
		answered := make(chan error)
		s.Submit(t.Context(), func(tx campaign.Tx) error { return putDevices(tx, tn, name) }, func(err error) {
			go func() { answered <- err }()
		})
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
		view(t, s, func(r campaign.Reader) error { _, err := r.Device(tn, device(name)); return err })
	}
}

// testSubmitErrors: a function that fails, panics or ends its goroutine leaves nothing, is answered, and stops nobody.
func testSubmitErrors(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	done, told := outcomes(3)
	for i, end := range []func() error{
		func() error { return errMine },
		func() error { panic("of the test") },
		func() error { return nil },
	} {
		s.Submit(t.Context(), func(tx campaign.Tx) error {
			return errors.Join(putDevices(tx, tn, fmt.Sprint(i)), end())
		}, done(i))
	}
	list := told()
	if list[0] != "0 "+errMine.Error() || list[1] == "1 <nil>" || list[2] != "2 <nil>" || len(list) != 3 {
		t.Errorf("told %q", list)
	}
	answered := make(chan error, 2)
	ended := make(chan struct{})
	go func() { // where the function runs on its caller's goroutine, it is this one that ends
		defer close(ended)
		s.Submit(context.Background(), func(campaign.Tx) error { runtime.Goexit(); return nil }, func(err error) { answered <- err })
	}()
	<-ended
	update(t, s, func(tx campaign.Tx) error { return putDevices(tx, tn, "b") })
	if err := <-answered; err == nil {
		t.Error("an unfinished function was taken for success")
	}
	view(t, s, func(r campaign.Reader) error { wantDevices(t, r, tn, "2", "b"); return nil })
}

// testSubmitDone: a done that panics or ends its goroutine harms nobody else.
func testSubmitDone(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	for i, end := range []func(){func() { panic("of the test") }, runtime.Goexit} {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer func() { _ = recover() }() // where done runs on its caller's goroutine
			s.Submit(context.Background(), func(tx campaign.Tx) error { return putDevices(tx, tn, fmt.Sprint(i)) }, func(error) { end() })
		}()
		<-ended
		done, told := outcomes(1)
		s.Submit(t.Context(), func(campaign.Tx) error { return nil }, done(i))
		if list := told(); list[0] != fmt.Sprint(i, " <nil>") {
			t.Errorf("the next one was told %q", list)
		}
	}
	view(t, s, func(r campaign.Reader) error { wantDevices(t, r, tn, "0", "1"); return nil })
}

func testSubmitContext(t *testing.T, s campaign.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var told []error
	s.Submit(ctx, func(campaign.Tx) error { t.Error("ran"); return nil }, func(err error) { told = append(told, err) })
	if len(told) != 1 || !errors.Is(told[0], context.Canceled) {
		t.Errorf("told %v when Submit returned", told)
	}
}

func testSubmitClose(t *testing.T, s campaign.Store) {
	const n = 100
	var told atomic.Int64
	for i := range n {
		s.Submit(t.Context(), func(tx campaign.Tx) error { return putDevices(tx, tenants[0], fmt.Sprint(i)) }, func(err error) {
			if err == nil {
				told.Add(1)
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := told.Load(); got != n {
		t.Errorf("%d answers when Close has returned, want %d", got, n)
	}
	var refused []error
	s.Submit(t.Context(), func(campaign.Tx) error { t.Error("ran"); return nil }, func(err error) { refused = append(refused, err) })
	if len(refused) != 1 || !errors.Is(refused[0], campaign.ErrClosed) {
		t.Errorf("told %v after Close", refused)
	}
}
