package campaign_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// TestStopAnswersEveryDevice stops a campaign with devices in every situation; each has one of three answers.
func TestStopAnswersEveryDevice(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("confirmed", "downloading", "failed", "late", "offered", "silent", "skipped", "undone", "unreached")
	w.hello("skipped", m.Image, 1)
	c := w.create("c", m, policy(func(p *campaign.Policy) {
		p.SilentPercent, p.Deadlines[campaign.Offered] = 100, 10*time.Hour
	}))
	w.run(c)
	a := w.assignment(c, "unreached")
	a.State, a.Offers = campaign.Pending, 0 // as if its wave had not been opened
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		if err := tx.PutWork(acme, a.Device, campaign.Work{}); err != nil {
			return campaign.Result{}, err
		}
		return campaign.Result{Clears: []campaign.Clear{{Device: a.Device}}}, tx.PutAssignment(acme, a)
	})
	w.report("confirmed", m, "installed", holding(m.Image))
	w.report("undone", m, "installed", holding(m.Image))
	w.hello("undone", factory, 2)
	w.report("downloading", m, "downloading")
	w.report("failed", m, "failed", because("flash-error"))
	w.report("late", m, "rebooting")
	for d := range map[string]bool{"confirmed": true, "downloading": true} {
		if have := w.campaign(c).StopAnswer(w.assignment(c, d)); have != "" {
			t.Errorf("%s has the answer %q before any stop", d, have)
		}
	}
	w.stop(c)
	w.run(c)
	w.wantEnd(c, campaign.UserStopped)
	if have := w.campaign(c).StopAnswer(w.assignment(c, "late")); have != campaign.StopInTime {
		t.Errorf("late is %q before its proof", have)
	}
	w.hello("late", m.Image, 2)
	if have := w.assignment(c, "late"); have.State != campaign.Confirmed || have.Reason != campaign.ReasonTooLateToStop {
		t.Errorf("a proof after the stop gives %s %s", have.State, have.Reason)
	}
	if n, _ := w.m.Counts(acme, c); w.campaign(c).StopCounts(n) != (campaign.StopCounts{NotStarted: 2, InTime: 4, TooLate: 3}) {
		t.Errorf("%+v", w.campaign(c).StopCounts(n))
	}
	for d, want := range map[string]campaign.StopAnswer{
		"confirmed": campaign.StopTooLate, "undone": campaign.StopTooLate, "late": campaign.StopTooLate,
		"downloading": campaign.StopInTime, "failed": campaign.StopInTime, "offered": campaign.StopInTime, "silent": campaign.StopInTime,
		"skipped": campaign.StopNotStarted, "unreached": campaign.StopNotStarted,
	} {
		if have := w.campaign(c).StopAnswer(w.assignment(c, d)); have != want {
			t.Errorf("%s is %q, want %q", d, have, want)
		}
	}
}

func TestSuccessHasNoStopAnswers(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d")
	c := w.create("c", m, policy())
	w.run(c)
	w.report("d", m, "installed", holding(m.Image))
	w.run(c)
	w.wantEnd(c, campaign.Succeeded)
	if have := w.campaign(c).StopAnswer(w.assignment(c, "d")); have != "" {
		t.Errorf("answer %q", have)
	}
}

// TestStopOfAnOfflineDeviceClearsItsSlotAtOnce needs nothing of the device: not a word comes after the offer.
func TestStopOfAnOfflineDeviceClearsItsSlotAtOnce(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d")
	c := w.create("c", m, policy())
	w.run(c)
	w.want(c, "d", campaign.Offered)
	w.stop(c)
	w.run(c)
	w.wantEnd(c, campaign.UserStopped)
	if _, shown := w.topic[device("d")]; shown || len(w.m.works[device("d")].Live) != 0 {
		t.Error("the slot is not clear")
	}
	if took := w.campaign(c).StoppedAt.Sub(w.campaign(c).StoppingAt); took != 0 {
		t.Errorf("the stop took %s", took)
	}
}

var errCorrupt = errors.New("record is corrupt")

// corrupt is a memory in which one device's work can't be read, or no list of assignments.
type corrupt struct {
	*memory
	device ident.Device
	list   bool
}

func (m corrupt) Work(t ident.Tenant, d ident.Device) (campaign.Work, error) {
	if d == m.device {
		return campaign.Work{}, errCorrupt
	}
	return m.memory.Work(t, d)
}

func (m corrupt) Assignments(t ident.Tenant, c ident.Campaign, after ident.Device, limit int) ([]campaign.Assignment, error) {
	if m.list {
		return nil, errCorrupt
	}
	return m.memory.Assignments(t, c, after, limit)
}

// TestStopCanNotHang stops a campaign of which one device's slot can't be read: the stop waits for it until its deadline,
// then ends, says so, and has withdrawn from all the others.
func TestStopCanNotHang(t *testing.T) {
	for _, list := range []bool{false, true} {
		t.Run(fmt.Sprintf("list unreadable %t", list), func(t *testing.T) {
			w := newWorld(t)
			w.slice = 3
			m := w.manifest("v2")
			w.register(names(10)...)
			c := w.create("c", m, policy(func(p *campaign.Policy) { p.StopWithin = time.Minute }))
			w.run(c)
			w.stop(c)
			tx := corrupt{w.m, device("d004"), list}
			failed, end := 0, w.now.Add(time.Minute)
			for w.campaign(c).Phase != campaign.Stopped {
				if failed++; failed > 100 {
					t.Fatal("the stop hangs")
				}
				saved := w.m.clone()
				if _, _, err := campaign.Advance(tx, w.now, acme, c, w.outside(), w.slice); err == nil {
					continue
				} else if !errors.Is(err, errCorrupt) || !w.now.Before(end) {
					t.Fatalf("advance at %s: %v", w.now, err)
				}
				*w.m = *saved // what failed is not there
				w.now = w.now.Add(10 * time.Second)
			}
			have := w.campaign(c)
			if have.Outcome != campaign.UserStopped || have.StoppedAt.After(end) {
				t.Errorf("stopped %s at %s, want by %s", have.Outcome, have.StoppedAt, end)
			}
			if list {
				return // nothing more can be known
			}
			if have.Abandoned != 1 {
				t.Errorf("%d abandoned, reason %q", have.Abandoned, have.Reason)
			}
			if n := len(w.inState(c, campaign.Withdrawn)); n != 10 {
				t.Errorf("%d withdrawn", n)
			}
			// The slot can be read again: a sweep empties it.
			fixed, _, err := campaign.Sweep(w.m, acme, ident.Device{}, 100)
			if err != nil || len(fixed) != 1 || len(w.m.works[device("d004")].Live) != 0 {
				t.Errorf("sweep: %v, %v", fixed, err)
			}
		})
	}
}
