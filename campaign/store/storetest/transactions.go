package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

var errMine = errors.New("the function's own error")

func testTransactions(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, campaign.Store){
		"sees its own writes":          testOwnWrites,
		"an error leaves nothing":      testRollback,
		"a panic leaves nothing":       testPanic,
		"a lost goroutine harms none":  testGoexit,
		"one after the other":          testSerial,
		"view is a snapshot":           testSnapshot,
		"an answer is seen at once":    testAnswered,
		"a view waits for no update":   testViewBeside,
		"what is read is one's own":    testOwnReads,
		"versions follow commits":      testVersioned,
		"a transaction ends":           testEnded,
		"context before the start":     testContextBefore,
		"context while it waits":       testContextWaiting,
		"close waits, then all refuse": testClose,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// devices returns the names of a tenant's devices.
func devices(r campaign.Reader, t ident.Tenant) (names []string, err error) {
	ds, err := r.Devices(t, ident.Device{}, 1000)
	for _, d := range ds {
		names = append(names, d.ID.String())
	}
	return names, err
}

func wantDevices(t *testing.T, r campaign.Reader, tn ident.Tenant, want ...string) {
	t.Helper()
	got, err := devices(r, tn)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("devices %v, %v; want %v", got, err, want)
	}
}

func putDevices(tx campaign.Tx, tn ident.Tenant, names ...string) error {
	for _, n := range names {
		if err := tx.PutDevice(tn, campaign.Device{ID: device(n)}); err != nil {
			return err
		}
	}
	return nil
}

// testOwnWrites: lists within a transaction merge what is committed with what was written and deleted.
func testOwnWrites(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	live := campaign.Work{Live: []campaign.Live{{Campaign: campaignID("c")}}}
	works := func(r campaign.Reader, want string) {
		t.Helper()
		ws, err := r.Works(tn, ident.Device{}, 100)
		var got []string
		for _, w := range ws {
			got = append(got, w.Device.String())
		}
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("works of %v, %v; want %s", got, err, want)
		}
	}
	update(t, s, func(tx campaign.Tx) error {
		for _, n := range []string{"b", "d", "f", "h"} {
			if err := tx.PutWork(tn, device(n), live); err != nil {
				return err
			}
		}
		return putDevices(tx, tn, "b", "d", "f")
	})
	update(t, s, func(tx campaign.Tx) error {
		wantDevices(t, tx, tn, "b", "d", "f")
		if err := putDevices(tx, tn, "g", "a", "d", "c"); err != nil {
			return err
		}
		wantDevices(t, tx, tn, "a", "b", "c", "d", "f", "g")
		works(tx, "[b d f h]")
		for _, n := range []string{"d", "h", "e", "b"} {
			w := live
			if n != "e" {
				w = campaign.Work{}
			}
			if err := tx.PutWork(tn, device(n), w); err != nil {
				return err
			}
		}
		works(tx, "[e f]")
		ds, err := tx.Devices(tn, device("c"), 2)
		if err != nil || len(ds) != 2 || ds[0].ID != device("d") || ds[1].ID != device("f") {
			t.Errorf("two after c: %v, %v", ds, err)
		}
		if err := tx.PutWork(tn, device("h"), live); err != nil {
			return err
		}
		works(tx, "[e f h]")
		return nil
	})
	view(t, s, func(r campaign.Reader) error {
		wantDevices(t, r, tn, "a", "b", "c", "d", "f", "g")
		works(r, "[e f h]")
		return nil
	})
}

func testRollback(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	update(t, s, func(tx campaign.Tx) error { return putDevices(tx, tn, "a") })
	err := s.Update(t.Context(), func(tx campaign.Tx) error {
		return errors.Join(
			putDevices(tx, tn, "b"),
			tx.PutDevice(tn, campaign.Device{ID: device("a"), Boot: 9}),
			tx.PutWork(tn, device("a"), campaign.Work{Live: []campaign.Live{{}}}),
			tx.PutCampaign(tn, campaign.Campaign{ID: campaignID("c"), Phase: campaign.Active}),
			tx.PutAssignment(tn, campaign.Assignment{Campaign: campaignID("c"), Device: device("a"), State: campaign.Pending}),
			errMine)
	})
	if !errors.Is(err, errMine) {
		t.Fatalf("Update: %v, want the function's error", err)
	}
	untouched := func(r campaign.Reader) error {
		wantDevices(t, r, tn, "a")
		d, err := r.Device(tn, device("a"))
		if err != nil || d.Boot != 0 {
			t.Errorf("device is %v, %v", d, err)
		}
		n, err := r.Counts(tn, campaignID("c"))
		if err != nil || n.Total() != 0 {
			t.Errorf("counts are %v, %v", n, err)
		}
		return AuditTenant(r, tn)
	}
	update(t, s, func(tx campaign.Tx) error { return untouched(tx) })
	view(t, s, untouched)
}

func testPanic(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	err := s.Update(t.Context(), func(tx campaign.Tx) error {
		if err := putDevices(tx, tn, "a"); err != nil {
			return err
		}
		panic("of the test")
	})
	if err == nil {
		t.Error("a panic was taken for success")
	}
	update(t, s, func(tx campaign.Tx) error { return putDevices(tx, tn, "b") })
	view(t, s, func(r campaign.Reader) error { wantDevices(t, r, tn, "b"); return nil })
}

