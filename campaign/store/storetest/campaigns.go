package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func testCampaigns(t *testing.T, open Open) {
	t.Run("in state", func(t *testing.T) { testInState(t, open(t)) })
	t.Run("due", func(t *testing.T) { testDue(t, open(t)) })
	t.Run("in line for a permit", func(t *testing.T) { testAsking(t, open(t)) })
	t.Run("due at the ends of time", func(t *testing.T) { testDueExtremes(t, open(t)) })
	t.Run("running", func(t *testing.T) { testRunning(t, open(t)) })
	t.Run("counts", func(t *testing.T) { testCounts(t, open(t)) })
	t.Run("queue", func(t *testing.T) { testQueue(t, open(t)) })
	t.Run("model", func(t *testing.T) { testModel(t, open(t)) })
}

// assign puts assignments of one campaign.
func assign(t testing.TB, s campaign.Store, tn ident.Tenant, as ...campaign.Assignment) {
	t.Helper()
	update(t, s, func(tx campaign.Tx) error {
		for _, a := range as {
			a.Campaign = cmp.Or(a.Campaign, campaignID("c"))
			if err := tx.PutAssignment(tn, a); err != nil {
				return err
			}
		}
		return nil
	})
}

// deviceNames is what a list of assignments is compared by.
func deviceNames(as []campaign.Assignment) string {
	names := []string{}
	for _, a := range as {
		names = append(names, a.Device.String())
	}
	return fmt.Sprint(names)
}

func testInState(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	at := func(name string, wave int, order uint64, st campaign.State, waiting bool) campaign.Assignment {
		return campaign.Assignment{Device: device(name), Wave: wave, Order: order, State: st, Waiting: waiting}
	}
	assign(t, s, tn,
		at("later-wave", 1, 0, campaign.Pending, false),
		at("far-wave", 256, 0, campaign.Pending, false),
		at("high-order", 0, 1<<63, campaign.Pending, false),
		at("b", 0, 300, campaign.Pending, false),
		at("a", 0, 300, campaign.Pending, false),
		at("low-order", 0, 0, campaign.Pending, false),
		at("busy", 0, 1, campaign.Pending, true),
		at("offered", 0, 2, campaign.Offered, false))
	other := at("other", 0, 0, campaign.Pending, false)
	other.Campaign = campaignID("c2")
	assign(t, s, tn, other)
	assign(t, s, tenants[1], at("foreign", 0, 0, campaign.Pending, false))

	check := func(st campaign.State, after campaign.Place, limit int, want ...string) {
		t.Helper()
		view(t, s, func(r campaign.Reader) error {
			as, err := r.InState(tn, campaignID("c"), st, after, limit)
			if got := deviceNames(as); got != fmt.Sprint(want) {
				t.Errorf("%s after %v: %s, want %v", st, after, got, want)
			}
			return err
		})
	}
	order := []string{"low-order", "a", "b", "high-order", "later-wave", "far-wave"}
	check(campaign.Pending, campaign.Place{}, 100, order...)
	check(campaign.Pending, campaign.Place{}, 3, order[:3]...)
	check(campaign.Pending, campaign.Place{Order: 300, Device: device("a")}, 2, order[2:4]...)
	check(campaign.Pending, campaign.Place{Order: 300}, 1, "a")
	check(campaign.Pending, campaign.Place{Wave: 1, Device: device("later-wave")}, 9, "far-wave")
	check(campaign.Pending, campaign.Place{Wave: 1 << 20}, 9)
	check(campaign.Pending, campaign.Place{}, 0)
	check(campaign.Offered, campaign.Place{}, 9, "offered")
	check(campaign.Failed, campaign.Place{}, 9)
	// Moves: out of the state, into it, within it.
	assign(t, s, tn, at("low-order", 0, 0, campaign.Offered, false), at("busy", 0, 1, campaign.Pending, false),
		at("a", 0, 301, campaign.Pending, false))
	check(campaign.Pending, campaign.Place{}, 100, "busy", "b", "a", "high-order", "later-wave", "far-wave")
	check(campaign.Offered, campaign.Place{}, 9, "low-order", "offered")
}

