package campaign_test

import (
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"fleetbridge/campaign"
)

// offered is a world with one campaign that has offered its manifest to device d, which was seen with its factory image.
func offered(t *testing.T) (*world, string, campaignAnd) {
	t.Helper()
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d")
	w.hello("d", factory, 1)
	c := w.create("c", m, policy())
	w.run(c)
	w.want(c, "d", campaign.Offered)
	return w, "d", campaignAnd{c, m}
}

func TestOneUpdateFromOfferToProof(t *testing.T) {
	w, d, c := offered(t)
	for _, word := range []string{"received", "downloading", "downloaded", "installing", "rebooting"} {
		w.report(d, c.m, word)
		w.want(c.c, d, campaign.State(word))
	}
	w.hello(d, c.m.Image, 2)
	w.want(c.c, d, campaign.Confirmed)
	w.report(d, c.m, "installed", holding(c.m.Image))
	w.want(c.c, d, campaign.Confirmed)
	if _, shown := w.topic[device(d)]; shown {
		t.Error("the topic still shows a manifest")
	}
	w.run(c.c)
	w.wantEnd(c.c, campaign.Succeeded)
	var states []campaign.State
	for _, s := range w.assignment(c.c, d).Path {
		states = append(states, s.State)
	}
	want := []campaign.State{campaign.Pending, campaign.Offered, campaign.Received, campaign.Downloading,
		campaign.Downloaded, campaign.Installing, campaign.Rebooting, campaign.Confirmed}
	if diff := gocmp.Diff(want, states); diff != "" {
		t.Error(diff)
	}
}

func TestInstalledWithoutMeasurementIsNoProof(t *testing.T) {
	w, d, c := offered(t)
	w.report(d, c.m, "installed")
	w.want(c.c, d, campaign.Rebooting)
	w.report(d, c.m, "installed", holding(factory))
	w.want(c.c, d, campaign.Rebooting)
	w.report(d, c.m, "installed", func(r *campaign.Report) {
		r.Installed = []campaign.Image{{Component: "01", Digest: c.m.Image}} // the right bytes in another place
	})
	w.want(c.c, d, campaign.Rebooting)
	w.report(d, c.m, "installed", holding(c.m.Image))
	w.want(c.c, d, campaign.Confirmed)
}

func TestProofIsProofInEveryLiveState(t *testing.T) {
	for _, word := range []string{"received", "deferred", "downloading", "downloaded", "installing", "rebooting", "installed"} {
		w, d, c := offered(t)
		w.report(d, c.m, word)
		w.hello(d, c.m.Image, 2)
		w.want(c.c, d, campaign.Confirmed)
	}
}

func TestGoingBackIsNormal(t *testing.T) {
	w, d, c := offered(t)
	for _, word := range []string{"received", "downloading", "received", "downloading", "installing", "downloaded"} {
		w.report(d, c.m, word)
		w.want(c.c, d, campaign.State(word))
	}
	w.report(d, c.m, "deferred", func(r *campaign.Report) { r.Reason = "battery-low" })
	w.want(c.c, d, campaign.Received)
	if a := w.assignment(c.c, d); a.Reason != "battery-low" {
		t.Errorf("reason %q", a.Reason)
	}
}

func TestRepeatedAndLateReportsOnlyCount(t *testing.T) {
	w, d, c := offered(t)
	w.report(d, c.m, "downloading", func(r *campaign.Report) { r.Seq = 20 })
	before := w.assignment(c.c, d)
	tests := []struct {
		name string
		seq  uint64
		want campaign.Verdict
	}{{"again", 20, campaign.Duplicate}, {"older", 19, campaign.Stale}, {"zero", 0, campaign.Stale}}
	for i, tt := range tests {
		w.now = w.now.Add(time.Minute)
		res := w.report(d, c.m, "failed", func(r *campaign.Report) { r.Seq = tt.seq })
		if res.Verdict != tt.want || len(res.Transitions) != 0 {
			t.Errorf("%s: %q with %d transitions, want %q and none", tt.name, res.Verdict, len(res.Transitions), tt.want)
		}
		before.Reports = uint64(2 + i)
		if diff := gocmp.Diff(before, w.assignment(c.c, d), equate); diff != "" {
			t.Errorf("%s changed more than the count: %s", tt.name, diff)
		}
	}
}

func TestUnknownWordIsCountedAndChangesNothing(t *testing.T) {
	w, d, c := offered(t)
	for _, word := range []string{"levitating", "proven", "offer", "withdraw", "skip", "overdue", "deregister", "rolled-back", "changed", "returned", "held-before", ""} {
		if res := w.report(d, c.m, word); res.Verdict != campaign.Recorded {
			t.Errorf("%q: verdict %q", word, res.Verdict)
		}
		w.want(c.c, d, campaign.Offered)
	}
	if a := w.assignment(c.c, d); a.Reports != 12 || a.Seq != w.seq {
		t.Errorf("reports %d, seq %d", a.Reports, a.Seq)
	}
}