// testGoexit: a function that ends its goroutine, as a failing test in it does, gets no success and stops nobody else.
func testGoexit(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	done := make(chan error)
	go func() {
		err := errMine // stands where the function runs on this goroutine
		defer func() { done <- err }()
		err = s.Update(context.Background(), func(tx campaign.Tx) error {
			if err := putDevices(tx, tn, "a"); err != nil {
				return err
			}
			runtime.Goexit()
			return nil
		})
	}()
	if err := <-done; err == nil {
		t.Error("an unfinished function was taken for success")
	}
	update(t, s, func(tx campaign.Tx) error { return putDevices(tx, tn, "b") })
	view(t, s, func(r campaign.Reader) error { wantDevices(t, r, tn, "b"); return nil })
}

// testSerial: read, add one and write from many goroutines, some of them failing, loses no update.
func testSerial(t *testing.T, s campaign.Store) {
	const callers, rounds = 16, 40
	tn, d := tenants[0], device("d")
	update(t, s, func(tx campaign.Tx) error { return putDevices(tx, tn, "d") })
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range rounds {
				fail := (c+i)%5 == 0
				err := s.Update(t.Context(), func(tx campaign.Tx) error {
					v, err := tx.Device(tn, d)
					if err != nil {
						return err
					}
					v.Boot++
					if err := tx.PutDevice(tn, v); err != nil {
						return err
					}
					if fail {
						return errMine
					}
					return tx.PutDevice(tn, campaign.Device{ID: device(fmt.Sprintf("d-%d-%d", c, i))})
				})
				if fail != errors.Is(err, errMine) {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	wg.Wait()
	view(t, s, func(r campaign.Reader) error {
		v, err := r.Device(tn, d)
		names, err2 := devices(r, tn)
		if want := callers * rounds * 4 / 5; v.Boot != uint64(want) || len(names) != want+1 {
			t.Errorf("count is %d and %d records were made, want %d", v.Boot, len(names)-1, want)
		}
		return errors.Join(err, err2)
	})
}

func testSnapshot(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	update(t, s, func(tx campaign.Tx) error { return putDevices(tx, tn, "a") })
	view(t, s, func(r campaign.Reader) error {
		update(t, s, func(tx campaign.Tx) error { return putDevices(tx, tn, "b") })
		wantDevices(t, r, tn, "a")
		if _, err := r.Device(tn, device("b")); !errors.Is(err, campaign.ErrNotFound) {
			t.Errorf("sees a later commit: %v", err)
		}
		return nil
	})
	view(t, s, func(r campaign.Reader) error { wantDevices(t, r, tn, "a", "b"); return nil })
	if err := s.View(t.Context(), func(campaign.Reader) error { return errMine }); !errors.Is(err, errMine) {
		t.Errorf("View: %v, want the function's error", err)
	}
}

// testAnswered: whoever was answered sees its write in the next View, however many others commit meanwhile.
func testAnswered(t *testing.T, s campaign.Store) {
	const callers, rounds = 16, 40
	tn := tenants[0]
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			d := device(fmt.Sprint("d-", c))
			for i := range uint64(rounds) {
				err := s.Update(t.Context(), func(tx campaign.Tx) error { return tx.PutDevice(tn, campaign.Device{ID: d, Boot: i}) })
				err = errors.Join(err, s.View(t.Context(), func(r campaign.Reader) error {
					v, err := r.Device(tn, d)
					if err == nil && v.Boot != i {
						err = fmt.Errorf("after the answer to write %d a View sees %d", i, v.Boot)
					}
					return err
				}))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// testViewBeside: a View comes back while an Update is under way, and sees nothing of it.
func testViewBeside(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	update(t, s, func(tx campaign.Tx) error { return putDevices(tx, tn, "a") })
	update(t, s, func(tx campaign.Tx) error {
		if err := putDevices(tx, tn, "b"); err != nil {
			return err
		}
		seen := make(chan error, 1)
		go func() {
			seen <- s.View(context.Background(), func(r campaign.Reader) error { wantDevices(t, r, tn, "a"); return nil })
		}()
		select {
		case err := <-seen:
			return err
		case <-time.After(patience):
			return errors.New("the View waits for the Update")
		}
	})
	view(t, s, func(r campaign.Reader) error { wantDevices(t, r, tn, "a", "b"); return nil })
}

// patience is when a test gives up on something that ought to happen at once.
const patience = 30 * time.Second

// testOwnReads: what a function does to the values that it read is seen by nobody, and a record that was read after a
// write that failed is as it was before.
func testOwnReads(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	var want campaign.Campaign
	if err := fill(&want); err != nil {
		t.Fatal(err)
	}
	update(t, s, func(tx campaign.Tx) error { return tx.PutCampaign(tn, want) })
	for range 2 {
		update(t, s, func(tx campaign.Tx) error {
			c, err := tx.Campaign(tn, want.ID)
			if d := compare(want, c); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if err != nil {
				return err
			}
			c.Policy.Waves[0].Count = -1
			c.Bounds[0] = 0
			clear(c.Policy.Deadlines)
			clear(c.Selection.Labels)
			c.Selection.Devices = append(c.Selection.Devices, device("more"))
			return nil
		})
		err := s.Update(t.Context(), func(tx campaign.Tx) error {
			changed := want
			changed.Phase, changed.Bounds = campaign.Stopped, nil
			if err := tx.PutCampaign(tn, changed); err != nil {
				return err
			}
			c, err := tx.Campaign(tn, want.ID)
			if d := compare(changed, c); d != "" {
				t.Errorf("own write (-want +got):\n%s", d)
			}
			return errors.Join(err, errMine)
		})
		if !errors.Is(err, errMine) {
			t.Error(err)
		}
	}
}
