package campaign_test

import (
	"errors"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

func asking(r *campaign.Report) { r.Permit = true }

// permitted is a policy that asks for permits of two minutes, at most n at once per site.
func permitted(n int) func(*campaign.Policy) {
	return func(p *campaign.Policy) {
		p.Permit = campaign.PermitRule{Required: true, TTL: 2 * time.Minute, Label: "site", Max: n}
	}
}

// downloaded has d report that it has downloaded and asks to install; the answer is what it was told.
func (w *world) downloaded(d string, m firmware.Manifest) campaign.PermitState {
	w.t.Helper()
	res := w.report(d, m, "downloaded", asking)
	if len(res.Permits) != 1 || res.Permits[0].Device != device(d) || res.Permits[0].Manifest != m.Digest {
		w.t.Fatalf("%s was told %v", d, res.Permits)
	}
	return res.Permits[0].State
}

func (w *world) site(site string, ids ...string) {
	w.register(ids...)
	for _, id := range ids {
		d := w.m.devices[device(id)]
		d.Labels = map[string]string{"site": site}
		w.m.devices[d.ID] = d
	}
}

// TestPermitsKeepTheDisruptionBudget lets two devices of one site ask: the second waits until the first has proven itself,
// and is then granted by the engine, without asking again. Another site is not its affair.
func TestPermitsKeepTheDisruptionBudget(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.site("north", "n1", "n2")
	w.site("south", "s1")
	c := w.create("c", m, policy(permitted(1)))
	w.run(c)
	for d, want := range map[string]campaign.PermitState{"n1": campaign.PermitGranted, "s1": campaign.PermitGranted} {
		if have := w.downloaded(d, m); have != want {
			t.Errorf("%s: %s, want %s", d, have, want)
		}
	}
	if have := w.downloaded("n2", m); have != campaign.PermitWaiting {
		t.Fatalf("n2: %s while n1 is under way", have)
	}
	w.report("n1", m, "installing")
	w.report("n1", m, "rebooting")
	w.now = w.now.Add(10 * time.Minute)
	if told := w.told(c); told[device("n2")] != "" {
		t.Fatalf("n2 is told %s while n1 reboots", told[device("n2")])
	}
	delete(w.woken, c)
	w.hello("n1", m.Image, 2)
	w.want(c, "n1", campaign.Confirmed)
	if !w.woken[c] {
		t.Fatal("a place is free and nobody looks")
	}
	told := w.told(c)
	if told[device("n2")] != campaign.PermitGranted || w.assignment(c, "n2").Permit.Until != w.now.Add(2*time.Minute) {
		t.Errorf("told %v, permit %+v", told, w.assignment(c, "n2").Permit)
	}
}

// told runs c until it rests and returns what devices were told of their permits.
func (w *world) told(c ident.Campaign) map[ident.Device]campaign.PermitState {
	w.t.Helper()
	out := map[ident.Device]campaign.PermitState{}
	for more := true; more; {
		res := w.update(func(tx campaign.Tx) (campaign.Result, error) {
			res, wake, err := campaign.Advance(tx, w.now, acme, c, w.outside(), w.slice)
			more = wake.Again
			return res, err
		})
		for _, p := range res.Permits {
			out[p.Device] = p.State
		}
	}
	return out
}

func TestNoPermitAfterAStopOrInAPause(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("paused", "late", "asks")
	c := w.create("c", m, policy(permitted(0), func(p *campaign.Policy) { p.Permit.Label = "" }))
	w.run(c)
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.Pause(tx, acme, c, 0, "op", "")
		return res, err
	})
	if have := w.downloaded("paused", m); have != campaign.PermitWaiting {
		t.Errorf("in a pause: %s", have)
	}
	w.now = w.now.Add(10 * time.Minute)
	if told := w.told(c); len(told) != 0 {
		t.Errorf("in a pause the engine told %v", told)
	}
	w.stop(c)
	if have := w.downloaded("late", m); have == campaign.PermitGranted {
		t.Error("granted after the stop")
	}
	w.run(c)
	w.want(c, "paused", campaign.Withdrawn)
	for _, d := range []string{"late", "asks"} {
		if have := w.downloaded(d, m); have != campaign.PermitRefused {
			t.Errorf("%s: %s after the stop", d, have)
		}
	}
	if n, err := w.m.Counts(acme, c); err != nil || len(n.Holding) != 0 {
		t.Errorf("holding %v, %v", n.Holding, err)
	}
}

func TestPermitsAreGrantedInWindowsOnly(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d")
	c := w.create("c", m, policy(permitted(0), func(p *campaign.Policy) {
		p.Permit.Label = ""
		p.Windows = []campaign.Window{{Cron: "0 12 * * *", Duration: time.Hour}}
	}))
	w.run(c) // at 12:00
	w.want(c, "d", campaign.Offered)
	w.now = start.Add(90 * time.Minute)
	if have := w.downloaded("d", m); have != campaign.PermitWaiting {
		t.Errorf("out of the window: %s", have)
	}
	wake := w.run(c)
	if want := start.Add(24 * time.Hour); !wake.At.Equal(want) {
		t.Errorf("looked at again at %s, want %s", wake.At, want)
	}
	// The deadline of downloaded passes first here if it is shorter; with the default of 24 h the window comes first.
	w.now = wake.At
	if told := w.told(c); told[device("d")] != campaign.PermitGranted {
		t.Errorf("in the window the engine told %v", told)
	}
}

