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
	wb := db.NewWriteBatch()
	defer wb.Cancel()
	devices := map[ident.Tenant]uint64{}
	err := db.View(func(txn *kv.Txn) error {
		it := txn.NewIterator(kv.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			t, d, ok := deviceOfKey(it.Item().Key())
			if !ok {
				continue
			}
			if devices[t]++; from >= 2 {
				continue // it has the indexes
			}
			err := it.Item().Value(func(val []byte) error {
				n, err := decodeAs[placedRecord](val)
				if err != nil {
					return fmt.Errorf("device %s of %s: %w", d, t, err)
				}
				for _, k := range placesOf(t, n, d) {
					if err := wb.Set(k, nil); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	for t, n := range devices {
		if err == nil {
			err = setRecord(wb, quotaPrefix(t, quotaDevices), deviceCountRecord{n})
		}
	}
	if err == nil {
		err = wb.Flush()
	}
	if err == nil { // the version follows what it stands for
		err = db.Update(func(txn *kv.Txn) error { return txn.Set(schemaKey, []byte(strconv.Itoa(schemaVersion))) })
	}
	if err == nil {
		err = db.Sync()
	}
	if err != nil {
		return fmt.Errorf("upgrade store: %w", err)
	}
	return nil
}

func setRecord(wb *kv.WriteBatch, k key, record any) error {
	val, err := encode(record)
	if err != nil {
		return err
	}
	return wb.Set(k, val)
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
