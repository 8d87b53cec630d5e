package campaign_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// granted are the devices that were just told that they may install, in the order of the telling.
func (w *world) granted(c ident.Campaign) string {
	w.t.Helper()
	var out []string
	for more := true; more; {
		res := w.update(func(tx campaign.Tx) (campaign.Result, error) {
			res, wake, err := campaign.Advance(tx, w.now, acme, c, w.outside(), w.slice)
			more = wake.Again
			return res, err
		})
		for _, p := range res.Permits {
			if p.State == campaign.PermitGranted {
				out = append(out, p.Device.String())
			}
		}
	}
	return strings.Join(out, " ")
}

// TestFirstAskedFirstServed has devices ask in an order that is neither that of their names nor that of the rollout, and
// keep asking. Each place that gets free goes to the one that waits longest; asking again does not help, nor does coming
// just when a place is free.
func TestFirstAskedFirstServed(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	line := []string{"m", "c", "x", "a", "k"}
	w.site("north", line...)
	w.site("north", "late")
	c := w.create("c", m, policy(permitted(1)))
	w.run(c)
	for _, d := range line {
		w.now = w.now.Add(time.Second)
		w.downloaded(d, m)
	}
	for range 3 {
		w.downloaded("k", m) // in a hurry
	}
	for i, d := range line[:4] {
		w.report(d, m, "installing")
		w.hello(d, m.Image, 2)
		w.want(c, d, campaign.Confirmed)
		if i == 0 { // the place is free, and nobody has looked yet
			if have := w.downloaded("late", m); have != campaign.PermitWaiting {
				t.Errorf("who came last was told %s", have)
			}
		}
		if have := w.granted(c); have != line[i+1] {
			t.Errorf("after %s the place went to %q, want %s", d, have, line[i+1])
		}
	}
}

// TestGrantsInSlices frees many places at once, by a window that opens: all are given, a slice at a time.
func TestGrantsInSlices(t *testing.T) {
	w := newWorld(t)
	w.slice = 3
	m := w.manifest("v2")
	w.register(names(10)...)
	c := w.create("c", m, policy(permitted(0), func(p *campaign.Policy) {
		p.Permit.Label = ""
		p.Windows = []campaign.Window{{Cron: "0 12 * * *", Duration: time.Hour}}
	}))
	w.run(c)
	w.now = start.Add(2 * time.Hour)
	for _, d := range names(10) {
		if have := w.downloaded(d, m); have != campaign.PermitWaiting {
			t.Errorf("%s outside the window: %s", d, have)
		}
	}
	if wake := w.run(c); !wake.At.Equal(start.Add(24 * time.Hour)) {
		t.Errorf("looked at again at %s", wake.At)
	}
	w.now = start.Add(24*time.Hour - time.Second)
	for _, d := range names(10) {
		w.downloaded(d, m) // or their deadline would pass as the window opens
	}
	w.now = start.Add(24 * time.Hour)
	if have := w.granted(c); len(strings.Fields(have)) != 10 {
		t.Errorf("granted %q", have)
	}
}

// TestGrantEndsWithItsWindow: a device without a clock is told less time than the policy's, if its window closes before.
func TestGrantEndsWithItsWindow(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d")
	c := w.create("c", m, policy(permitted(0), func(p *campaign.Policy) {
		p.Permit.Label = ""
		p.Windows = []campaign.Window{{Cron: "0 12 * * *", Duration: time.Hour}}
	}))
	w.run(c)
	w.now = start.Add(59*time.Minute + 30*time.Second)
	if have := w.downloaded("d", m); have != campaign.PermitGranted {
		t.Fatalf("in the window: %s", have)
	}
	if until := w.assignment(c, "d").Permit.Until; !until.Equal(start.Add(time.Hour)) {
		t.Errorf("good until %s", until)
	}
}

