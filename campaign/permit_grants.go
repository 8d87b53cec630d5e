package campaign

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// grants gives the places that are free to the devices that asked first, at most a slice of them. What frees a place
// names the campaign in its Result, so that this runs at once; nobody waits for a device to ask again.
func (e *engine) grants() error {
	n, err := e.tx.Counts(e.t, e.c.ID)
	if err != nil {
		return fmt.Errorf("read counts: %w", err)
	}
	if len(n.Asking) == 0 {
		return nil
	}
	until, open := e.c.permitUntil(e.now)
	if _, change := e.c.Policy.InWindow(e.now); !open {
		e.wake(change)
		return nil
	}
	left := e.slice
	for _, value := range slices.Sorted(maps.Keys(n.Asking)) {
		list, err := e.tx.Asking(e.t, e.c.ID, value, min(left, e.c.Policy.Permit.free(n, value)))
		if err != nil {
			return fmt.Errorf("list who waits for a permit: %w", err)
		}
		for _, a := range list {
			if err := e.grantTo(a, until); err != nil {
				return err
			}
		}
		if left -= len(list); left == 0 {
			break
		}
		if n, err = e.tx.Counts(e.t, e.c.ID); err != nil { // the values under way may be all that there can be
			return fmt.Errorf("read counts: %w", err)
		}
	}
	e.again = e.again || left < e.slice
	return nil
}

// grantTo gives the first in a line its permit. One whose label was changed while it waited goes to the line of its new
// value, with the time that it has waited.
func (e *engine) grantTo(a Assignment, until time.Time) error {
	value, err := e.permitValue(e.c, a)
	if err != nil {
		return err
	}
	if value != a.Permit.Value {
		a.Permit.Value = value
		return e.keep(a)
	}
	return e.grant(a, until)
}