func TestUnknownManifestWritesNothing(t *testing.T) {
	w, d, _ := offered(t)
	other := w.manifest("other")
	writes := w.m.writes
	if res := w.report(d, other, "received"); res.Verdict != campaign.Unknown || w.m.writes != writes {
		t.Errorf("verdict %q, %d writes", res.Verdict, w.m.writes-writes)
	}
	if res := w.report("stranger", other, "received"); res.Verdict != campaign.Unknown || w.m.writes != writes {
		t.Errorf("stranger: verdict %q, %d writes", res.Verdict, w.m.writes-writes)
	}
}

func TestFailedAndRejectedAreFinal(t *testing.T) {
	for _, word := range []string{"failed", "rejected"} {
		w, d, c := offered(t)
		w.report(d, c.m, "received")
		w.report(d, c.m, word, func(r *campaign.Report) { r.Reason, r.Detail = "no-space", "4 KiB free" }, holding(c.m.Image))
		w.want(c.c, d, campaign.State(word))
		if a := w.assignment(c.c, d); a.Reason != "no-space" || a.Detail != "4 KiB free" {
			t.Errorf("reason %q, detail %q", a.Reason, a.Detail)
		}
		if _, shown := w.topic[device(d)]; shown {
			t.Errorf("%s: the topic still shows a manifest", word)
		}
		for _, later := range []string{"received", "downloading", "installed", "failed", "rejected"} {
			w.report(d, c.m, later, holding(c.m.Image))
			w.want(c.c, d, campaign.State(word))
		}
		w.hello(d, c.m.Image, 9)
		w.want(c.c, d, campaign.State(word))
	}
}

func TestRollBackIsSeenAtTheNextBoot(t *testing.T) {
	tests := []struct {
		name      string
		reported  uint64 // boot with the report "rebooting"
		hello     uint64
		installed bool // the hello names the factory image
		want      campaign.State
	}{
		{"higher boot, old image", 1, 2, true, campaign.Failed},
		{"boot known from the hello before", 0, 2, true, campaign.Failed},
		{"same boot: only a new connection", 1, 1, true, campaign.Rebooting},
		{"says nothing of its image", 1, 2, false, campaign.Rebooting},
		{"counts no boots", 1, 0, true, campaign.Rebooting},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, d, c := offered(t)
			w.report(d, c.m, "rebooting", func(r *campaign.Report) { r.Boot = tt.reported })
			image := factory
			if !tt.installed {
				image = [32]byte{}
			}
			w.hello(d, image, tt.hello)
			w.want(c.c, d, tt.want)
			if a := w.assignment(c.c, d); tt.want == campaign.Failed && a.Reason != campaign.ReasonRolledBack {
				t.Errorf("reason %q", a.Reason)
			}
		})
	}
}

func TestOldImageWhileNotRebootingIsNoFailure(t *testing.T) {
	for _, word := range []string{"received", "downloading", "downloaded", "installing"} {
		w, d, c := offered(t)
		w.report(d, c.m, word)
		w.hello(d, factory, 7) // lost power
		w.want(c.c, d, campaign.State(word))
	}
}

func TestConfirmedIsRevertedByOtherDigestAndBack(t *testing.T) {
	w, d, c := offered(t)
	w.report(d, c.m, "installed", holding(c.m.Image))
	w.hello(d, factory, 3)
	w.want(c.c, d, campaign.Reverted)
	w.hello(d, c.m.Image, 4)
	w.want(c.c, d, campaign.Confirmed)
	w.report(d, c.m, "failed", holding(factory), func(r *campaign.Report) { r.Reason = "self-test-failed" })
	w.want(c.c, d, campaign.Reverted)
	if a := w.assignment(c.c, d); a.Reason != "self-test-failed" {
		t.Errorf("reason %q", a.Reason)
	}
	w.report(d, c.m, "installed", holding(c.m.Image))
	w.want(c.c, d, campaign.Confirmed)
	for _, word := range []string{"received", "downloading", "failed", "rejected", "rebooting"} {
		w.report(d, c.m, word)
		w.want(c.c, d, campaign.Confirmed)
	}
}

