package badger_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	kv "github.com/dgraph-io/badger/v4"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/campaign/store/storetest"
	"fleetbridge/ident"
)

var (
	acme      = ident.MustTenant("acme")
	spring, _ = ident.ParseCampaign("spring")
)

func device(t testing.TB, s string) ident.Device {
	t.Helper()
	d, err := ident.ParseDevice(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func putDevice(t testing.TB, s campaign.Store, name string) error {
	t.Helper()
	d := device(t, name)
	return s.Update(t.Context(), func(tx campaign.Tx) error { return tx.PutDevice(acme, campaign.Device{ID: d}) })
}

func hasDevice(t testing.TB, s campaign.Store, name string) error {
	t.Helper()
	d := device(t, name)
	return s.View(t.Context(), func(r campaign.Reader) error { _, err := r.Device(acme, d); return err })
}

// TestFailedCommitStopsTheStore: nobody in the batch is told success, not even those whose own answer was an error that
// spoke of the batch; nothing is taken or shown afterwards; opening again brings back what was committed.
func TestFailedCommitStopsTheStore(t *testing.T) {
	errDisk := errors.New("disk on fire")
	for name, after := range map[string]bool{"before the write": false, "after the write": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, badger.Options{Dir: dir})
			var broken atomic.Bool
			hook := func(mine bool) func() error {
				return func() error {
					if mine && broken.Load() {
						return errDisk
					}
					return nil
				}
			}
			s.OnCommit(hook(!after), hook(after))
			if err := putDevice(t, s, "good"); err != nil {
				t.Fatal(err)
			}
			broken.Store(true)
			// Both wait behind the first function, so they share its batch.
			held, release := make(chan struct{}), make(chan struct{})
			errMine := errors.New("exists already")
			var wg sync.WaitGroup
			errs := make([]error, 2)
			wg.Go(func() {
				errs[0] = s.Update(t.Context(), func(tx campaign.Tx) error {
					close(held)
					<-release
					return tx.PutDevice(acme, campaign.Device{ID: device(t, "bad")})
				})
			})
			<-held
			queued := s.Queued(1)
			wg.Go(func() { errs[1] = s.Update(t.Context(), func(campaign.Tx) error { return errMine }) })
			<-queued
			close(release)
			wg.Wait()
			for i, err := range errs {
				if !errors.Is(err, badger.ErrFailed) || !errors.Is(err, errDisk) || !errors.Is(err, campaign.ErrUnavailable) {
					t.Errorf("function %d was told %v", i, err)
				}
			}
			select {
			case <-s.Stopped():
			default:
				t.Error("nobody is told that the store has stopped")
			}
			broken.Store(false)
			for what, err := range map[string]error{
				"Update":  putDevice(t, s, "later"),
				"View":    hasDevice(t, s, "good"),
				"Healthy": s.Healthy(),
			} {
				if !errors.Is(err, badger.ErrFailed) {
					t.Errorf("%s after a failed commit: %v", what, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, badger.Options{Dir: dir})
			if err := hasDevice(t, s, "good"); err != nil {
				t.Errorf("a committed record: %v", err)
			}
			if err := hasDevice(t, s, "later"); !errors.Is(err, campaign.ErrNotFound) {
				t.Errorf("a refused record: %v", err)
			}
		})
	}
}

// TestSyncsEveryCommit: no test can pull the plug, and a killed process loses nothing without it.
func TestSyncsEveryCommit(t *testing.T) {
	if !open(t, badger.Options{Dir: t.TempDir()}).Syncs() {
		t.Error("commits are not synced")
	}
	if open(t, badger.Options{Dir: t.TempDir(), NoSync: true}).Syncs() {
		t.Error("NoSync has no effect")
	}
}

// TestViewShowsOnlyWhatIsDurable: a View while a commit is under way waits for nothing, and does not see what that commit,
// which is going to fail, has already put into Badger's memory.
func TestViewShowsOnlyWhatIsDurable(t *testing.T) {
	s := open(t, badger.Options{InMemory: true})
	broken := false
	entered, release := make(chan struct{}), make(chan struct{})
	s.OnCommit(func() error { return nil }, func() error {
		if !broken {
			return nil
		}
		close(entered)
		<-release
		return errors.New("sync failed")
	})
	if err := putDevice(t, s, "durable"); err != nil {
		t.Fatal(err)
	}
	broken = true
	answer := make(chan error, 1)
	go func() { answer <- putDevice(t, s, "d") }()
	<-entered
	if err := hasDevice(t, s, "d"); !errors.Is(err, campaign.ErrNotFound) {
		t.Errorf("View of the commit under way: %v", err)
	}
	if err := hasDevice(t, s, "durable"); err != nil {
		t.Errorf("View of the commit before: %v", err)
	}
	close(release)
	if err := <-answer; !errors.Is(err, badger.ErrFailed) {
		t.Errorf("Update: %v", err)
	}
	if err := hasDevice(t, s, "durable"); !errors.Is(err, badger.ErrFailed) {
		t.Errorf("View after the failed commit: %v", err)
	}
}

// TestNothingIsAnsweredBeforeTheCommit is the promise behind every PUBACK.
func TestNothingIsAnsweredBeforeTheCommit(t *testing.T) {
	s := open(t, badger.Options{InMemory: true})
	entered, release := make(chan struct{}), make(chan struct{})
	s.OnCommit(func() error { close(entered); <-release; return nil }, func() error { return nil })
	answer := make(chan error, 1)
	go func() { answer <- putDevice(t, s, "d") }()
	<-entered
	select {
	case err := <-answer:
		t.Fatalf("answered before the commit: %v", err)
	default:
	}
	close(release)
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
}

// TestCommitsAreShared: functions that wait while another commits go into one commit.
func TestCommitsAreShared(t *testing.T) {
	s := open(t, badger.Options{InMemory: true})
	const callers = 100
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Update(t.Context(), func(campaign.Tx) error { close(held); <-release; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-held
	queued := s.Queued(callers)
	for i := range callers {
		wg.Go(func() {
			if err := putDevice(t, s, fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	<-queued
	close(release)
	wg.Wait()
	if st := s.Stats(); st.Commits != 1 || st.Functions != callers+1 {
		t.Errorf("%d functions in %d commits, want %d in 1", st.Functions, st.Commits, callers+1)
	}
}

// TestBatchIsSplit: functions that together are too much for one transaction all commit; one that is too much by itself
// is refused and takes nobody with it.
func TestBatchIsSplit(t *testing.T) {
	s := open(t, badger.Options{InMemory: true})
	blob := strings.Repeat("x", 900<<10)
	write := func(name string, n int) func(tx campaign.Tx) error {
		return func(tx campaign.Tx) error {
			for i := range n {
				c := campaign.Campaign{Description: blob}
				var err error
				if c.ID, err = ident.ParseCampaign(fmt.Sprintf("%s-%d", name, i)); err != nil {
					return err
				}
				if err := tx.PutCampaign(acme, c); err != nil {
					return err
				}
			}
			return nil
		}
	}
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Update(t.Context(), func(campaign.Tx) error { close(held); <-release; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-held
	queued := s.Queued(9)
	for i := range 8 {
		wg.Go(func() {
			if err := s.Update(t.Context(), write(fmt.Sprintf("fits%d", i), 1+i%2)); err != nil {
				t.Errorf("function %d: %v", i, err)
			}
		})
	}
	wg.Go(func() {
		if err := s.Update(t.Context(), write("huge", int(s.HardBytes()/int64(len(blob)))+1)); !errors.Is(err, badger.ErrTooLarge) {
			t.Errorf("more than a transaction holds: %v", err)
		}
	})
	<-queued
	close(release)
	wg.Wait()
	err := s.View(t.Context(), func(r campaign.Reader) error {
		cs, err := r.Campaigns(acme, ident.Campaign{}, 100)
		if len(cs) != 12 {
			t.Errorf("%d records, want 12", len(cs))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(t.Context(), func(tx campaign.Tx) error {
		return tx.PutDevice(acme, campaign.Device{ID: device(t, "d"), Facts: map[string]string{"k": strings.Repeat("x", 1<<20)}})
	})
	if !errors.Is(err, badger.ErrTooLarge) {
		t.Errorf("record of 1 MiB: %v", err)
	}
}

func TestNoSpace(t *testing.T) {
	var free atomic.Int64
	var broken atomic.Bool
	o := badger.Options{Dir: t.TempDir(), MinFree: 1000, Free: func(string) (uint64, error) {
		if broken.Load() {
			return 0, errors.New("no such file system")
		}
		return uint64(free.Load()), nil
	}}
	if s, err := badger.Open(o); !errors.Is(err, badger.ErrNoSpace) {
		t.Fatalf("Open on a full disk: %v, %v", s, err)
	}
	free.Store(1000)
	s := open(t, o)
	s.MeasureAlways()
	if err := errors.Join(putDevice(t, s, "a"), s.Healthy()); err != nil {
		t.Fatal(err)
	}
	for have, want := range map[int64]bool{2000: true, 1999: false, 2010: true} { // twice the store's own reserve, and the bytes
		bytes := int64(0)
		if have == 2010 {
			bytes = 10
		}
		free.Store(have)
		if err := s.Room(bytes); (err == nil) != want || err != nil && !errors.Is(err, badger.ErrNoSpace) {
			t.Errorf("Room(%d) with %d free: %v", bytes, have, err)
		}
	}
	free.Store(1000)
	refused := func(what string) {
		t.Helper()
		if err := putDevice(t, s, "b"); !errors.Is(err, badger.ErrNoSpace) || !errors.Is(err, campaign.ErrUnavailable) {
			t.Errorf("Update with %s: %v", what, err)
		}
		if err := s.Healthy(); !errors.Is(err, badger.ErrNoSpace) {
			t.Errorf("Healthy with %s: %v", what, err)
		}
		if err := hasDevice(t, s, "a"); err != nil {
			t.Errorf("View with %s: %v", what, err)
		}
	}
	free.Store(999)
	refused("too little space")
	free.Store(5000)
	broken.Store(true)
	refused("space that can't be measured")
	broken.Store(false)
	if err := errors.Join(putDevice(t, s, "b"), s.Healthy(), hasDevice(t, s, "b")); err != nil {
		t.Errorf("after space was made: %v", err)
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, badger.Options{Dir: dir})
	for i := range 100 {
		if err := putDevice(t, s, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := badger.Open(badger.Options{Dir: dir}); !errors.Is(err, badger.ErrInUse) {
		t.Errorf("second Open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Healthy(); !errors.Is(err, campaign.ErrClosed) {
		t.Errorf("Healthy after Close: %v", err)
	}
	s = open(t, badger.Options{Dir: dir})
	for i := range 100 {
		if err := hasDevice(t, s, fmt.Sprint(i)); err != nil {
			t.Errorf("device %d: %v", i, err)
		}
	}
	if err := s.View(t.Context(), storetest.Audit); err != nil {
		t.Error(err)
	}
}

func TestVersion(t *testing.T) {
	for _, v := range []string{badger.NewerSchema, "0", "", "one", "-1"} {
		dir := t.TempDir()
		s := open(t, badger.Options{Dir: dir})
		if err := errors.Join(s.SetVersion(v), s.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := badger.Open(badger.Options{Dir: dir}); !errors.Is(err, badger.ErrVersion) {
			t.Errorf("version %q: %v", v, err)
		}
	}
	dir := t.TempDir()
	db, err := kv.Open(kv.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(txn *kv.Txn) error { return txn.Set([]byte("key"), []byte("of somebody else")) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := badger.Open(badger.Options{Dir: dir}); !errors.Is(err, badger.ErrVersion) {
		t.Errorf("another program's database: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := badger.Open(badger.Options{}); err == nil {
		t.Error("no directory was accepted")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := badger.Open(badger.Options{Dir: file}); err == nil {
		t.Error("a file was accepted as the directory")
	}
}

// TestDamage overwrites each file of a store in turn. Opening it, or reading from it, is an error, or what is there
// agrees with itself; it is never a panic. (A log that is cut is read up to the cut: that is what a crash looks like.)
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, badger.Options{Dir: dir})
	for i := range 50 {
		if err := putDevice(t, s, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var files []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files = append(files, p)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	refused := 0
	for _, name := range files {
		for _, damage := range []func([]byte) []byte{
			func(b []byte) []byte { return nil },
			func(b []byte) []byte { return b[:len(b)/2] },
			func(b []byte) []byte { return bytes.Repeat([]byte{0xa5}, len(b)) },
			func(b []byte) []byte { return append(bytes.Repeat([]byte{0xa5}, len(b)/4), b[len(b)/4:]...) },
			func(b []byte) []byte { return append(b[:len(b)*3/4], bytes.Repeat([]byte{0xa5}, len(b)/4)...) },
		} {
			if !opensRight(t, dir, name, damage) {
				refused++
			}
		}
	}
	if refused == 0 {
		t.Error("no damage was noticed: the test damages nothing")
	}
}

// opensRight damages one file of a copy of dir and reports whether the copy still opens and reads.
func opensRight(t *testing.T, dir, name string, damage func([]byte) []byte) bool {
	t.Helper()
	damaged := t.TempDir()
	if err := os.CopyFS(damaged, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(damaged, name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, damage(b), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := badger.Open(badger.Options{Dir: damaged})
	if err != nil {
		return false
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Logf("close after damage to %s: %v", name, err)
		}
	}()
	return s.View(t.Context(), storetest.Audit) == nil
}

// A table that was being written when the process died is half there, and in no list: it is no damage.
func TestUnfinishedTableIsNoDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, badger.Options{Dir: dir})
	if err := putDevice(t, s, "kept"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"000090.sst": nil, "000091.sst": {1, 2, 3}, "000092.sst": make([]byte, 1<<20)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, badger.Options{Dir: dir})
	if err := hasDevice(t, s, "kept"); err != nil {
		t.Error(err)
	}
}