func testDue(t *testing.T, s campaign.Store) {
	tn, c := tenants[0], campaignID("c")
	in := func(d time.Duration) time.Time { return epoch.Add(d) }
	live := func(name string, deadline time.Time) campaign.Assignment {
		return campaign.Assignment{Device: device(name), State: campaign.Received, Deadline: deadline}
	}
	check := func(until time.Time, limit int, next time.Time, want ...string) {
		t.Helper()
		view(t, s, func(r campaign.Reader) error {
			as, err := r.DueBy(tn, c, until, limit)
			if got := deviceNames(as); got != fmt.Sprint(want) {
				t.Errorf("due by %v: %s, want %v", until, got, want)
			}
			n, err2 := r.NextDue(tn, c)
			if n.After(next) || n.IsZero() != next.IsZero() {
				t.Errorf("next due %v, want %v or earlier", n, next)
			}
			return errors.Join(err, err2)
		})
	}
	check(in(time.Hour), 9, time.Time{})
	offered := live("again", in(time.Hour))
	offered.State, offered.NextOffer = campaign.Offered, in(2*time.Nanosecond)
	settled := live("settled", in(0))
	settled.State = campaign.Failed
	assign(t, s, tn, live("b", in(3)), live("a", in(3)), live("late", in(time.Hour)), live("never", time.Time{}), offered, settled)
	foreign := live("foreign", in(-1))
	assign(t, s, tenants[1], foreign)
	foreign.Campaign = campaignID("c2")
	assign(t, s, tn, foreign)

	check(in(1), 9, in(2))
	check(in(2), 9, in(2), "again")
	check(in(3), 9, in(2), "again", "a", "b")
	check(in(3), 2, in(2), "again", "a")
	check(in(3), 0, in(2))
	check(in(time.Hour), 9, in(2), "again", "a", "b", "late")
	settled.Device = device("a")
	offered.NextOffer = time.Time{}
	assign(t, s, tn, settled, offered, live("b", in(5)))
	check(in(time.Hour), 9, in(5), "b", "again", "late")
}

// testAsking: a line has an order, a value and a campaign of its own, and only those that wait stand in it.
func testAsking(t *testing.T, s campaign.Store) {
	tn, c := tenants[0], campaignID("c")
	asks := func(name, value string, at time.Duration) campaign.Assignment {
		return campaign.Assignment{Device: device(name), State: campaign.Downloaded,
			Permit: campaign.Permit{State: campaign.PermitWaiting, Value: value, Asked: epoch.Add(at)}}
	}
	check := func(value string, limit int, want ...string) {
		t.Helper()
		view(t, s, func(r campaign.Reader) error {
			as, err := r.Asking(tn, c, value, limit)
			if got := deviceNames(as); got != fmt.Sprint(want) {
				t.Errorf("in line for %q: %s, want %v", value, got, want)
			}
			return err
		})
	}
	check("north", 9)
	granted, gone, outside := asks("granted", "north", 0), asks("gone", "north", 0), asks("outside", "north", 0)
	granted.Permit.State, gone.State, outside.Permit.Asked = campaign.PermitGranted, campaign.Silent, time.Time{}
	foreign := asks("foreign", "north", -1)
	assign(t, s, tenants[1], foreign)
	foreign.Campaign = campaignID("c2")
	assign(t, s, tn, foreign, granted, gone, outside,
		asks("b", "north", 2), asks("a", "north", 2), asks("first", "north", 1), asks("south", "south", 0), asks("none", "", 5), asks("longer", "north-east", 0))
	check("north", 9, "first", "a", "b")
	check("north", 2, "first", "a")
	check("north", 0)
	check("south", 9, "south")
	check("", 9, "none")
	check("nor", 9)
	check("north\x00", 9)
	granted.Device = device("first")
	assign(t, s, tn, granted, asks("a", "south", 2), asks("b", "north", 7))
	check("north", 9, "b")
	check("south", 9, "south", "a")
	if err := s.Update(t.Context(), func(tx campaign.Tx) error { return tx.PutAssignment(tn, asks("x", "a\x00b", 1)) }); err == nil {
		t.Error("a value with a NUL byte was stored")
	}
}

// testDueExtremes: times before 1970, and ones that nanoseconds can't hold, keep their order.
func testDueExtremes(t *testing.T, s campaign.Store) {
	tn, c := tenants[0], campaignID("c")
	at := func(name string, y int) campaign.Assignment {
		return campaign.Assignment{Device: device(name), State: campaign.Received, Deadline: time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC)}
	}
	assign(t, s, tn, at("future", 9999), at("now", 2026), at("past", 1900), at("epoch", 1970))
	view(t, s, func(r campaign.Reader) error {
		as, err := r.DueBy(tn, c, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 9)
		if got, want := deviceNames(as), "[past epoch now future]"; got != want {
			t.Errorf("due %s, want %s", got, want)
		}
		as, err2 := r.DueBy(tn, c, time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), 9)
		if got, want := deviceNames(as), "[past epoch]"; got != want {
			t.Errorf("due %s, want %s", got, want)
		}
		for _, a := range as {
			if want := map[string]int{"past": 1900, "epoch": 1970}[a.Device.String()]; a.Deadline.Year() != want {
				t.Errorf("deadline %v, want year %d", a.Deadline, want)
			}
		}
		return errors.Join(err, err2)
	})
}

