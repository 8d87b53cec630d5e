package campaign

import (
	"fmt"
	"time"

	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// Checker checks a manifest again before its campaign runs: signature, keys not revoked, payload there. Its error is
// why the campaign is refused, except ErrUnavailable, ErrClosed and the end of a context, which say nothing about the
// manifest.
type Checker func(Reader, firmware.Manifest) error

// Outside is what Advance asks of the world beyond the records.
type Outside struct {
	Check Checker
	// Listens says whether a message on a device's manifest topic would reach anybody now. nil: it may, whoever it is.
	Listens func(ident.Device) bool
}

// Wake says when a campaign wants the next Advance.
type Wake struct {
	Again bool      // there is more to do at once
	At    time.Time // if not, the next moment at which time alone gives it work; zero: none
	// Fetch says that the campaign waits for its caller to run Fetch in a View, and Freeze with what that found.
	Fetch bool
}

// Advance does one slice of a campaign's work, at most about slice records of each kind. It goes by what the records
// say and nothing else, so it can be called at any moment, again after a crash, and for campaigns that need nothing: a
// phase in which the engine has no work gives a zero Wake.
func Advance(tx Tx, now time.Time, t ident.Tenant, id ident.Campaign, out Outside, slice int) (Result, Wake, error) {
	c, err := tx.Campaign(t, id)
	if err != nil {
		return Result{}, Wake{}, missing(err, "campaign", id)
	}
	e := &engine{desk: desk{tx: tx, t: t, now: now, listens: out.Listens}, c: c, slice: max(slice, 1)}
	bereft := false
	if c.underway() {
		bereft, err = e.stand()
	}
	if bereft || err != nil {
		return e.closeUnless(err, c)
	}
	switch c.Phase {
	case Scheduled:
		err = e.scheduled()
	case Starting:
		err = e.starting(out.Check)
	case Active:
		err = e.active()
	case Paused:
		err = e.paused()
	case Stopping:
		err = e.stop()
	case Deleting:
		return e.deleting()
	default:
		return Result{}, Wake{}, nil
	}
	return e.closeUnless(err, c)
}

// closeUnless is close, unless there was an error.
func (e *engine) closeUnless(err error, was Campaign) (Result, Wake, error) {
	if err != nil {
		return Result{}, Wake{}, fmt.Errorf("advance campaign %s: %w", was.ID, err)
	}
	return e.close(was)
}

// engine is one Advance.
type engine struct {
	desk
	c     Campaign
	slice int
	again bool
	at    time.Time // the earliest moment at which time alone gives it work; zero: none
}

// wake asks for an Advance at t, if that is a moment.
func (e *engine) wake(t time.Time) {
	if !t.IsZero() && (e.at.IsZero() || t.Before(e.at)) {
		e.at = t
	}
}

// close writes the campaign if it changed, and says when to come back.
func (e *engine) close(was Campaign) (Result, Wake, error) {
	if e.c.Phase == Stopped && was.Phase != Stopped {
		if err := e.settle(); err != nil {
			return Result{}, Wake{}, err
		}
	}
	moved := e.c.Revision != was.Revision || e.c.Cursor != was.Cursor
	if moved || e.c.Pace != was.Pace || e.c.Reserved != was.Reserved {
		if err := e.tx.PutCampaign(e.t, e.c); err != nil {
			return Result{}, Wake{}, fmt.Errorf("write campaign: %w", err)
		}
	}
	if err := e.journal(was); err != nil {
		return Result{}, Wake{}, err
	}
	if moved {
		e.touched(e.c.ID)
		e.again = true
	}
	if !e.c.Phase.Running() {
		return e.res, Wake{}, nil
	}
	if e.c.Phase == Starting && e.c.Step == DeviceFetch {
		return e.res, Wake{Fetch: true}, nil
	}
	switch {
	case e.c.running():
		next, err := e.tx.NextDue(e.t, e.c.ID)
		if err != nil {
			return Result{}, Wake{}, fmt.Errorf("read next due: %w", err)
		}
		e.wake(next)
		e.wake(e.c.End())
	case e.c.Phase != Scheduled:
		e.again = true // starting and stopping end by themselves
	}
	return e.res, Wake{Again: e.again, At: e.at}, nil
}

// active looks at what is due, judges, and offers, in this order: a threshold that was passed stops the campaign before
// the next device is touched.
func (e *engine) active() error {
	if err := e.due(e.c.Policy.InWindow(e.now)); err != nil {
		return err
	}
	exhausted, err := e.exhausted()
	if err != nil {
		return err
	}
	n, err := e.tx.Counts(e.t, e.c.ID)
	if err != nil {
		return fmt.Errorf("read counts: %w", err)
	}
	d := Judge(e.c, n, exhausted, e.now)
	if d.Outcome != "" {
		return e.c.end(e.now, d.Outcome, d.Reason)
	}
	if d.Open != e.c.Open {
		e.c.Open = d.Open
		e.c.Revision++
	}
	e.c.MetAt = d.Met
	e.wake(d.At)
	e.c.mendRate(n.Of(Confirmed), e.now)
	if err := e.grants(); err != nil {
		return err
	}
	if err := e.admit(n); err != nil {
		return err
	}
	return e.offers(n, d.Hold)
}

// due repeats unanswered offers and gives up on devices whose deadline has passed. Where nothing may be offered, the
// repeats are put off until then, or by the longest back-off where nobody knows when, or where nobody listens.
func (e *engine) due(offering bool, until time.Time) error {
	list, err := e.tx.DueBy(e.t, e.c.ID, e.now, e.slice)
	if err != nil {
		return fmt.Errorf("list due: %w", err)
	}
	for _, a := range list {
		h, err := e.hands(a.Device)
		if err != nil {
			return err
		}
		late := !a.Deadline.IsZero() && !a.Deadline.After(e.now)
		if !late && a.State == Downloaded {
			if err := e.permitDue(e.c, a); err != nil {
				return err
			}
			continue
		}
		if !late && !(offering && e.reaches(a.Device)) {
			if a.NextOffer = until; offering || until.IsZero() {
				a.NextOffer = a.nextOffer(maxBackOff, e.now)
			}
			if err := e.tx.PutAssignment(e.t, a); err != nil {
				return fmt.Errorf("write assignment of %s: %w", a.Device, err)
			}
			continue
		}
		ev := Event{Trigger: Overdue, Reason: ReasonDeadline}
		switch {
		case a.State == Retrying:
			ev = Event{Trigger: Again, Reason: a.Reason}
		case !late:
			ev = Event{Trigger: Offering}
			h.take(a.slot())
		}
		if a, err = e.move(h, a, ev, e.c.Policy.Deadlines); err != nil {
			return err
		}
		if ev.Trigger == Offering {
			e.show(h)
		}
		if err := e.put(h); err != nil {
			return err
		}
	}
	e.again = e.again || len(list) > 0
	return nil
}

// exhausted says whether no device of the open wave can be offered.
func (e *engine) exhausted() (bool, error) {
	next, err := e.tx.InState(e.t, e.c.ID, Pending, Place{Wave: e.c.Open}, 1)
	if err != nil {
		return false, fmt.Errorf("list pending: %w", err)
	}
	return len(next) == 0 || next[0].Wave != e.c.Open, nil
}

// offers offers the next devices of the open waves, as many as there is room for at counts n. hold is the step of a
// campaign that has none to offer and waits for something else than reports.
func (e *engine) offers(n Counts, hold Step) error {
	room := e.c.room(n, e.now)
	// One more than there is room for tells whether any is left; decoding more would cost the reports that wait.
	list, err := e.tx.InState(e.t, e.c.ID, Pending, Place{}, min(e.slice, room.n+1))
	if err != nil {
		return fmt.Errorf("list pending: %w", err)
	}
	rest := Deploying
	if hold != "" {
		rest = hold
	}
	step := rest
	if len(list) == e.slice {
		step = Publishing
	}
	for _, a := range list {
		if a.Wave > e.c.Open {
			step = rest
			break
		}
		if room.n == 0 {
			step = room.step
			e.wake(room.at)
			break
		}
		offered, err := e.offer(a)
		if err != nil {
			return err
		}
		if offered {
			room.n--
			e.c.spend(n.Of(Confirmed), e.now)
		}
		e.again = true
	}
	e.c.at(step)
	return nil
}

// offer offers one device of e's campaign, see desk.offer.
func (e *engine) offer(a Assignment) (offered bool, err error) {
	h, err := e.hands(a.Device)
	if err != nil {
		return false, err
	}
	if offered, err = e.desk.offer(e.c, h, a); err != nil {
		return false, err
	}
	return offered, e.put(h)
}

// stopping withdraws what is live or pending, and ends.
func (e *engine) stopping() error {
	left := e.slice
	for _, s := range append([]State{Pending, Retrying}, liveStates...) {
		if left <= 0 {
			return nil
		}
		list, err := e.tx.InState(e.t, e.c.ID, s, Place{}, left)
		if err != nil {
			return fmt.Errorf("list %s: %w", s, err)
		}
		for _, a := range list {
			if err := e.withdraw(a); err != nil {
				return err
			}
		}
		left -= len(list)
	}
	if left < e.slice {
		return nil // look once more
	}
	// What waits for another campaign is in no list by state: one pass over all, if the counts say that there is any.
	n, err := e.tx.Counts(e.t, e.c.ID)
	if err != nil {
		return fmt.Errorf("read counts: %w", err)
	}
	if n.Of(Pending) > 0 {
		if done, err := e.withdrawWaiting(); err != nil || !done {
			return err
		}
	}
	e.c.StoppedAt, e.c.Cursor = e.now, ident.Device{}
	return e.c.enter(Stopped, ManifestRemoved)
}

func (e *engine) withdrawWaiting() (done bool, err error) {
	page, err := e.tx.Assignments(e.t, e.c.ID, e.c.Cursor, e.slice)
	if err != nil {
		return false, fmt.Errorf("list assignments: %w", err)
	}
	for _, a := range page {
		if a.State == Pending {
			if err := e.withdraw(a); err != nil {
				return false, err
			}
		}
		e.c.Cursor = a.Device
	}
	return len(page) < e.slice, nil
}

func (e *engine) withdraw(a Assignment) error {
	h, err := e.hands(a.Device)
	if err != nil {
		return err
	}
	if _, err := e.move(h, a, Event{Trigger: Withdraw, Reason: string(e.c.Outcome)}, e.c.Policy.Deadlines); err != nil {
		return err
	}
	return e.put(h)
}