// TestPlaceOfAnUnusedGrant is held until the grant's time and PermitGrace are over, to the nanosecond, and is then given
// to the next.
func TestPlaceOfAnUnusedGrant(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.site("north", "dead", "next")
	c := w.create("c", m, policy(permitted(1)))
	w.run(c)
	w.downloaded("dead", m)
	w.downloaded("next", m)
	free := w.now.Add(2*time.Minute + campaign.PermitGrace)
	if wake := w.run(c); !wake.At.Equal(free) {
		t.Errorf("looked at again at %s, want %s", wake.At, free)
	}
	w.now = free.Add(-1)
	if have := w.granted(c); have != "" {
		t.Errorf("too early: %s", have)
	}
	w.now = free
	if have := w.granted(c); have != "next" {
		t.Errorf("granted %q", have)
	}
	if a := w.assignment(c, "dead"); a.State != campaign.Downloaded || a.Permit.State != campaign.PermitLapsed {
		t.Errorf("who did not use it is %s, permit %s", a.State, a.Permit.State)
	}
}

// TestPlaceOfADeviceAtWork is held long after the grant's time is over, while the device installs and while it reboots, and
// is free at the deadline of that state.
func TestPlaceOfADeviceAtWork(t *testing.T) {
	for _, word := range []string{"installing", "rebooting"} {
		w := newWorld(t)
		m := w.manifest("v2")
		w.site("north", "works", "next")
		c := w.create("c", m, policy(permitted(1), func(p *campaign.Policy) {
			p.Deadlines[campaign.Installing], p.Deadlines[campaign.Rebooting] = 3*time.Hour, 3*time.Hour
			p.SilentPercent = 100
		}))
		w.run(c)
		w.downloaded("works", m)
		w.downloaded("next", m)
		w.now = w.now.Add(time.Minute)
		w.report("works", m, word)
		free := w.now.Add(3 * time.Hour)
		w.now = free.Add(-1)
		if have := w.granted(c); have != "" {
			t.Errorf("%s: the place went to %s", word, have)
		}
		w.now = free
		if have := w.granted(c); have != "next" {
			t.Errorf("%s: granted %q at the deadline", word, have)
		}
		w.want(c, "works", campaign.Silent)
	}
}

// TestLineFollowsTheLabel moves a device that waits to another site: it waits there, with the time that it has waited.
func TestLineFollowsTheLabel(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.site("north", "n1", "n2")
	w.site("south", "s1", "s2")
	c := w.create("c", m, policy(permitted(1)))
	w.run(c)
	for _, d := range []string{"n1", "s1", "n2", "s2"} {
		w.now = w.now.Add(time.Second)
		w.downloaded(d, m)
	}
	w.site("south", "n2")
	w.report("n1", m, "installing")
	w.hello("n1", m.Image, 2)
	if have := w.granted(c); have != "" {
		t.Errorf("the north has nobody left, %q was granted", have)
	}
	w.report("s1", m, "installing")
	w.hello("s1", m.Image, 2)
	if have := w.granted(c); have != "n2" {
		t.Errorf("granted %q; n2 waits longer", have)
	}
	n, err := w.m.Counts(acme, c)
	if err != nil || n.Asking["south"] != 1 || n.Holding["south"] != 1 || len(n.Asking) != 1 || len(n.Holding) != 1 {
		t.Errorf("asking %v, holding %v, %v", n.Asking, n.Holding, err)
	}
}

// TestLinesAreBounded: devices of more label values than can stand in line wait outside, and get in by asking again.
func TestLinesAreBounded(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	const values = 1024
	all := names(values + 1)
	for _, d := range all {
		w.site("site "+d, d)
	}
	c := w.create("c", m, policy(permitted(1)))
	w.run(c)
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.Pause(tx, acme, c, 0, "op", "")
		return res, err
	})
	quick := func(d string) { // without a second run: a thousand devices are enough
		w.seq++
		tx := w.m
		if _, err := campaign.ApplyReport(tx, w.now, acme, device(d), campaign.Report{Seq: w.seq, Manifest: m.Digest, State: "downloaded", Permit: true}); err != nil {
			t.Fatal(err)
		}
	}
	stand := func() int {
		n, err := w.m.Counts(acme, c)
		if err != nil {
			t.Fatal(err)
		}
		return len(n.Asking)
	}
	slices.Sort(all)
	for _, d := range all {
		quick(d)
	}
	last := all[values]
	if _, in := w.assignment(c, last).InLine(); in || stand() != values {
		t.Errorf("%d lines; one too many is in line: %v", stand(), in)
	}
	w.report(all[0], m, "failed")
	if quick(last); stand() != values {
		t.Errorf("%d lines after one got free", stand())
	}
	if _, in := w.assignment(c, last).InLine(); !in {
		t.Error("it does not get in by asking again")
	}
}