func testRunning(t *testing.T, s campaign.Store) {
	tn := tenants[0]
	phases := []campaign.Phase{campaign.Draft, campaign.AwaitingApproval, campaign.Scheduled, campaign.Starting, campaign.Active,
		campaign.Paused, campaign.Stopping, campaign.Stopped, campaign.Archived, campaign.Deleting}
	for _, from := range phases {
		for _, to := range phases {
			for _, p := range []campaign.Phase{from, to} {
				update(t, s, func(tx campaign.Tx) error {
					return tx.PutCampaign(tn, campaign.Campaign{ID: campaignID("c"), Phase: p})
				})
			}
			view(t, s, func(r campaign.Reader) error {
				cs, err := r.Running(tn, ident.Campaign{}, 9)
				if (len(cs) == 1) != to.Running() {
					t.Errorf("%s to %s: %d running", from, to, len(cs))
				}
				return err
			})
		}
	}
	k := kind[campaign.Campaign, ident.Campaign]{
		id:   campaignID,
		name: func(v *campaign.Campaign, c ident.Campaign) { v.ID, v.Phase = c, campaign.Active },
		put:  campaign.Tx.PutCampaign,
		list: campaign.Reader.Running,
	}
	for _, tn := range tenants[1:] {
		for _, n := range names {
			put(t, s, k, tn, n)
		}
	}
	for _, tn := range tenants[1:] {
		testPages(t, s, k, tn)
	}
}

// testCounts: each assignment counts in exactly one state of one wave, and its reports count.
func testCounts(t *testing.T, s campaign.Store) {
	tn, c := tenants[0], campaignID("c")
	check := func(want campaign.Counts) {
		t.Helper()
		view(t, s, func(r campaign.Reader) error {
			got, err := r.Counts(tn, c)
			if d := compare(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			return err
		})
	}
	check(campaign.Counts{})
	a := campaign.Assignment{Device: device("a"), State: campaign.Pending, Wave: 1, Unpaid: true}
	b := campaign.Assignment{Device: device("b"), State: campaign.Offered, Reports: 5, Offers: 1}
	assign(t, s, tn, a, b)
	check(campaign.Counts{Reports: 5, Unpaid: 1, Waves: []map[campaign.State]uint64{{campaign.Offered: 1}, {campaign.Pending: 1}}})
	a.Unpaid = false
	assign(t, s, tn, a)
	check(campaign.Counts{Reports: 5, Waves: []map[campaign.State]uint64{{campaign.Offered: 1}, {campaign.Pending: 1}}})
	a.Wave, a.State, b.Reports = 0, campaign.Offered, 7
	assign(t, s, tn, a, b, a)
	check(campaign.Counts{Reports: 7, Waves: []map[campaign.State]uint64{{campaign.Offered: 2}}})
	b.Waiting = true
	assign(t, s, tn, b)
	check(campaign.Counts{Reports: 7, Waves: []map[campaign.State]uint64{{campaign.Offered: 2}}})
	a.State, a.Reason, b.State, b.Reason, b.Waiting = campaign.Failed, "flash-error", campaign.Silent, "deadline", false
	assign(t, s, tn, a, b)
	failed := []map[campaign.State]uint64{{campaign.Failed: 1, campaign.Silent: 1}}
	check(campaign.Counts{Reports: 7, Waves: failed, Spared: 1, Reasons: campaign.Reasons{"failed flash-error": 1, "silent deadline": 1}})
	a.Reason = "no-space"
	assign(t, s, tn, a)
	check(campaign.Counts{Reports: 7, Waves: failed, Spared: 1, Reasons: campaign.Reasons{"failed flash-error": 0, "failed no-space": 1, "silent deadline": 1}})
	a.Offers = 1
	assign(t, s, tn, a)
	check(campaign.Counts{Reports: 7, Waves: failed, Reasons: campaign.Reasons{"failed flash-error": 0, "failed no-space": 1, "silent deadline": 1}})
}

// testQueue takes a campaign's pending ones from the front as an engine does, several transactions to a commit, some of
// them failing: each comes exactly once and in order, and none that was put back is missed.
func testQueue(t *testing.T, s campaign.Store) {
	const total, slice = 300, 7
	tn, c := tenants[0], campaignID("c")
	var as []campaign.Assignment
	for i := range total {
		as = append(as, campaign.Assignment{Device: device(fmt.Sprintf("d%03d", i)), Order: uint64(i), State: campaign.Pending})
	}
	assign(t, s, tn, as...)
	var taken []string
	for n := 0; len(taken) < total && n < 2*total; n++ {
		var got []string
		err := s.Update(t.Context(), func(tx campaign.Tx) error {
			got = nil
			front, err := tx.InState(tn, c, campaign.Pending, campaign.Place{}, slice)
			if err != nil {
				return err
			}
			for i, a := range front {
				a.State, a.Deadline = campaign.Offered, epoch.Add(time.Duration(n)*time.Second)
				if err := tx.PutAssignment(tn, a); err != nil {
					return err
				}
				// One of each slice is put back behind the others' front, once.
				if i == 2 && a.Offers == 0 {
					a.State, a.Offers = campaign.Pending, 1
					if err := tx.PutAssignment(tn, a); err != nil {
						return err
					}
					continue
				}
				got = append(got, a.Device.String())
			}
			if n%3 == 0 {
				return errMine
			}
			return nil
		})
		if err == nil {
			taken = append(taken, got...)
		} else if !errors.Is(err, errMine) {
			t.Fatal(err)
		}
	}
	slices.Sort(taken)
	if len(slices.Compact(taken)) != total {
		t.Errorf("%d taken, want %d", len(taken), total)
	}
	view(t, s, func(r campaign.Reader) error { return AuditCampaign(r, tn, c) })
}
