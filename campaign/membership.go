package campaign

import (
	"errors"
	"fmt"
)

// Membership says whether devices can join a campaign after its start.
type Membership string

// The kinds of membership; the zero value is OneShot.
const (
	OneShot    Membership = "one-shot"   // the devices are those that were selected at the start
	Continuous Membership = "continuous" // a device that comes to match later joins; the campaign does not end by itself
)

// MaxContinuous bounds the continuous campaigns of a tenant that run at one time: every hello is held against each.
const MaxContinuous = 64

// Joinable says whether devices may join c now: it is continuous, and runs.
func (c Campaign) Joinable() bool {
	return c.Policy.Membership == Continuous && (c.Phase == Starting || c.running())
}

// crowded is why a continuous campaign can't start beside those that run, "" if it can.
func (e *engine) crowded() (string, error) {
	if e.c.Policy.Membership != Continuous {
		return "", nil
	}
	list, err := e.tx.Continuous(e.t)
	if err != nil {
		return "", fmt.Errorf("list continuous campaigns: %w", err)
	}
	if len(list) > MaxContinuous { // c is one of them
		return fmt.Sprintf("%d continuous campaigns run already, at most %d", len(list)-1, MaxContinuous), nil
	}
	return "", nil
}

// join adds a device that has just been written to the continuous campaigns that select it now: to the wave that was
// opened last, under the same gates and pace as all. One that is part of a campaign stays what it is there, whatever
// became of it.
func (k *desk) join(d Device) error {
	list, err := k.tx.Continuous(k.t)
	if err != nil {
		return fmt.Errorf("list continuous campaigns: %w", err)
	}
	for _, id := range list {
		c, err := k.tx.Campaign(k.t, id)
		if err != nil {
			return fmt.Errorf("read campaign: %w", err)
		}
		if !c.Joinable() || c.comesTo(d) {
			continue
		}
		if in, err := c.Selects(d, k.now); err != nil || !in {
			continue // without an answer it is not selected
		}
		switch _, err := k.tx.Assignment(k.t, id, d.ID); {
		case err == nil:
			continue
		case !errors.Is(err, ErrNotFound):
			return fmt.Errorf("read assignment of %s: %w", d.ID, err)
		}
		if err := k.enrolOne(c, d.ID, c.Open, c.whyNot(d)); err != nil {
			return err
		}
		k.touched(id)
	}
	return nil
}

// comesTo says whether c, which is starting, will come to d by itself.
func (c Campaign) comesTo(d Device) bool {
	return c.Phase == Starting && (c.Step != DeviceCopy || c.Cursor.String() < d.ID.String())
}
