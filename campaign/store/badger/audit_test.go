package badger_test

import (
	"context"
	"strings"
	"testing"
	"time"

	kv "github.com/dgraph-io/badger/v4"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/ident"
)

// TestTamperedAuditLogIsFound edits the database behind the store's back: one letter of one entry, and one entry gone.
func TestTamperedAuditLogIsFound(t *testing.T) {
	acme := ident.MustTenant("acme")
	for name, edit := range map[string]func(txn *kv.Txn, key, val []byte) error{
		"none": func(*kv.Txn, []byte, []byte) error { return nil },
		"edited": func(txn *kv.Txn, key, val []byte) error {
			return txn.Set(key, []byte(strings.Replace(string(val), "mallory", "malfoy_", 1)))
		},
		"deleted": func(txn *kv.Txn, key, _ []byte) error { return txn.Delete(key) },
	} {
		dir := t.TempDir()
		with(t, dir, func(s *badger.Store) error {
			return s.Update(context.Background(), func(tx campaign.Tx) error {
				for _, by := range []string{"alice", "mallory", "bob"} {
					if _, err := campaign.Record(tx, acme, campaign.AuditEntry{At: time.Unix(1, 0), By: by, Command: "campaign/start"}); err != nil {
						return err
					}
				}
				return nil
			})
		})
		db, err := kv.Open(kv.DefaultOptions(dir).WithLogger(nil))
		if err != nil {
			t.Fatal(err)
		}
		edited := 0
		err = db.Update(func(txn *kv.Txn) error {
			it := txn.NewIterator(kv.DefaultIteratorOptions)
			defer it.Close()
			for it.Rewind(); it.Valid(); it.Next() {
				val, err := it.Item().ValueCopy(nil)
				if err != nil {
					return err
				}
				if strings.Contains(string(val), "mallory") {
					edited++
					return edit(txn, it.Item().KeyCopy(nil), val)
				}
			}
			return nil
		})
		if err != nil || edited != 1 {
			t.Fatalf("%s: %d entries, %v", name, edited, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		var c campaign.AuditCheck
		with(t, dir, func(s *badger.Store) error {
			return s.View(context.Background(), func(r campaign.Reader) (err error) {
				c, err = campaign.VerifyAudit(r, acme, 0, ident.Digest{}, 100)
				return err
			})
		})
		if good := name == "none"; c.Done != good || (c.At == 2) == good {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// with opens the store in dir for one function.
func with(t *testing.T, dir string, fn func(*badger.Store) error) {
	t.Helper()
	s, err := badger.Open(badger.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := fn(s); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
