package badger

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// placedRecord is what the indexes of the registry hold of a device record: decoding it costs less than the whole.
type placedRecord struct {
	Vendor []byte            `cbor:"2,keyasint,omitempty"`
	Class  []byte            `cbor:"3,keyasint,omitempty"`
	Labels map[string]string `cbor:"9,keyasint,omitempty"`
	Groups []string          `cbor:"30,keyasint,omitempty"`
}

func (r placedRecord) domain() (campaign.Narrow, error) {
	var p parser
	return campaign.Narrow{Vendor: p.uuid(r.Vendor), Class: p.uuid(r.Class), Labels: r.Labels, Groups: r.Groups}, p.err
}

func classPrefix(t ident.Tenant, vendor, class uuid.UUID) key {
	return keyOf(t, kindClass).bytes(vendor[:]).bytes(class[:])
}

// registryPrefixes are the indexes that hold the devices of n, the one that is likely the smallest first.
func registryPrefixes(t ident.Tenant, n campaign.Narrow) []key {
	var ks []key
	for _, g := range n.Groups {
		ks = append(ks, keyOf(t, kindLabel).last("g").part(g))
	}
	for _, name := range slices.Sorted(maps.Keys(n.Labels)) {
		ks = append(ks, keyOf(t, kindLabel).last("l").part(name).part(n.Labels[name]))
	}
	if n.Vendor != uuid.Nil || n.Class != uuid.Nil {
		ks = append(ks, classPrefix(t, n.Vendor, n.Class))
	}
	return ks
}

func (r *reader) Narrow(t ident.Tenant, n campaign.Narrow, after ident.Device, limit int) (ids []ident.Device, next ident.Device, err error) {
	prefixes := registryPrefixes(t, n)
	if len(prefixes) == 0 {
		prefixes = []key{keyOf(t, kindDevice)}
	}
	names, err := r.rest(prefixes[0], after.String(), limit)
	if err != nil {
		return nil, next, err
	}
	for _, name := range names {
		in := true
		for _, p := range prefixes[1:] {
			if in, err = r.src.get(append(slices.Clip(p), name...), ignore); err != nil {
				return nil, next, fmt.Errorf("read index of devices: %w", err)
			}
			if !in {
				break
			}
		}
		d, err := ident.ParseDevice(name)
		if err != nil {
			return nil, next, fmt.Errorf("read index of devices: %w: %w", errRecord, err)
		}
		if in {
			ids = append(ids, d)
		}
		next = d
	}
	if len(names) < limit {
		next = ident.Device{}
	}
	return ids, next, nil
}

func ignore([]byte) error { return nil }

// device is the record of a device as it is remembered; nil if there is none.
func (t *tx) device(tn ident.Tenant, d ident.Device) (*campaign.Device, error) {
	return recalled[deviceRecord](t, t.ov.memory.devices, keyOf(tn, kindDevice).last(d.String()))
}

func (t *tx) Boot(tn ident.Tenant, d ident.Device) (uint64, error) {
	v, err := t.device(tn, d)
	if err != nil || v == nil {
		return 0, err
	}
	return v.Boot, nil
}

func (t *tx) Device(tn ident.Tenant, d ident.Device) (campaign.Device, error) {
	v, err := t.device(tn, d)
	if err != nil {
		return campaign.Device{}, err
	}
	if v == nil {
		return campaign.Device{}, campaign.ErrNotFound
	}
	c := *v
	c.Installed, c.Algs, c.Groups = slices.Clone(v.Installed), slices.Clone(v.Algs), slices.Clone(v.Groups)
	c.Facts, c.Labels = maps.Clone(v.Facts), maps.Clone(v.Labels)
	return c, nil
}

func (t *tx) PutDevice(tn ident.Tenant, v campaign.Device) error {
	if err := t.named("device", tn, v.ID); err != nil {
		return err
	}
	if err := indexable(v); err != nil {
		return t.fail(fmt.Errorf("put device %s: %w", v.ID, err))
	}
	t.renews(tn, v.ID)
	k := keyOf(tn, kindDevice).last(v.ID.String())
	old, there, err := find[placedRecord](&t.reader, k)
	if err != nil {
		return t.fail(err)
	}
	was := map[string]bool{}
	if !there {
		if err := t.countDevice(tn); err != nil {
			return err
		}
	} else {
		for _, p := range placesOf(tn, old, v.ID) {
			was[string(p)] = true
		}
	}
	for _, p := range placesOf(tn, campaign.Narrow{Vendor: v.Vendor, Class: v.Class, Labels: v.Labels, Groups: v.Groups}, v.ID) {
		if !was[string(p)] {
			t.index(p, true)
		}
		delete(was, string(p))
	}
	for p := range was {
		t.index(key(p), false)
	}
	return t.put(k, deviceRecordOf(v))
}

// placesOf are the index entries of a device. One whose vendor and class are not known yet is in no index by class.
func placesOf(t ident.Tenant, n campaign.Narrow, d ident.Device) []key {
	ks := registryPrefixes(t, n)
	for i := range ks {
		ks[i] = ks[i].last(d.String())
	}
	return ks
}

// maxLabelKey bounds a label and a group in a key, in bytes.
const maxLabelKey = 4096

// indexable says whether the index can hold v's labels and groups.
func indexable(v campaign.Device) error {
	texts := slices.Clone(v.Groups)
	for name, value := range v.Labels {
		texts = append(texts, name, value)
	}
	for _, s := range texts {
		if len(s) > maxLabelKey {
			return fmt.Errorf("label or group of %d bytes, at most %d: %w", len(s), maxLabelKey, ErrTooLarge)
		}
		if strings.Contains(s, "\x00") {
			return fmt.Errorf("label or group holds a NUL byte: %w", errRecord)
		}
	}
	return nil
}
