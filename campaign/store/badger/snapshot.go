package badger

import (
	"bytes"
	"errors"

	kv "github.com/dgraph-io/badger/v4"
)

// source is something to read keys from. What a callback gets is valid until it returns.
type source interface {
	// get calls fn with the value of key and reports whether there is one.
	get(key []byte, fn func(val []byte) error) (bool, error)
	// among calls fn with the index and the value of each name that has one under prefix+name. names are in order.
	among(prefix []byte, names []string, fn func(i int, val []byte) error) error
	// scan calls fn in key order for the keys from `from` on that start with prefix, until fn reports false. With
	// keysOnly the values may be missing. fn writes nothing.
	scan(prefix, from []byte, keysOnly bool, fn func(key, val []byte) (bool, error)) error
}

// snapshot reads a Badger transaction.
type snapshot struct{ txn *kv.Txn }

func (s snapshot) get(key []byte, fn func([]byte) error) (bool, error) {
	item, err := s.txn.Get(key)
	if errors.Is(err, kv.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, item.Value(fn)
}

func (s snapshot) scan(prefix, from []byte, keysOnly bool, fn func(key, val []byte) (bool, error)) error {
	opt := kv.IteratorOptions{Prefix: prefix, PrefetchValues: false} // values are in the tables: nothing to prefetch
	it := s.txn.NewIterator(opt)
	defer it.Close()
	for it.Seek(from); it.ValidForPrefix(prefix); it.Next() {
		var more bool
		item := it.Item()
		call := func(val []byte) (err error) {
			more, err = fn(item.Key(), val)
			return err
		}
		var err error
		if keysOnly {
			err = call(nil)
		} else {
			err = item.Value(call)
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// seekAfter is how many keys are stepped over one by one before it is cheaper to look for the next.
const seekAfter = 8

// among walks the keys once: records that are wanted in order lie beside each other.
func (s snapshot) among(prefix []byte, names []string, fn func(i int, val []byte) error) error {
	it := s.txn.NewIterator(kv.IteratorOptions{Prefix: prefix, PrefetchValues: false})
	defer it.Close()
	var k []byte
	for i, name := range names {
		k = append(append(k[:0], prefix...), name...)
		if i == 0 {
			it.Seek(k)
		}
		for steps := 0; it.ValidForPrefix(prefix) && bytes.Compare(it.Item().Key(), k) < 0; steps++ {
			if steps == seekAfter {
				it.Seek(k)
				break
			}
			it.Next()
		}
		if !it.ValidForPrefix(prefix) {
			return nil
		}
		if bytes.Equal(it.Item().Key(), k) {
			if err := it.Item().Value(func(val []byte) error { return fn(i, val) }); err != nil {
				return err
			}
		}
	}
	return nil
}