func TestLaterUpdateDoesNotRevertAnEarlierOne(t *testing.T) {
	w, d, c := offered(t)
	w.report(d, c.m, "installed", holding(c.m.Image))
	w.run(c.c)
	next := w.manifest("v3")
	c2 := w.create("c2", next, policy())
	w.run(c2)
	w.report(d, next, "rebooting", func(r *campaign.Report) { r.Boot = 5 })
	w.hello(d, next.Image, 6)
	w.want(c.c, d, campaign.Confirmed)
	w.want(c2, d, campaign.Confirmed)
	w.hello(d, c.m.Image, 7) // back to the earlier update
	w.want(c.c, d, campaign.Confirmed)
	w.want(c2, d, campaign.Reverted)
	for range 2 { // further back: it was the later update that was undone
		w.hello(d, factory, 8)
		w.want(c.c, d, campaign.Confirmed)
		w.want(c2, d, campaign.Reverted)
	}
}

func TestFallingBackBehindAFailedLaterUpdateRevertsTheEarlierOne(t *testing.T) {
	w, d, c := offered(t)
	w.report(d, c.m, "installed", holding(c.m.Image))
	w.run(c.c)
	next := w.manifest("v3")
	c2 := w.create("c2", next, policy())
	w.run(c2)
	w.report(d, next, "failed")
	w.hello(d, factory, 6)
	w.want(c.c, d, campaign.Reverted)
	w.want(c2, d, campaign.Failed)
}

func TestOldEvidenceProvesNothing(t *testing.T) {
	t.Run("report from before a newer hello", func(t *testing.T) {
		w, d, c := offered(t)
		w.report(d, c.m, "installing")
		w.sayHello(d, campaign.Hello{Seq: 50, Boot: 3, Installed: []campaign.Image{{Component: component, Digest: factory}}})
		w.report(d, c.m, "installed", holding(c.m.Image), func(r *campaign.Report) { r.Seq = 40 })
		w.want(c.c, d, campaign.Rebooting)
	})
	t.Run("hello from before a newer report", func(t *testing.T) {
		w, d, c := offered(t)
		w.report(d, c.m, "installed", holding(c.m.Image), func(r *campaign.Report) { r.Seq = 50 })
		res := w.sayHello(d, campaign.Hello{Seq: 40, Boot: 3, Installed: []campaign.Image{{Component: component, Digest: factory}}})
		w.want(c.c, d, campaign.Confirmed)
		if res.Verdict != campaign.Stale || w.m.devices[device(d)].Installed[0].Digest != c.m.Image {
			t.Errorf("verdict %q, device %v", res.Verdict, w.m.devices[device(d)])
		}
	})
	t.Run("hello from before the reboot", func(t *testing.T) {
		w, d, c := offered(t)
		w.report(d, c.m, "rebooting", func(r *campaign.Report) { r.Seq, r.Boot = 50, 1 })
		w.sayHello(d, campaign.Hello{Seq: 40, Boot: 2, Installed: []campaign.Image{{Component: component, Digest: factory}}})
		w.want(c.c, d, campaign.Rebooting)
	})
	t.Run("report of an earlier campaign with the same manifest", func(t *testing.T) {
		w, d, c := offered(t)
		w.report(d, c.m, "failed", func(r *campaign.Report) { r.Seq = 50 })
		w.run(c.c)
		again := w.create("again", c.m, policy())
		w.run(again)
		w.want(again, d, campaign.Offered)
		res := w.report(d, c.m, "failed", func(r *campaign.Report) { r.Seq = 50 })
		w.want(again, d, campaign.Offered)
		if res.Verdict != campaign.Duplicate {
			t.Errorf("verdict %q", res.Verdict)
		}
		w.report(d, c.m, "received", func(r *campaign.Report) { r.Seq = 51 })
		w.want(again, d, campaign.Received)
		w.want(c.c, d, campaign.Failed)
	})
}

func TestProofAfterWithdrawalIsTooLateToStop(t *testing.T) {
	w, d, c := offered(t)
	w.report(d, c.m, "installing")
	w.stop(c.c)
	w.run(c.c)
	w.wantEnd(c.c, campaign.UserStopped)
	w.want(c.c, d, campaign.Withdrawn)
	w.report(d, c.m, "downloading")
	w.want(c.c, d, campaign.Withdrawn)
	w.hello(d, c.m.Image, 2)
	w.want(c.c, d, campaign.Confirmed)
	if a := w.assignment(c.c, d); a.Reason != campaign.ReasonTooLateToStop {
		t.Errorf("reason %q", a.Reason)
	}
	w.wantEnd(c.c, campaign.UserStopped)
}

func TestAWordGivesItsStateTheWholeTimeAgain(t *testing.T) {
	w, d, c := offered(t)
	for range 5 {
		w.now = w.now.Add(20 * time.Hour)
		w.report(d, c.m, "downloading")
		w.run(c.c)
		w.want(c.c, d, campaign.Downloading)
	}
	w.now = w.now.Add(23 * time.Hour)
	w.report(d, c.m, "levitating") // not a word: no time for it
	w.now = w.now.Add(time.Hour)
	w.run(c.c)
	w.want(c.c, d, campaign.Silent)
}
