package badger

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	kv "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// schemaVersion is the version of keys and records. A store of a higher one is refused, one of a lower one is upgraded.
// Version 2 has the indexes of the registry, version 3 the count of devices, version 4 the indexes of what manifests
// fetch and campaigns need. From version 5 on a path is written as steps, and an entry of the index by due time may be early.
const schemaVersion = 5

// schemaKey holds the schema version in decimal. No tenant's key starts with 0x00.
var schemaKey = []byte("\x00schema")

// openDB opens Badger in the profile of one committer with small batches.
func openDB(o Options, log *slog.Logger) (db *kv.DB, err error) {
	opt := kv.DefaultOptions(o.Dir).
		WithInMemory(o.InMemory).
		WithSyncWrites(!o.NoSync && !o.InMemory).
		WithDetectConflicts(false). // only the committer writes
		WithMemTableSize(16 << 20).
		WithNumMemtables(3).
		WithBlockCacheSize(0).
		WithNumCompactors(2).
		WithValueLogFileSize(64 << 20).
		WithCompression(options.None).
		WithMetricsEnabled(false). // they are process-wide expvars
		WithChecksumVerificationMode(options.OnBlockRead).
		WithLogger(logger{log})
	if o.InMemory {
		opt = opt.WithDir("").WithValueDir("")
	}
	// A damaged file can make Badger panic where it should return.
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("database is damaged: %v", p)
		}
	}()
	if !o.InMemory {
		if err := checkTables(opt); err != nil {
			return nil, err
		}
	}
	db, err = kv.Open(opt)
	if err != nil && strings.Contains(err.Error(), "directory lock") {
		// Badger has no sentinel for it.
		return nil, fmt.Errorf("%w: %w", ErrInUse, err)
	}
	return db, err
}

// checkVersion writes the schema version into an empty database, upgrades an older one, and refuses one that this
// program can't read.
func checkVersion(db *kv.DB) error {
	version := schemaVersion
	err := db.Update(func(txn *kv.Txn) error {
		item, err := txn.Get(schemaKey)
		if errors.Is(err, kv.ErrKeyNotFound) {
			if !empty(txn) {
				return fmt.Errorf("%w: not a store of this program", ErrVersion)
			}
			return txn.Set(schemaKey, []byte(strconv.Itoa(schemaVersion)))
		}
		if err != nil {
			return fmt.Errorf("read schema version: %w", err)
		}
		return item.Value(func(v []byte) error {
			n, err := strconv.Atoi(string(v))
			if err != nil || n < 1 || n > schemaVersion {
				return fmt.Errorf("%w: it has %q, this program reads up to %d", ErrVersion, v, schemaVersion)
			}
			version = n
			return nil
		})
	})
	if err == nil && version < schemaVersion {
		err = upgrade(db, version)
	}
	return err
}

func empty(txn *kv.Txn) bool {
	opt := kv.DefaultIteratorOptions
	opt.PrefetchValues = false
	it := txn.NewIterator(opt)
	defer it.Close()
	it.Rewind()
	return !it.Valid()
}

// logger passes Badger's warnings and errors on.
type logger struct{ log *slog.Logger }

func (l logger) Errorf(f string, a ...any)   { l.log.Error("database reported an error", text(f, a)) }
func (l logger) Warningf(f string, a ...any) { l.log.Warn("database warned", text(f, a)) }
func (logger) Infof(string, ...any)          {}
func (logger) Debugf(string, ...any)         {}

func text(f string, a []any) slog.Attr {
	return slog.String("text", strings.TrimSpace(fmt.Sprintf(f, a...)))
}
