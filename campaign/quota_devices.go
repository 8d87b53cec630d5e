package campaign

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"fleetbridge/ident"
)

// MaxTurnedAway bounds TurnedAway.Latest.
const MaxTurnedAway = 32

// TurnedAway tells of devices that registered themselves by a hello when the tenant's quota of devices was used up. They
// were not registered (decision 0044).
type TurnedAway struct {
	Hellos uint64         // since ever
	Latest []TurnedDevice // that are still not registered, the newest first, each once, at most MaxTurnedAway
}

// TurnedDevice is one of them.
type TurnedDevice struct {
	Device ident.Device
	At     time.Time // of its last hello
}

// without is y without a device.
func (y TurnedAway) without(d ident.Device) []TurnedDevice {
	return slices.DeleteFunc(slices.Clone(y.Latest), func(x TurnedDevice) bool { return x.Device == d })
}

// admits says whether one more device has room within the quota; the error wraps ErrQuota if it has not. The count that it
// reads is changed by the commit that registers the device, so that two devices never take the same place.
func admits(tx Tx, t ident.Tenant) error {
	q, err := tx.Quota(t)
	if err != nil {
		return fmt.Errorf("read quota: %w", err)
	}
	if q.Devices <= 0 {
		return nil
	}
	n, err := tx.DeviceCount(t)
	if err != nil {
		return fmt.Errorf("read count of devices: %w", err)
	}
	if n >= uint64(q.Devices) {
		return fmt.Errorf("%d devices are registered, at most %d may be: ask the administrator for more: %w", n, q.Devices, ErrQuota)
	}
	return nil
}

// admitted takes a device that is being registered off the list of those that were turned away.
func admitted(tx Tx, t ident.Tenant, d ident.Device) error {
	y, err := tx.TurnedAway(t)
	if err != nil {
		return fmt.Errorf("read devices turned away: %w", err)
	}
	rest := y.without(d)
	if len(rest) == len(y.Latest) {
		return nil
	}
	y.Latest = rest
	return putTurnedAway(tx, t, y)
}

// turnAway notes the hello of a device that has no room, in place of registering it.
func turnAway(tx Tx, now time.Time, t ident.Tenant, d ident.Device) error {
	y, err := tx.TurnedAway(t)
	if err != nil {
		return fmt.Errorf("read devices turned away: %w", err)
	}
	y.Hellos++
	y.Latest = append([]TurnedDevice{{Device: d, At: now.UTC()}}, y.without(d)...)
	y.Latest = y.Latest[:min(len(y.Latest), MaxTurnedAway)]
	return putTurnedAway(tx, t, y)
}

func putTurnedAway(tx Tx, t ident.Tenant, y TurnedAway) error {
	if err := tx.PutTurnedAway(t, y); err != nil {
		return fmt.Errorf("write devices turned away: %w", err)
	}
	return nil
}

// enlist makes room for a device that is not there yet, or says that there is none (ErrQuota).
func enlist(tx Tx, t ident.Tenant, d ident.Device) error {
	if err := admits(tx, t); err != nil {
		return err
	}
	return admitted(tx, t, d)
}

// newcomer says whether d is not registered yet.
func newcomer(r Reader, t ident.Tenant, d ident.Device) (bool, error) {
	switch _, err := r.Device(t, d); {
	case errors.Is(err, ErrNotFound):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("read device: %w", err)
	}
	return false, nil
}

// CheckDevices compares the count of the registered devices with a scan of the registry, and says how many those are.
func CheckDevices(r Reader, t ident.Tenant) (n uint64, found []string, err error) {
	for after, more := (ident.Device{}), true; more; {
		ids, next, err := r.Narrow(t, Narrow{}, after, checkPage)
		if err != nil {
			return n, nil, fmt.Errorf("list devices: %w", err)
		}
		n += uint64(len(ids))
		after, more = next, !next.IsZero()
	}
	counted, err := r.DeviceCount(t)
	if err != nil {
		return n, nil, fmt.Errorf("read count of devices: %w", err)
	}
	var bad faults
	if counted != n {
		bad.add("%d devices counted, %d are registered", counted, n)
	}
	return n, bad, nil
}
