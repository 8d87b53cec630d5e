package campaign

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fleetbridge/ident"
)

// DefaultStopWithin is how long a stop may take before it gives up on devices that it can't withdraw from.
const DefaultStopWithin = 10 * time.Minute

// StopAnswer is what a stop meant for one device.
type StopAnswer string

// The answers. Every device of a campaign that was stopped has one of them.
const (
	StopNotStarted StopAnswer = "not-started" // it was offered nothing, or needed nothing
	StopInTime     StopAnswer = "stopped"     // it was offered the manifest, and has not proven the payload
	StopTooLate    StopAnswer = "too-late"    // it has, or had, the payload: before the stop or in spite of it
)

// StopAnswer says what the stop of c meant for the device of a; "" where c was not stopped, or has not got to a yet. A
// device that proves the payload afterwards goes from stopped to too late.
func (c Campaign) StopAnswer(a Assignment) StopAnswer {
	switch {
	case c.Outcome == "", c.Outcome == Succeeded, !a.State.Settled():
		return ""
	case a.State == Confirmed, a.State == Reverted:
		return StopTooLate
	case a.Offers == 0, a.State == Skipped:
		return StopNotStarted
	}
	return StopInTime
}

// Spared says of an assignment that has ended that its device was offered nothing, though it needed the payload.
func (a Assignment) Spared() bool {
	switch a.State {
	case Skipped, Confirmed, Reverted:
		return false
	}
	return a.State.Settled() && a.Offers == 0
}

// StopCounts is how many devices have each StopAnswer.
type StopCounts struct{ NotStarted, InTime, TooLate uint64 }

// StopCounts counts the answers of c's devices by its counts alone; zero where c was not stopped.
func (c Campaign) StopCounts(n Counts) StopCounts {
	if c.Outcome == "" || c.Outcome == Succeeded {
		return StopCounts{}
	}
	s := StopCounts{NotStarted: n.Of(Skipped) + n.Spared, TooLate: n.Of(Confirmed, Reverted)}
	s.InTime = n.Of(Skipped) + n.Of(settledStates...) - s.NotStarted - s.TooLate
	return s
}

// stopBy is when the stop of c stops waiting for what it can't do.
func (c Campaign) stopBy() time.Time {
	within := c.Policy.StopWithin
	if within <= 0 {
		within = DefaultStopWithin
	}
	return c.StoppingAt.Add(within)
}

// stop does a slice of a stop. It can't hang: what fails is tried again until stopBy, then passed over.
func (e *engine) stop() error {
	switch {
	case e.c.Step == GivingUp:
		return e.stopAnyway()
	case e.now.Before(e.c.stopBy()):
		return e.stopping()
	}
	e.c.Cursor = ident.Device{}
	e.c.at(GivingUp)
	return nil
}

// passing says of an error that it tells nothing about the records that were touched.
func passing(err error) bool {
	return errors.Is(err, ErrClosed) || errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// stopAnyway goes once over all assignments, passes over those that can't be withdrawn, and ends.
func (e *engine) stopAnyway() error {
	page, err := e.tx.Assignments(e.t, e.c.ID, e.c.Cursor, e.slice)
	if passing(err) {
		return fmt.Errorf("list assignments: %w", err)
	}
	for _, a := range page {
		e.c.Cursor = a.Device
		if a.State.Settled() {
			continue
		}
		if err := e.withdraw(a); passing(err) {
			return err
		} else if err != nil {
			if err := e.abandon(a); err != nil {
				return err
			}
		}
	}
	if err == nil && len(page) == e.slice {
		return nil
	}
	if e.c.Abandoned > 0 {
		e.c.Reason = clip(fmt.Sprintf("%s; %d devices could not be withdrawn from", e.c.Reason, e.c.Abandoned))
	}
	if err != nil {
		e.c.Reason = clip(e.c.Reason + "; not every device could be read")
	}
	e.c.StoppedAt, e.c.Cursor = e.now, ident.Device{}
	return e.c.enter(Stopped, ManifestRemoved)
}

// abandon ends an assignment without its device's slot, which can't be read or written. Sweep mends the slot when it can.
func (e *engine) abandon(a Assignment) error {
	e.c.Abandoned++
	now, err := e.tx.Assignment(e.t, a.Campaign, a.Device)
	if err != nil || now.State.Settled() {
		return nil // gone, or done by the half of withdraw that worked: all there is to do is to count it
	}
	next, _ := now.Apply(Event{Trigger: Withdraw, Reason: string(e.c.Outcome), Detail: "the device's slot could not be cleared"}, e.now, nil)
	if err := e.tx.PutAssignment(e.t, next); err != nil {
		return fmt.Errorf("write assignment of %s: %w", a.Device, err)
	}
	e.res.Transitions = append(e.res.Transitions, Transition{Campaign: a.Campaign, Device: a.Device, Wave: a.Wave,
		From: now.State, To: next.State, Reason: next.Reason, At: e.now})
	e.touched(a.Campaign)
	return nil
}
