package badger_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/campaign/store/storetest"
	"fleetbridge/ident"
)

// crashDir makes the test binary the child of TestKill: a process that writes into this store until it is killed.
const crashDir = "FLEETBRIDGE_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		fmt.Fprintln(os.Stderr, writeForEver(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const crashWriters = 8

func crashNames(writer int, n uint64) (c ident.Campaign, counter, d ident.Device, err error) {
	c, err1 := ident.ParseCampaign("c")
	counter, err2 := ident.ParseDevice(fmt.Sprintf("w%d", writer))
	d, err3 := ident.ParseDevice(fmt.Sprintf("w%d-%d", writer, n))
	return c, counter, d, errors.Join(err1, err2, err3)
}

// writeForEver runs writers that each count up in an assignment, make a record for each number in the same transaction,
// and print the number once Update has said that it is durable.
func writeForEver(dir string) error {
	s, err := badger.Open(badger.Options{Dir: dir})
	if err != nil {
		return err
	}
	failed := make(chan error, crashWriters)
	for w := range crashWriters {
		go func() {
			for {
				n, err := writeOne(s, w)
				if err != nil {
					failed <- err
					return
				}
				// One write call, so a line is whole even when the process dies.
				fmt.Printf("%d %d\n", w, n)
			}
		}()
	}
	return <-failed
}

func writeOne(s campaign.Store, w int) (n uint64, err error) {
	err = s.Update(context.Background(), func(tx campaign.Tx) error {
		c, counter, _, err := crashNames(w, 0)
		if err != nil {
			return err
		}
		a, err := tx.Assignment(acme, c, counter)
		if errors.Is(err, campaign.ErrNotFound) {
			a, err = campaign.Assignment{Campaign: c, Device: counter, Wave: w % 2}, nil
		}
		if err != nil {
			return err
		}
		a.Seq++
		n = a.Seq
		a.Reports = n
		a.State = campaign.States[n%uint64(len(campaign.States))]
		a.Deadline = time.Unix(int64(n), 0)
		_, _, d, err := crashNames(w, n)
		if err != nil {
			return err
		}
		var work campaign.Work
		if n%2 == 0 {
			work.Live = []campaign.Live{{Campaign: c}}
		}
		return errors.Join(
			tx.PutTenant(campaign.Tenant{ID: acme}),
			tx.PutCampaign(acme, campaign.Campaign{ID: c, Phase: campaign.Active, Revision: n}),
			tx.PutAssignment(acme, a),
			tx.PutDevice(acme, campaign.Device{ID: d, Boot: n}),
			tx.PutWork(acme, d, work))
	})
	return n, err
}

// TestKill kills a writing process with SIGKILL at random moments. Every number that it printed is in the store
// afterwards, each transaction is there whole or not at all, and indexes and counts equal a scan.
func TestKill(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	var printed [crashWriters]uint64
	for range rounds {
		killAfter(t, dir, rnd.IntN(400), time.Duration(rnd.IntN(2000))*time.Microsecond, &printed)
		checkAfterKill(t, dir, printed)
		if t.Failed() {
			return
		}
	}
}

// killAfter starts a child, kills it a little after its n-th line, and notes the highest number of each writer.
func killAfter(t *testing.T, dir string, n int, extra time.Duration, printed *[crashWriters]uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("kill: %v", err)
		}
	})
	defer kill()
	lines := bufio.NewScanner(out)
	total := 0
	for ; lines.Scan(); total++ {
		w, num, err := parseLine(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		printed[w] = max(printed[w], num)
		if total == n {
			time.AfterFunc(extra, kill)
		}
	}
	if total < n {
		t.Fatalf("child ended by itself after %d lines: %v", total, errors.Join(lines.Err(), cmd.Wait()))
	}
	// Drained: what is left of the pipe ended with the process, whose exit status is the signal's.
	if _, err := io.Copy(io.Discard, out); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("child was not killed: %v", err)
	}
}

func parseLine(line string) (writer int, n uint64, err error) {
	if _, err := fmt.Sscanf(line, "%d %d", &writer, &n); err != nil || writer < 0 || writer >= crashWriters {
		return 0, 0, fmt.Errorf("child printed %s: %w", strconv.Quote(line), err)
	}
	return writer, n, nil
}

func checkAfterKill(t *testing.T, dir string, printed [crashWriters]uint64) {
	t.Helper()
	s, err := badger.Open(badger.Options{Dir: dir})
	if err != nil {
		t.Fatalf("open after kill: %v", err)
	}
	err = s.View(t.Context(), func(r campaign.Reader) error {
		for w, last := range printed {
			c, counter, _, err := crashNames(w, 0)
			if err != nil {
				return err
			}
			a, err := r.Assignment(acme, c, counter)
			if err != nil && (last > 0 || !errors.Is(err, campaign.ErrNotFound)) {
				return fmt.Errorf("writer %d: %w", w, err)
			}
			if a.Seq < last {
				t.Errorf("writer %d was told that %d is durable, the store has %d", w, last, a.Seq)
			}
			for n := uint64(1); n <= a.Seq+1; n++ {
				_, _, d, err := crashNames(w, n)
				if err != nil {
					return err
				}
				if _, err := r.Device(acme, d); (err == nil) != (n <= a.Seq) {
					t.Errorf("writer %d at %d: record %d: %v", w, a.Seq, n, err)
				}
			}
		}
		return storetest.Audit(r)
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Error(err)
	}
}
