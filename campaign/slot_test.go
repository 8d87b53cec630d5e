package campaign_test

import (
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

func TestBusyDeviceGetsNoSecondOffer(t *testing.T) {
	w, d, c := offered(t)
	m2 := w.manifest("v3")
	c2 := w.create("c2", m2, policy())
	wake := w.run(c2)
	w.want(c2, d, campaign.Pending)
	if a := w.assignment(c2, d); !a.Waiting {
		t.Fatal("the second assignment does not wait")
	}
	if w.campaign(c2).Phase != campaign.Active || !wake.At.Equal(w.campaign(c2).End()) {
		t.Errorf("the second campaign is %s and wakes at %v", w.campaign(c2).Phase, wake.At)
	}
	if w.topic[device(d)] != c.m.Digest {
		t.Error("the topic does not show the first manifest")
	}
	res := w.report(d, c.m, "failed")
	if diff := gocmp.Diff([]ident.Campaign{c.c, c2}, res.Campaigns, equate); diff != "" {
		t.Errorf("campaigns that have work: %s", diff)
	}
	w.run(c2)
	w.want(c2, d, campaign.Offered)
	if w.topic[device(d)] != m2.Digest {
		t.Error("the topic does not show the second manifest")
	}
}

func TestWaitingDeviceThatGotThePayloadMeanwhileIsSkipped(t *testing.T) {
	w, d, c := offered(t)
	c2 := w.create("c2", c.m, policy()) // the same manifest again
	w.run(c2)
	w.report(d, c.m, "installed", holding(c.m.Image))
	w.want(c.c, d, campaign.Confirmed)
	w.run(c2)
	w.want(c2, d, campaign.Skipped)
	w.wantEnd(c2, campaign.Succeeded)
}

// TestEveryWayOutOfTheSlotWakesWhoWaits: none may strand the second campaign.
func TestEveryWayOutOfTheSlotWakesWhoWaits(t *testing.T) {
	ways := map[string]func(*world, campaignAnd){
		"failed":    func(w *world, c campaignAnd) { w.report("d", c.m, "failed") },
		"rejected":  func(w *world, c campaignAnd) { w.report("d", c.m, "rejected") },
		"confirmed": func(w *world, c campaignAnd) { w.hello("d", c.m.Image, 2) },
		"rolled back": func(w *world, c campaignAnd) {
			w.report("d", c.m, "rebooting")
			w.hello("d", factory, 2)
		},
		"silent": func(w *world, c campaignAnd) {
			w.now = w.now.Add(73 * time.Hour)
			w.run(c.c)
		},
		"stopped": func(w *world, c campaignAnd) {
			w.stop(c.c)
			w.run(c.c)
		},
		"swept": func(w *world, c campaignAnd) {
			cp := w.m.campaigns[c.c]
			cp.Phase = campaign.Stopped
			w.m.campaigns[c.c] = cp
			w.sweep()
		},
	}
	for name, leave := range ways {
		t.Run(name, func(t *testing.T) {
			w, d, c := offered(t)
			paused := w.create("a-paused", w.manifest("v3"), policy())
			w.run(paused)
			cp := w.m.campaigns[paused]
			cp.Phase = campaign.Paused // first in the queue, and will not take its turn
			w.m.campaigns[paused] = cp
			m := w.manifest("v4")
			c2 := w.create("c2", m, policy())
			w.run(c2)
			leave(w, c)
			w.run(c2)
			w.want(c2, d, campaign.Offered)
			if w.topic[device(d)] != m.Digest {
				t.Error("the topic does not show the manifest of the campaign that waited")
			}
		})
	}
}

func TestTooManyWaiting(t *testing.T) {
	w, d, _ := offered(t)
	m := w.manifest("v3")
	var last ident.Campaign
	for i := range campaign.MaxWaiting + 1 {
		last = w.create("w"+string(rune('a'+i)), m, policy())
		w.run(last)
	}
	w.want(last, d, campaign.Skipped)
	if a := w.assignment(last, d); a.Reason != campaign.ReasonTooManyWaiting {
		t.Errorf("reason %q", a.Reason)
	}
}

// A wave whose devices wait for another campaign has proved nothing, so it opens nothing.
func TestWaveOfBusyDevicesOpensNothing(t *testing.T) {
	w, _, _ := offered(t)
	w.register("e")
	busy := w.create("busy", w.manifest("v3"), policy(), "e")
	w.run(busy)
	m := w.manifest("v4")
	c := w.create("careful", m, policy(func(p *campaign.Policy) { p.Waves = []campaign.Wave{{Count: 1}, {Percent: 100}} }))
	w.run(c)
	if have := w.campaign(c); have.Open != 0 || have.Phase != campaign.Active {
		t.Fatalf("wave %d is open in phase %s, want the first to be held", have.Open, have.Phase)
	}
	for _, other := range []ident.Campaign{campaignID("c"), busy} {
		w.stop(other)
		w.run(other)
	}
	w.run(c)
	for _, d := range []string{"d", "e"} {
		if w.assignment(c, d).Wave == 0 {
			w.report(d, m, "installed", holding(m.Image))
		}
	}
	w.run(c)
	if have := w.campaign(c); have.Open != 1 {
		t.Errorf("wave %d is open after the first was confirmed, want the second", have.Open)
	}
}

// second is a manifest for another component of the same devices.
func (w *world) second(name string) firmware.Manifest {
	m := w.manifest(name)
	m.Component = "01"
	w.m.manifests[m.Digest] = m
	return m
}

func TestTwoComponentsShareOneTopic(t *testing.T) {
	w, d, c := offered(t)
	other := w.second("config")
	c2 := w.create("c2", other, policy())
	w.run(c2)
	w.want(c2, d, campaign.Offered)
	w.want(c.c, d, campaign.Offered)
	w.showsLast(d, other)
	w.now = w.assignment(c.c, d).Due()
	w.run(c.c) // not answered: shown again
	w.showsLast(d, c.m)
	w.report(d, c.m, "received")
	w.report(d, other, "installed", func(r *campaign.Report) {
		r.Installed = []campaign.Image{{Component: "01", Digest: other.Image}}
	})
	w.want(c2, d, campaign.Confirmed)
	w.showsLast(d, c.m)
	w.report(d, c.m, "failed")
	if _, shown := w.topic[device(d)]; shown {
		t.Error("the topic still shows a manifest")
	}
}

func TestTwoComponentsProvenAtOnceClearTheTopicOnce(t *testing.T) {
	w, d, c := offered(t)
	other := w.second("config")
	w.run(w.create("c2", other, policy()))
	res := w.sayHello(d, campaign.Hello{Seq: 99, Installed: []campaign.Image{
		{Component: component, Digest: c.m.Image}, {Component: "01", Digest: other.Image}}})
	if len(res.Offers) != 0 || len(res.Clears) != 1 || len(res.Transitions) != 2 {
		t.Errorf("result %+v", res)
	}
}

func (w *world) showsLast(d string, m firmware.Manifest) {
	w.t.Helper()
	l, ok := w.m.works[device(d)].Shown()
	if !ok || l.Manifest != m.Digest || w.topic[device(d)] != m.Digest {
		w.t.Fatalf("work shows %v, the topic %v, want %v", l.Manifest, w.topic[device(d)], m.Digest)
	}
}

func TestRecentIsBoundedAndKeepsWhatIsLive(t *testing.T) {
	w := newWorld(t)
	w.register("d")
	live := w.second("config")
	c0 := w.create("live", live, policy())
	w.run(c0)
	for i := range 2 * campaign.MaxRecent {
		m := w.manifest("v" + string(rune('a'+i)))
		c := w.create("c"+string(rune('a'+i)), m, policy())
		w.run(c)
		w.report("d", m, "failed")
		w.run(c)
	}
	work := w.m.works[device("d")]
	if len(work.Recent) != campaign.MaxRecent {
		t.Errorf("%d recent", len(work.Recent))
	}
	if res := w.report("d", live, "received"); res.Verdict != campaign.Recorded {
		t.Errorf("a live assignment was forgotten: verdict %q", res.Verdict)
	}
}

// sweep runs Sweep over all devices in pages of one, and returns the topics it emptied.
func (w *world) sweep() []campaign.Clear {
	w.t.Helper()
	var all []campaign.Clear
	for after, pages := (ident.Device{}), 0; ; pages++ {
		var next ident.Device
		needed, then, err := campaign.SweepNeeded(w.m, acme, after, 1)
		if err != nil {
			w.t.Fatalf("sweep needed: %v", err)
		}
		res := w.update(func(tx campaign.Tx) (campaign.Result, error) {
			fixed, n, err := campaign.Sweep(tx, acme, after, 1)
			next = n
			return campaign.Result{Clears: fixed}, err
		})
		if needed != (len(res.Clears) > 0) || then != next {
			w.t.Fatalf("a sweep after %q was needed: %v; it cleared %v, next %q and %q", after, needed, res.Clears, then, next)
		}
		all = append(all, res.Clears...)
		if next.IsZero() {
			return all
		}
		if pages > len(w.m.works) {
			w.t.Fatalf("sweep does not end")
		}
		after = next
	}
}

func TestSweepMendsNothingThatIsRight(t *testing.T) {
	w := newWorld(t)
	w.register(names(5)...)
	c := w.create("c", w.manifest("v2"), policy())
	w.run(c)
	writes := w.m.writes
	if fixed := w.sweep(); len(fixed) != 0 || w.m.writes != writes {
		t.Errorf("fixed %v with %d writes", fixed, w.m.writes-writes)
	}
}

func TestSweepMendsWhatIsWrong(t *testing.T) {
	ways := map[string]func(*world, campaignAnd){
		"assignment is not live": func(w *world, c campaignAnd) {
			a := w.assignment(c.c, "d")
			a.State = campaign.Failed
			w.m.assignments[key{c.c, a.Device}] = a
		},
		"assignment has another manifest": func(w *world, c campaignAnd) {
			a := w.assignment(c.c, "d")
			a.State, a.Manifest = campaign.Failed, ident.SumDigest([]byte("other"))
			w.m.assignments[key{c.c, a.Device}] = a
		},
		"assignment is gone": func(w *world, c campaignAnd) { delete(w.m.assignments, key{c.c, device("d")}) },
		"campaign is gone":   func(w *world, c campaignAnd) { delete(w.m.campaigns, c.c) },
		"campaign has stopped": func(w *world, c campaignAnd) {
			cp := w.m.campaigns[c.c]
			cp.Phase = campaign.Stopped
			w.m.campaigns[c.c] = cp
		},
	}
	for name, breakIt := range ways {
		t.Run(name, func(t *testing.T) {
			w, _, c := offered(t)
			breakIt(w, c)
			if diff := gocmp.Diff([]campaign.Clear{{Device: device("d")}}, w.sweep(), equate); diff != "" {
				t.Error(diff)
			}
			if a, ok := w.m.assignments[key{c.c, device("d")}]; ok && a.State.Live() {
				t.Errorf("assignment is %s", a.State)
			}
			if len(w.m.works[device("d")].Live) != 0 || len(w.topic) != 0 {
				t.Errorf("still shown: %v, %v", w.m.works[device("d")].Live, w.topic)
			}
		})
	}
}
