package bridge

import (
	"fmt"
	"sync"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func deviceNamed(t *testing.T, i int) ident.Device {
	t.Helper()
	d, err := ident.ParseDevice(fmt.Sprintf("d%d", i))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestSpeakerSaysAll: what is put is said, in order for each device, a refresh that waits already once, and all of it before
// end returns.
func TestSpeakerSaysAll(t *testing.T) {
	s, tn := newSpeaker(), ident.MustTenant("t")
	const devices, rounds = 50, 20
	permits := [rounds]campaign.PermitWord{}
	for d := range devices {
		for r := range rounds {
			s.put(word{owner: owner{tn, deviceNamed(t, d)}})
			s.put(word{owner{tn, deviceNamed(t, d)}, &permits[r]})
		}
	}
	var mu sync.Mutex
	refreshes, next := map[owner]int{}, map[owner]int{}
	s.start(func(w word) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case w.permit == nil:
			refreshes[w.owner]++
		case w.permit != &permits[next[w.owner]]:
			t.Errorf("%s: permits out of order", w.device)
		default:
			next[w.owner]++
		}
	})
	s.end()
	for d := range devices {
		o := owner{tn, deviceNamed(t, d)}
		if refreshes[o] != 1 || next[o] != rounds {
			t.Errorf("%s: %d refreshes, want 1; %d permits, want %d", o.device, refreshes[o], next[o], rounds)
		}
	}
}

// TestSpeakerRefreshesAgain: a refresh that is wanted while one is being said is another.
func TestSpeakerRefreshesAgain(t *testing.T) {
	s, o := newSpeaker(), owner{ident.MustTenant("t"), deviceNamed(t, 1)}
	saying, goOn := make(chan struct{}), make(chan struct{})
	s.start(func(word) { saying <- struct{}{}; <-goOn })
	s.put(word{owner: o})
	<-saying
	s.put(word{owner: o})
	goOn <- struct{}{}
	<-saying
	goOn <- struct{}{}
	s.end()
}

// TestLaneIsBounded: who puts into a full lane waits, and nothing is lost.
func TestLaneIsBounded(t *testing.T) {
	s, tn := newSpeaker(), ident.MustTenant("t")
	permit := &campaign.PermitWord{}
	w := word{owner{tn, deviceNamed(t, 1)}, permit}
	for range laneLen {
		s.put(w)
	}
	passed := make(chan struct{})
	go func() { s.put(w); close(passed) }()
	select {
	case <-passed:
		t.Error("a full lane took one more")
	default:
	}
	said := 0 // by the device's one lane
	s.start(func(word) { said++ })
	<-passed
	s.end()
	if said != laneLen+1 {
		t.Errorf("%d words said, want %d", said, laneLen+1)
	}
}
