package campaign_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"
	"text/tabwriter"
	"time"

	"fleetbridge/campaign"
)

var update = flag.Bool("update", false, "write golden files")

// TestTransitionMatrix shows every state × trigger in a file for people to review; a dot means that nothing moves.
func TestTransitionMatrix(t *testing.T) {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "trigger")
	for _, s := range campaign.States {
		fmt.Fprintf(w, "\t%s", s)
	}
	moves := 0
	for _, tr := range campaign.Triggers {
		fmt.Fprintf(w, "\n%s", tr)
		for _, s := range campaign.States {
			a := campaign.Assignment{State: s}
			next, moved := a.Apply(campaign.Event{Trigger: tr}, start, nil)
			switch _, ok := campaign.Next(s, tr); {
			case moved:
				moves++
				fmt.Fprintf(w, "\t%s", next.State)
			case ok:
				fmt.Fprint(w, "\t=") // same state, its time begins again
			default:
				fmt.Fprint(w, "\t.")
			}
		}
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if moves == 0 {
		t.Fatal("no trigger moves anything")
	}
	const golden = "testdata/transitions.golden"
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("transitions differ from %s (go test -update writes it):\n%s", golden, b.Bytes())
	}
}

func TestUnknownStatesAndTriggersMoveNothing(t *testing.T) {
	for _, s := range append([]campaign.State{"", "of-a-newer-version"}, campaign.States...) {
		for _, tr := range []campaign.Trigger{"", "of-a-newer-device"} {
			if next, moved := (campaign.Assignment{State: s}).Apply(campaign.Event{Trigger: tr}, start, nil); moved || next.State != s {
				t.Errorf("%q in state %q: moved to %q", tr, s, next.State)
			}
		}
	}
}

// TestApplySharesNothing applies to one assignment twice: the first result must not see the second.
func TestApplySharesNothing(t *testing.T) {
	a := campaign.Assignment{State: campaign.Offered, Path: make([]campaign.PathStep, 1, 8)}
	x, _ := a.Apply(campaign.Event{Trigger: campaign.SaysReceived}, start, nil)
	y, _ := a.Apply(campaign.Event{Trigger: campaign.SaysFailed}, start, nil)
	if x.Path[1].State != campaign.Received || y.Path[1].State != campaign.Failed || len(a.Path) != 1 {
		t.Errorf("paths are shared: %v, %v, %v", a.Path, x.Path, y.Path)
	}
}

func TestPathKeepsItsBeginningAndItsEnd(t *testing.T) {
	a := campaign.Assignment{State: campaign.Pending, Path: []campaign.PathStep{{State: campaign.Pending}}}
	a, _ = a.Apply(campaign.Event{Trigger: campaign.Offering}, start, nil)
	for i := range 100 {
		word := campaign.SaysReceived
		if i%2 == 1 {
			word = campaign.SaysDownloading
		}
		a, _ = a.Apply(campaign.Event{Trigger: word, Seq: uint64(i + 1)}, start, nil)
	}
	if len(a.Path) != campaign.MaxPath {
		t.Fatalf("path has %d steps, want %d", len(a.Path), campaign.MaxPath)
	}
	if a.Path[0].State != campaign.Pending || a.Path[1].State != campaign.Offered || a.Path[len(a.Path)-1].Seq != 100 {
		t.Errorf("path is %v", a.Path)
	}
}

func TestBackOff(t *testing.T) {
	deadlines := map[campaign.State]time.Duration{campaign.Offered: time.Hour}
	a, moved := campaign.Assignment{State: campaign.Pending, Order: 42}.Apply(campaign.Event{Trigger: campaign.Offering}, start, deadlines)
	if !moved || a.Offers != 1 || !a.Deadline.Equal(start.Add(time.Hour)) {
		t.Fatalf("first offer: moved %v, offers %d, deadline %v", moved, a.Offers, a.Deadline)
	}
	first, now, last := a.Deadline, start, time.Duration(0)
	for a.Due().Before(first) {
		wait := a.Due().Sub(now)
		if low := min(10*time.Minute, 5*time.Second<<(a.Offers-1)); wait < low || wait >= low*3/2 {
			t.Fatalf("wait after offer %d is %v, want %v and up to half of it more", a.Offers, wait, low)
		}
		now, last = a.Due(), wait
		if a, moved = a.Apply(campaign.Event{Trigger: campaign.Offering}, now, deadlines); moved {
			t.Fatal("a repeated offer is a move")
		}
		if !a.Deadline.Equal(first) {
			t.Fatalf("a repeated offer moved the deadline to %v", a.Deadline)
		}
	}
	if last < 5*time.Minute {
		t.Errorf("never came near the cap: last wait %v", last)
	}
	if !a.Due().Equal(first) {
		t.Errorf("after the last offer due at %v, want the deadline", a.Due())
	}
}
