package groupcommit

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"strings"
	"testing"

	kv "github.com/dgraph-io/badger/v4"

	"fleetbridge/internal/bench"
)

// run lets the role begin, marks it until done says so, and hangs up.
func run(t *testing.T, p Params, done func(bench.Counts) bool) (bench.Counts, error) {
	t.Helper()
	in, ask := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- bench.Work(context.WithoutCancel(t.Context()), in, out, Run)
		out.Close()
	}()
	params, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	answer := json.NewDecoder(answers)
	say := func(line string, into any) bool {
		_, _ = io.WriteString(ask, line+"\n") // who has ended does not answer either
		return answer.Decode(into) == nil
	}
	var n bench.Counts
	for ok := say(string(params), &n) && say("begin", &n); ok && !done(n); ok = say("mark", &n) {
	}
	ask.Close()
	return n, <-ended
}

func TestRun(t *testing.T) {
	p := Params{Dir: t.TempDir(), Writers: 30, Size: 150}
	n, err := run(t, p, func(n bench.Counts) bool { return n.Units > 100 })
	if err != nil || n.Failed > 0 || n.Bytes != 150*n.Units {
		t.Fatalf("%+v, %v", n, err)
	}
	db, err := kv.Open(profile(p.Dir))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	keys, writes := 0, uint64(0)
	err = db.View(func(txn *kv.Txn) error {
		it := txn.NewIterator(kv.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			keys++
			err := it.Item().Value(func(v []byte) error {
				if len(v) != p.Size {
					t.Errorf("a value has %d bytes", len(v))
				}
				writes += binary.BigEndian.Uint64(v)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || keys != p.Writers || writes < n.Units {
		t.Errorf("%d keys that were written %d times, of which %d counted: %v", keys, writes, n.Units, err)
	}
}

// TestNoDatabase: nothing is measured where nothing can be written.
func TestNoDatabase(t *testing.T) {
	if _, err := run(t, Params{Dir: "/dev/null/no", Writers: 1, Size: 8}, func(bench.Counts) bool { return true }); err == nil {
		t.Error("no error")
	}
}

// TestFailedCommit: it ends the writers, and is told.
func TestFailedCommit(t *testing.T) {
	db, err := kv.Open(profile(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	m := &writers{Params: Params{Writers: 2, Size: 8}, db: db, waiting: make(chan *write, 2)}
	m.begin(t.Context())
	m.running.Wait()
	if n := m.mark().(bench.Counts); n.Failed == 0 || n.Units > 0 || !strings.Contains(n.Problem, kv.ErrDBClosed.Error()) {
		t.Errorf("%+v", n)
	}
}
