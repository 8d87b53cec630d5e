package campaign

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"fleetbridge/ident"
)

// Bounds of what operators set on a device.
const (
	MaxGroups = 16
	// MaxLabelled bounds the devices of one Label: with all their index entries they must fit a transaction.
	MaxLabelled = 100
)

// LabelChange says what becomes of a device's labels and groups. What is set and unset is set.
type LabelChange struct {
	Set   map[string]string
	Unset []string
	Join  []string // groups
	Leave []string
}

// to is d with the change.
func (ch LabelChange) to(d Device) Device {
	labels, groups := maps.Clone(d.Labels), slices.Clone(d.Groups)
	for _, k := range ch.Unset {
		delete(labels, k)
	}
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, ch.Set)
	groups = slices.DeleteFunc(groups, func(g string) bool { return slices.Contains(ch.Leave, g) })
	groups = append(groups, ch.Join...)
	slices.Sort(groups)
	d.Labels, d.Groups = labels, slices.Compact(groups)
	if len(labels) == 0 {
		d.Labels = nil
	}
	if len(groups) == 0 {
		d.Groups = nil
	}
	return d
}

// Labelled says what Label did.
type Labelled struct {
	Matched int // devices that passed the filter
	Changed int // those of them that had not been so before
}

// Label changes the labels and groups of devices, of at most MaxLabelled of them that pass the filter (all, if it is ""),
// which is asked again: they may have changed since they were found. A device that is not there, or that would have too
// many, ends it all: a *NotFoundError, an *InvalidError.
func Label(tx Tx, now time.Time, t ident.Tenant, ids []ident.Device, filter string, ch LabelChange) (done Labelled, res Result, err error) {
	if len(ids) > MaxLabelled {
		return done, res, &InvalidError{[]FieldError{{"/devices", fmt.Sprintf("%d devices, at most %d", len(ids), MaxLabelled)}}}
	}
	f, err := CompileFilter(filter, "/filter")
	if err != nil {
		return done, res, err
	}
	k := &desk{tx: tx, t: t, now: now}
	for _, id := range ids {
		old, err := tx.Device(t, id)
		if err != nil {
			return Labelled{}, Result{}, missing(err, "device", id)
		}
		if in, err := matches(f, old, DefaultComponent, now); err != nil || !in {
			continue // without an answer it is not selected
		}
		done.Matched++
		dev := ch.to(old)
		if maps.Equal(dev.Labels, old.Labels) && slices.Equal(dev.Groups, old.Groups) {
			continue
		}
		if err := dev.bounded(); err != nil {
			return Labelled{}, Result{}, err
		}
		done.Changed++
		if err := k.register(dev); err != nil {
			return Labelled{}, Result{}, err
		}
	}
	return done, k.res, nil
}

// bounded is an *InvalidError if d has too many labels or groups.
func (d Device) bounded() error {
	var bad InvalidError
	if len(d.Labels) > MaxLabels {
		bad.add("/set", "device %s would have %d labels, at most %d", d.ID, len(d.Labels), MaxLabels)
	}
	if len(d.Groups) > MaxGroups {
		bad.add("/join", "device %s would be in %d groups, at most %d", d.ID, len(d.Groups), MaxGroups)
	}
	return bad.err()
}

// Register writes a device that somebody adds or changes, which may join continuous campaigns by it. The error wraps
// ErrQuota for a new one that has no room within the tenant's quota.
func Register(tx Tx, now time.Time, t ident.Tenant, d Device) (Result, error) {
	k := &desk{tx: tx, t: t, now: now}
	fresh, err := newcomer(tx, t, d.ID)
	if err == nil && fresh {
		err = enlist(tx, t, d.ID)
	}
	if err != nil {
		return Result{}, err
	}
	if err := k.register(d); err != nil {
		return Result{}, err
	}
	return k.res, nil
}

func (k *desk) register(d Device) error {
	if err := k.tx.PutDevice(k.t, d); err != nil {
		return fmt.Errorf("write device: %w", err)
	}
	return k.join(d)
}
