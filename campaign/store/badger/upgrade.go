package badger

import (
	"bytes"
	"fmt"
	"strconv"

	kv "github.com/dgraph-io/badger/v4"

	"fleetbridge/ident"
)

// upgrade brings a store of an older schema to this one: it writes the indexes of the registry, and counts what later
// versions count with each commit. Cut short it starts anew at the next opening; what it wrote before is what it writes
// again.
func upgrade(db *kv.DB, from int) error {
	if from >= 4 { // its records and indexes are read as they are
		return setVersion(db)
	}
	wb := db.NewWriteBatch()
	defer wb.Cancel()
	err := db.View(func(txn *kv.Txn) error {
		u := upgrader{wb: wb, from: from, devices: map[ident.Tenant]uint64{}, spared: map[string]uint64{}}
		it := txn.NewIterator(kv.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if err := u.look(it.Item()); err != nil {
				return err
			}
		}
		return u.count(txn)
	})
	if err == nil {
		err = wb.Flush()
	}
	if err != nil {
		return fmt.Errorf("upgrade store: %w", err)
	}
	return setVersion(db) // the version follows what it stands for
}

func setVersion(db *kv.DB) error {
	err := db.Update(func(txn *kv.Txn) error { return txn.Set(schemaKey, []byte(strconv.Itoa(schemaVersion))) })
	if err == nil {
		err = db.Sync()
	}
	if err != nil {
		return fmt.Errorf("upgrade store: %w", err)
	}
	return nil
}

// upgrader is one pass over all keys.
type upgrader struct {
	wb      *kv.WriteBatch
	from    int
	devices map[ident.Tenant]uint64
	spared  map[string]uint64 // by the key of the campaign's counts
}

func (u *upgrader) look(item *kv.Item) error {
	if t, d, ok := deviceOfKey(item.Key()); ok {
		u.devices[t]++
		if u.from >= 2 {
			return nil // it has the indexes
		}
		return item.Value(func(val []byte) error {
			n, err := decodeAs[placedRecord](val)
			if err != nil {
				return fmt.Errorf("device %s of %s: %w", d, t, err)
			}
			for _, k := range placesOf(t, n, d) {
				if err := u.wb.Set(k, nil); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if t, kind, ok := kindOfKey(item.Key()); ok && (kind == kindManifest || kind == kindCampaign) {
		return item.Value(func(val []byte) error {
			if err := u.uses(t, kind, val); err != nil {
				return fmt.Errorf("uses of %q: %w", item.Key(), err)
			}
			return nil
		})
	}
	counts, ok := countsOfKey(item.Key())
	if !ok {
		return nil
	}
	return item.Value(func(val []byte) error {
		a, err := decodeAs[indexedRecord](val)
		if err != nil {
			return fmt.Errorf("assignment %q: %w", item.Key(), err)
		}
		if a.Spared() {
			u.spared[string(counts)]++
		}
		return nil
	})
}

// uses writes the entries of a manifest, or of a campaign, in the indexes of what is fetched and needed.
func (u *upgrader) uses(t ident.Tenant, kind byte, val []byte) error {
	var keys []key
	if kind == kindManifest {
		m, err := decodeAs[manifestRecord](val)
		if err != nil {
			return err
		}
		keys = fetchedKeys(t, m)
	} else {
		c, err := decodeAs[campaignRecord](val)
		if err != nil {
			return err
		}
		if k := neededKey(t, c); k != nil {
			keys = append(keys, k)
		}
	}
	for _, k := range keys {
		if err := u.wb.Set(k, nil); err != nil {
			return err
		}
	}
	return nil
}

// count writes what was counted.
func (u *upgrader) count(txn *kv.Txn) error {
	for t, n := range u.devices {
		if err := u.set(quotaPrefix(t, quotaDevices), deviceCountRecord{n}); err != nil {
			return err
		}
	}
	r := &reader{src: snapshot{txn}}
	for k, n := range u.spared {
		counts, _, err := find[countsRecord](r, key(k))
		if err != nil {
			return err
		}
		counts.Spared = n
		if err := u.set(key(k), countsRecordOf(counts)); err != nil {
			return err
		}
	}
	return nil
}

func (u *upgrader) set(k key, record any) error {
	val, err := encode(record)
	if err != nil {
		return err
	}
	return u.wb.Set(k, val)
}

// countsOfKey says whether k is the key of an assignment, and what the key of its campaign's counts is.
func countsOfKey(k []byte) (counts key, ok bool) {
	tenant, rest, found := bytes.Cut(k, []byte{0})
	if !found || len(tenant) == 0 || len(rest) < 2 || rest[0] != kindAssignment {
		return nil, false
	}
	name, _, found := bytes.Cut(rest[1:], []byte{0})
	t, err := ident.ParseTenant(string(tenant))
	if err != nil || !found {
		return nil, false
	}
	return keyOf(t, kindCounts).bytes(name), true
}

// kindOfKey is the tenant and the kind of a key, if it is one of a tenant.
func kindOfKey(k []byte) (t ident.Tenant, kind byte, ok bool) {
	tenant, rest, found := bytes.Cut(k, []byte{0})
	if !found || len(tenant) == 0 || len(rest) < 2 {
		return t, 0, false
	}
	t, err := ident.ParseTenant(string(tenant))
	return t, rest[0], err == nil
}

// deviceOfKey says whether k is the key of a device record, and of which.
func deviceOfKey(k []byte) (t ident.Tenant, d ident.Device, ok bool) {
	tenant, rest, found := bytes.Cut(k, []byte{0})
	if !found || len(tenant) == 0 || len(rest) < 2 || rest[0] != kindDevice {
		return t, d, false
	}
	t, err := ident.ParseTenant(string(tenant))
	if err != nil {
		return t, d, false
	}
	d, err = ident.ParseDevice(string(rest[1:]))
	return t, d, err == nil
}