// TestUnusedPermitLapses frees the place of a device that was granted and did nothing; used late, it counts again.
func TestUnusedPermitLapses(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.site("north", "a", "b")
	c := w.create("c", m, policy(permitted(1)))
	w.run(c)
	w.downloaded("a", m)
	w.downloaded("b", m)
	for range 20 {
		w.now = w.now.Add(time.Minute)
		w.told(c)
	}
	// a lapsed, b was granted and lapsed, as neither did anything.
	for _, d := range []string{"a", "b"} {
		if have := w.assignment(c, d).Permit.State; have != campaign.PermitLapsed {
			t.Errorf("%s: %s", d, have)
		}
	}
	w.report("a", m, "installing")
	if value, ok := w.assignment(c, "a").Holds(); !ok || value != "north" {
		t.Error("a permit that was used late does not count")
	}
	if reason := w.assignment(c, "a").Reason; reason != "" {
		t.Errorf("used late: reason %q", reason)
	}
	if have := w.downloaded("b", m); have != campaign.PermitWaiting {
		t.Errorf("b asks again: %s", have)
	}
	w.report("b", m, "installing")
	if reason := w.assignment(c, "b").Reason; reason != campaign.ReasonNoPermit {
		t.Errorf("installed without a permit: reason %q", reason)
	}
}

// TestOldWaitersGetInLine: a device that a former version had wait for a look of its own stands in line by that look.
func TestOldWaitersGetInLine(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.site("north", "a", "old")
	c := w.create("c", m, policy(permitted(1)))
	w.run(c)
	w.downloaded("a", m)
	w.downloaded("old", m)
	a := w.assignment(c, "old")
	a.Permit = campaign.Permit{State: campaign.PermitWaiting, Value: "north", Next: w.now.Add(time.Minute)}
	w.m.assignments[key{c, a.Device}] = a
	w.now = w.now.Add(time.Minute)
	w.told(c)
	if _, in := w.assignment(c, "old").InLine(); !in {
		t.Errorf("permit %+v", w.assignment(c, "old").Permit)
	}
}

func TestPermitIsToldAgain(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.site("north", "d")
	c := w.create("c", m, policy(permitted(1)))
	w.run(c)
	w.downloaded("d", m)
	until := w.assignment(c, "d").Permit.Until
	w.now = w.now.Add(time.Minute)
	if have := w.downloaded("d", m); have != campaign.PermitGranted || w.assignment(c, "d").Permit.Until != until {
		t.Errorf("asked again: %s until %s, want %s", have, w.assignment(c, "d").Permit.Until, until)
	}
	if res := w.hello("d", factory, 1); len(res.Permits) != 1 || res.Permits[0].Until != until {
		t.Errorf("after a hello: %v", res.Permits)
	}
	w.seq-- // the report before the hello, once more
	stale := campaign.Report{Seq: w.seq, Manifest: m.Digest, State: "downloaded", Permit: true, JSON: true}
	res := w.update(func(tx campaign.Tx) (campaign.Result, error) {
		return campaign.ApplyReport(tx, w.now, acme, device("d"), stale)
	})
	if res.Verdict == campaign.Recorded || len(res.Permits) != 1 || res.Permits[0].State != campaign.PermitGranted || !res.Permits[0].JSON {
		t.Errorf("a repeated report: %s %v", res.Verdict, res.Permits)
	}
	w.seq++
	w.report("d", m, "received") // starts over: what it was granted was for the other try
	if p := w.assignment(c, "d").Permit; p != (campaign.Permit{}) {
		t.Errorf("after starting over: %+v", p)
	}
}

func TestWhoAsksWithoutNeedIsAnswered(t *testing.T) {
	w, d, c := offered(t)
	if have := w.downloaded(d, c.m); have != campaign.PermitGranted {
		t.Errorf("no permit required: %s", have)
	}
	if res := w.report(d, w.manifest("other"), "downloaded", asking); res.Verdict != campaign.Unknown || len(res.Permits) != 1 ||
		res.Permits[0].State != campaign.PermitRefused {
		t.Errorf("an unknown manifest: %s %v", res.Verdict, res.Permits)
	}
}

func TestPermitRule(t *testing.T) {
	p, err := policy(func(p *campaign.Policy) { p.Permit.Required = true }).Complete()
	if err != nil || p.Permit.TTL != campaign.DefaultPermitTTL {
		t.Errorf("completed to %+v, %v", p.Permit, err)
	}
	for name, r := range map[string]campaign.PermitRule{
		"not required": {Max: 1}, "short": {Required: true, TTL: time.Second}, "long": {Required: true, TTL: 25 * time.Hour},
		"label": {Required: true, Label: "site"}, "max": {Required: true, Max: -1},
	} {
		var invalid *campaign.InvalidError
		if _, err := policy(func(p *campaign.Policy) { p.Permit = r }).Complete(); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
