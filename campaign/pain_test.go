package campaign_test

import (
	"slices"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// The tests of this file are named for what hurts in other systems; docs/traceability.md says which rule answers each.

// byClock lets c go on until it has stopped, with nobody but the clock to help it.
func (w *world) byClock(c ident.Campaign) {
	w.t.Helper()
	for range 10_000 {
		wake := w.run(c)
		if w.campaign(c).Phase == campaign.Stopped {
			return
		}
		w.sleepUntil(wake.At)
	}
	w.t.Fatalf("campaign %s does not end", c)
}

func (w *world) sleepUntil(at time.Time) {
	w.t.Helper()
	if !at.After(w.now) {
		w.t.Fatalf("a running campaign waits for %v, now is %v", at, w.now)
	}
	w.now = at
}

// TestPain01CampaignEndsThoughDevicesNeverReport: of ten devices one is updated; the others go silent, each in another
// state, and nobody does anything about it.
func TestPain01CampaignEndsThoughDevicesNeverReport(t *testing.T) {
	w, c, _ := fleet(t, 10)
	for i, word := range []string{"received", "downloading", "downloaded", "installing", "rebooting", "installed"} {
		w.report(names(10)[i], c.m, word)
	}
	w.report("d009", c.m, "installed", holding(c.m.Image))
	w.byClock(c.c)
	if n := len(w.inState(c.c, campaign.Silent)); n != 9 {
		t.Errorf("%d devices silent, want 9", n)
	}
	if took := w.now.Sub(start); took > campaign.DefaultOfferedDeadline+time.Minute {
		t.Errorf("it took %v, the longest deadline is %v", took, campaign.DefaultOfferedDeadline)
	}
	if len(w.topic) != 0 {
		t.Errorf("topics still show %v", w.topic)
	}
}

// TestPain02SuccessIsSeenAfterTheInstall: a device that says it has installed, or that its new image would boot, has
// proven nothing; the measured digest does.
func TestPain02SuccessIsSeenAfterTheInstall(t *testing.T) {
	w, c, _ := fleet(t, 2)
	for _, word := range []string{"downloaded", "installing", "rebooting", "installed"} {
		w.report("d000", c.m, word)
		w.report("d001", c.m, word, holding(factory))
	}
	w.run(c.c)
	w.want(c.c, "d000", campaign.Rebooting)
	w.want(c.c, "d001", campaign.Rebooting)
	if w.campaign(c.c).Phase == campaign.Stopped {
		t.Fatal("the campaign ended before any device had booted the new image")
	}
	w.hello("d000", c.m.Image, 2)
	w.want(c.c, "d000", campaign.Confirmed)
	w.hello("d001", factory, 2) // booted what it had
	w.run(c.c)
	if s := w.assignment(c.c, "d001").State; s == campaign.Confirmed {
		t.Error("a device that booted its old image is confirmed")
	}
}

// TestPain03InstalledIsWhatTheDeviceMeasures: an image that goes away behind the server's back reopens the question, and
// the same release can be offered again; one that came by cable is not offered at all.
func TestPain03InstalledIsWhatTheDeviceMeasures(t *testing.T) {
	w, c, _ := fleet(t, 3)
	w.answer(c, "installed", holding(c.m.Image))
	w.run(c.c)
	w.wantEnd(c.c, campaign.Succeeded)
	w.hello("d000", factory, 5) // flashed at the factory again
	w.hello("d001", c.m.Image, 5)
	w.want(c.c, "d000", campaign.Reverted)
	w.want(c.c, "d001", campaign.Confirmed)

	w.register("cable")
	w.hello("cable", c.m.Image, 1)
	again := w.create("again", c.m, policy())
	w.run(again)
	if have := w.inState(again, campaign.Offered); !slices.Equal(have, []string{"d000"}) {
		t.Errorf("offered again to %v, want to the one that lost it", have)
	}
	w.want(again, "cable", campaign.Skipped)
	w.report("d000", c.m, "installed", holding(c.m.Image))
	w.want(again, "d000", campaign.Confirmed)
	w.report("d000", c.m, "received", holding(factory)) // a report measures as well as a hello does
	w.want(again, "d000", campaign.Reverted)
}

// TestPain04StopAnswersAndNeverHangs: a stop reaches devices that are offline or half done, ends without them, and says
// for each what it meant.
func TestPain04StopAnswersAndNeverHangs(t *testing.T) {
	w, c, _ := fleet(t, 6, func(p *campaign.Policy) { p.InFlight = 4 })
	live := w.inState(c.c, campaign.Offered)
	w.report(live[0], c.m, "downloading")
	w.report(live[1], c.m, "rebooting")
	w.report(live[2], c.m, "installed", holding(c.m.Image))
	w.stop(c.c) // live[3] is offline, and two were never offered anything
	w.run(c.c)  // at the same moment: nothing is asked of a device
	w.wantEnd(c.c, campaign.UserStopped)
	if len(w.topic) != 0 {
		t.Errorf("topics still show %v", w.topic)
	}
	w.report(live[1], c.m, "installed", holding(c.m.Image)) // it had gone too far
	w.report(live[0], c.m, "downloading")                   // sent before it saw the stop
	w.report(live[3], c.m, "received")
	want := map[string]campaign.StopAnswer{live[0]: campaign.StopInTime, live[1]: campaign.StopTooLate,
		live[2]: campaign.StopTooLate, live[3]: campaign.StopInTime}
	for _, d := range names(6) {
		answer := campaign.StopNotStarted
		if a, ok := want[d]; ok {
			answer = a
		}
		if have := w.campaign(c.c).StopAnswer(w.assignment(c.c, d)); have != answer {
			t.Errorf("%s: answer %q, want %q", d, have, answer)
		}
	}

	w, c, _ = fleet(t, 2)
	w.stop(c.c)
	w.now = w.now.Add(campaign.DefaultStopWithin) // and for all this time one device's record could not be read
	for range 20 {
		if _, _, err := campaign.Advance(corrupt{w.m, device("d000"), false}, w.now, acme, c.c, w.outside(), w.slice); err != nil {
			t.Fatalf("the stop hangs: %v", err)
		}
	}
	w.wantEnd(c.c, campaign.UserStopped)
}

// TestPain06StatusIsNeverLostAndNeverFallsBack: what a device said while it was cut off counts when it arrives, in
// whatever order; nothing that arrives later takes its success away.
func TestPain06StatusIsNeverLostAndNeverFallsBack(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d", "e")
	c := w.create("c", m, policy())
	w.run(c)
	outbox := []campaign.Report{{Seq: 1, State: "received"}, {Seq: 2, State: "downloading"}, {Seq: 3, State: "downloaded"},
		{Seq: 4, State: "rebooting"}, {Seq: 5, State: "installed", Installed: []campaign.Image{{Component: component, Digest: m.Image}}}}
	say := func(r campaign.Report) {
		r.Manifest = m.Digest
		w.update(func(tx campaign.Tx) (campaign.Result, error) {
			return campaign.ApplyReport(tx, w.now, acme, device("d"), r)
		})
	}
	w.report("e", m, "received")
	w.now = w.now.Add(71 * time.Hour)
	w.report("e", m, "downloading") // keeps the campaign running
	w.now = w.now.Add(2 * time.Hour)
	w.run(c)
	w.want(c, "d", campaign.Silent)
	for _, i := range []int{2, 0, 4, 1, 3, 4} { // the outbox after three days, shuffled, one report twice
		say(outbox[i])
		if i == 0 {
			w.want(c, "d", campaign.Downloaded) // what it had said before does not undo that
		}
	}
	w.want(c, "d", campaign.Confirmed)
	for _, r := range outbox {
		say(r)
	}
	say(campaign.Report{Seq: 6, State: "downloading"})
	say(campaign.Report{Seq: 7, State: "failed", Reason: "flash-error"})
	w.want(c, "d", campaign.Confirmed)
	if n := w.assignment(c, "d").Reports; n != 13 {
		t.Errorf("%d reports counted, 13 came", n)
	}
}

// TestPain07ReleaseIsNeverOfferedToAllAtOnce: neither at the start, nor after an outage, nor when offers are repeated.
func TestPain07ReleaseIsNeverOfferedToAllAtOnce(t *testing.T) {
	t.Run("in flight", func(t *testing.T) {
		w, c, _ := fleet(t, 100, func(p *campaign.Policy) { p.InFlight = 7 })
		for range 5 {
			live := w.inState(c.c, campaign.Offered)
			if len(live) > 7 {
				t.Fatalf("%d devices at once", len(live))
			}
			w.report(live[0], c.m, "installed", holding(c.m.Image))
			w.now = w.now.Add(10 * time.Hour) // the server was away
			w.run(c.c)
		}
	})
	t.Run("rate", func(t *testing.T) {
		w, c, _ := fleet(t, 100, func(p *campaign.Policy) { p.Rate = campaign.Rate{PerMinute: 6} })
		before := len(w.inState(c.c, campaign.Offered))
		w.now = w.now.Add(10 * time.Hour)
		w.run(c.c)
		if burst := len(w.inState(c.c, campaign.Offered)) - before; before > 1 || burst > 1 {
			t.Errorf("%d offers at the start, %d after an outage, at 6 a minute", before, burst)
		}
	})
	t.Run("repeats are spread", func(t *testing.T) {
		w, c, _ := fleet(t, 100)
		moments := map[time.Time]int{}
		for _, d := range names(100) {
			moments[w.assignment(c.c, d).NextOffer.Truncate(100*time.Millisecond)]++
		}
		for at, n := range moments {
			if n > 20 {
				t.Errorf("%d of 100 offers are repeated at %v", n, at)
			}
		}
	})
}

// TestPain09WavesOpenOnlyBehindTheirGate: ten devices see a release before ninety do, and ninety do not if the ten fail.
func TestPain09WavesOpenOnlyBehindTheirGate(t *testing.T) {
	for _, good := range []int{10, 8} {
		w, c, _ := fleet(t, 100, func(p *campaign.Policy) { p.Waves = []campaign.Wave{{Count: 10}, {Percent: 100}} })
		first := w.inState(c.c, campaign.Offered)
		if len(first) != 10 {
			t.Fatalf("%d devices in the first wave", len(first))
		}
		for i, d := range first {
			if n := len(w.inState(c.c, campaign.Pending)); n != 90 {
				t.Fatalf("with %d of the first wave done, %d devices wait, want 90", i, n)
			}
			if i < good {
				w.report(d, c.m, "installed", holding(c.m.Image))
			} else {
				w.report(d, c.m, "failed")
			}
			if i < 9 {
				w.run(c.c)
			}
		}
		w.run(c.c)
		offered, withdrawn := len(w.inState(c.c, campaign.Offered)), len(w.inState(c.c, campaign.Withdrawn))
		if good == 10 && offered != 90 || good == 8 && (offered != 0 || withdrawn != 90) {
			t.Errorf("with %d of 10 confirmed: %d offered, %d withdrawn", good, offered, withdrawn)
		}
	}
}

// TestPain10StopsByItselfWhenDevicesFail: the threshold is passed while offers are under way; nobody is offered more, and
// those that were offered are withdrawn from.
func TestPain10StopsByItselfWhenDevicesFail(t *testing.T) {
	w, c, _ := fleet(t, 100, func(p *campaign.Policy) { p.InFlight, p.MinSample, p.FailurePercent = 10, 5, 20 })
	live := w.inState(c.c, campaign.Offered)
	for i, d := range live[:5] {
		w.report(d, c.m, []string{"failed", "installed", "failed", "installed", "installed"}[i], func(r *campaign.Report) {
			if i%2 == 1 || i == 4 {
				holding(c.m.Image)(r)
			}
		})
	}
	w.run(c.c)
	w.wantEnd(c.c, campaign.AutoStopped)
	touched := 0
	for _, d := range names(100) {
		if w.assignment(c.c, d).Offers > 0 {
			touched++
		}
	}
	if touched != 10 {
		t.Errorf("%d devices were offered a bad release, 10 were in flight", touched)
	}
	if len(w.topic) != 0 {
		t.Errorf("topics still show %v", w.topic)
	}
}

// TestPain11OfflineDevicesAreSilentAndComeBack: devices that are off do not fail, stop nothing by the failure threshold,
// and go on by themselves when they are back.
func TestPain11OfflineDevicesAreSilentAndComeBack(t *testing.T) {
	w, c, _ := fleet(t, 10, func(p *campaign.Policy) { p.MinSample, p.FailurePercent = 1, 10 })
	w.report("d009", c.m, "received")
	w.now = w.now.Add(campaign.DefaultDeadline - time.Hour)
	for w.now.Sub(start) < campaign.DefaultOfferedDeadline+time.Hour {
		w.report("d009", c.m, "downloading") // slow, and not silent
		w.now = w.now.Add(campaign.DefaultDeadline - time.Hour)
		w.run(c.c)
	}
	if n := len(w.inState(c.c, campaign.Silent)); n != 9 || w.campaign(c.c).Phase != campaign.Active {
		t.Fatalf("%d devices silent, campaign %s %s", n, w.campaign(c.c).Phase, w.campaign(c.c).Reason)
	}
	w.hello("d000", factory, 2)
	w.run(c.c)
	w.want(c.c, "d000", campaign.Offered)
	w.report("d000", c.m, "installed", holding(c.m.Image))
	w.want(c.c, "d000", campaign.Confirmed)
	w.hello("d001", c.m.Image, 2) // it had gone on without us
	w.want(c.c, "d001", campaign.Confirmed)
	if n := len(w.inState(c.c, campaign.Failed)); n != 0 {
		t.Errorf("%d devices failed", n)
	}
}

// TestPain12NoManifestStaysOnATopic: whatever ends an assignment clears the topic, and neither an old report nor a hello
// puts the manifest back, so that no device can loop.
func TestPain12NoManifestStaysOnATopic(t *testing.T) {
	ends := map[string]func(w *world, c campaignAnd){
		"confirmed": func(w *world, c campaignAnd) { w.report("d000", c.m, "installed", holding(c.m.Image)) },
		"failed":    func(w *world, c campaignAnd) { w.report("d000", c.m, "failed") },
		"rejected":  func(w *world, c campaignAnd) { w.report("d000", c.m, "rejected") },
		"stopped":   func(w *world, c campaignAnd) { w.stop(c.c); w.run(c.c) },
		"silent": func(w *world, c campaignAnd) {
			w.now = w.now.Add(campaign.DefaultOfferedDeadline)
			w.run(c.c)
		},
		"another hand": func(w *world, c campaignAnd) { w.hello("d000", c.m.Image, 3) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			w, c, _ := fleet(t, 1)
			w.hello("d000", factory, 1)
			old := w.seq
			if _, shown := w.topic[device("d000")]; !shown {
				t.Fatal("nothing was offered")
			}
			end(w, c)
			for _, r := range []campaign.Report{{Seq: old, State: "received"}, {Seq: w.seq + 1, State: "downloading"}} {
				r.Manifest = c.m.Digest
				w.update(func(tx campaign.Tx) (campaign.Result, error) {
					return campaign.ApplyReport(tx, w.now, acme, device("d000"), r)
				})
			}
			w.seq++
			w.run(c.c)
			for boot := uint64(4); boot < 8; boot++ { // a device that reboots and reads its topic, again and again
				w.hello("d000", c.m.Image, boot)
				w.run(c.c)
				if on := w.topic[device("d000")]; !on.IsZero() {
					t.Fatalf("boot %d: the topic shows %v", boot, on)
				}
			}
			if fixed := w.sweep(); len(fixed) != 0 {
				t.Errorf("stale slots: %v", fixed)
			}
		})
	}
}
