package campaign_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func (w *world) pause(c ident.Campaign) {
	w.t.Helper()
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.Pause(tx, acme, c, 0, "op", "coffee")
		return res, err
	})
}

func (w *world) resume(c ident.Campaign) {
	w.t.Helper()
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.Resume(tx, acme, c, 0)
		return res, err
	})
}

func (w *world) release(c ident.Campaign) {
	w.t.Helper()
	w.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.Release(tx, acme, c, 0)
		return res, err
	})
}

// sleep lets time pass to when the campaign wants to be looked at, and looks.
func (w *world) sleep(c ident.Campaign, wake campaign.Wake) campaign.Wake {
	w.t.Helper()
	if !wake.At.After(w.now) {
		w.t.Fatalf("wants to be woken at %v, now is %v", wake.At, w.now)
	}
	w.now = wake.At
	return w.run(c)
}

// fleet is a world with n devices and a campaign for all of them that has been run once.
func fleet(t *testing.T, n int, change ...func(*campaign.Policy)) (*world, campaignAnd, campaign.Wake) {
	t.Helper()
	w := newWorld(t)
	m := w.manifest("v2")
	w.register(names(n)...)
	c := campaignAnd{w.create("c", m, policy(change...)), m}
	return w, c, w.run(c.c)
}

func TestNothingIsOfferedWhilePaused(t *testing.T) {
	w, c, _ := fleet(t, 10, func(p *campaign.Policy) { p.InFlight = 4 })
	w.pause(c.c)
	if have := w.campaign(c.c); have.Phase != campaign.Paused || have.Reason != "paused by op: coffee" {
		t.Errorf("paused: %s, %q", have.Phase, have.Reason)
	}
	w.answer(c, "received")
	first := w.inState(c.c, campaign.Received)
	w.report(first[0], c.m, "installed", holding(c.m.Image))
	if n := len(w.inState(c.c, campaign.Offered)); n != 0 || len(w.inState(c.c, campaign.Confirmed)) != 1 {
		t.Errorf("a device that had its offer could not go on, or %d were offered", n)
	}
	w.run(c.c)
	if n := len(w.inState(c.c, campaign.Pending)); n != 6 {
		t.Errorf("%d pending while paused, want 6", n)
	}
	w.resume(c.c)
	w.run(c.c)
	if n := len(w.inState(c.c, campaign.Offered)); n != 1 || w.campaign(c.c).Reason != "" {
		t.Errorf("%d offered after resume, want 1; reason %q", n, w.campaign(c.c).Reason)
	}
}

func TestNoOfferIsRepeatedWhilePaused(t *testing.T) {
	w, c, wake := fleet(t, 3)
	w.pause(c.c)
	for range 20 {
		wake = w.sleep(c.c, wake)
	}
	for _, d := range names(3) {
		if a := w.assignment(c.c, d); a.State != campaign.Offered || a.Offers != 1 {
			t.Fatalf("%s is %s after %d offers", d, a.State, a.Offers)
		}
	}
	w.resume(c.c)
	w.sleep(c.c, w.run(c.c))
	if a := w.assignment(c.c, "d000"); a.Offers < 1 {
		t.Errorf("no repeat after resume: %+v", a)
	}
	for range 4 {
		w.sleep(c.c, w.run(c.c))
	}
	if a := w.assignment(c.c, "d000"); a.Offers < 2 {
		t.Errorf("%d offers a while after resume", a.Offers)
	}
}

func TestDeadlinesRunWhilePaused(t *testing.T) {
	w, c, wake := fleet(t, 1, func(p *campaign.Policy) { p.Deadlines[campaign.Offered] = time.Hour })
	begun := w.now
	w.pause(c.c)
	for w.assignment(c.c, "d000").State == campaign.Offered {
		wake = w.sleep(c.c, wake)
	}
	w.want(c.c, "d000", campaign.Silent)
	if have := w.now.Sub(begun); have != time.Hour {
		t.Errorf("silent after %v, want 1h", have)
	}
	for w.campaign(c.c).Phase != campaign.Stopped {
		wake = w.sleep(c.c, wake)
	}
	w.wantEnd(c.c, campaign.Expired)
}

func TestPhasesOfPauseResumeAndRelease(t *testing.T) {
	tests := []struct {
		name   string
		before func(w *world, c ident.Campaign)
		do     func(tx campaign.Tx, c ident.Campaign) error
	}{
		{"pause twice", (*world).pause, pauseErr},
		{"pause a stopped one", (*world).stop, pauseErr},
		{"resume an active one", func(*world, ident.Campaign) {}, func(tx campaign.Tx, c ident.Campaign) error {
			_, _, err := campaign.Resume(tx, acme, c, 0)
			return err
		}},
		{"release a stopped one", (*world).stop, releaseErr},
		{"release the last wave", func(w *world, c ident.Campaign) {
			cp := w.m.campaigns[c]
			cp.Open = 1
			w.m.campaigns[c] = cp
		}, releaseErr},
		{"release what opens by itself", func(w *world, c ident.Campaign) {
			cp := w.m.campaigns[c]
			cp.Policy.Manual = false
			w.m.campaigns[c] = cp
		}, releaseErr},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, c, _ := fleet(t, 2, func(p *campaign.Policy) { p.Waves, p.Manual = []campaign.Wave{{Count: 1}, {Count: 1}}, true })
			tt.before(w, c.c)
			if err := tt.do(w.m.clone(), c.c); !errors.Is(err, campaign.ErrPhase) {
				t.Errorf("error %v, want ErrPhase", err)
			}
		})
	}
	w, c, _ := fleet(t, 1)
	if _, _, err := campaign.Pause(w.m, acme, c.c, 1, "op", ""); !errors.Is(err, campaign.ErrConflict) {
		t.Errorf("pause of another revision: %v", err)
	}
}

func pauseErr(tx campaign.Tx, c ident.Campaign) error {
	_, _, err := campaign.Pause(tx, acme, c, 0, "op", "")
	return err
}

func releaseErr(tx campaign.Tx, c ident.Campaign) error {
	_, _, err := campaign.Release(tx, acme, c, 0)
	return err
}

func TestManualWavesWaitForTheirRelease(t *testing.T) {
	w, c, _ := fleet(t, 6, func(p *campaign.Policy) {
		p.Manual, p.Waves = true, []campaign.Wave{{Count: 2}, {Count: 2}, {Count: 2}}
	})
	w.answer(c, "installed", holding(c.m.Image))
	w.run(c.c)
	if have := w.campaign(c.c); have.Open != 0 || have.Step != campaign.AwaitingRelease || have.MetAt.IsZero() {
		t.Fatalf("wave 2 was not released: open %d, step %s, met %v", have.Open, have.Step, have.MetAt)
	}
	w.release(c.c)
	w.release(c.c) // again for the same wave: the one after it stays shut
	w.run(c.c)
	if n := w.answer(c, "installed", holding(c.m.Image)); n != 2 {
		t.Fatalf("%d offered after the release of one wave", n)
	}
	w.run(c.c)
	if have := w.campaign(c.c); have.Open != 1 || len(w.inState(c.c, campaign.Pending)) != 2 {
		t.Fatalf("open %d, %v", have.Open, w.inState(c.c, campaign.Pending))
	}
	w.release(c.c)
	w.run(c.c)
	w.answer(c, "installed", holding(c.m.Image))
	w.run(c.c)
	w.wantEnd(c.c, campaign.Succeeded)
}

func TestReleaseOpensNoWaveBeforeItsGate(t *testing.T) {
	w, c, _ := fleet(t, 4, func(p *campaign.Policy) { p.Manual, p.Waves = true, []campaign.Wave{{Count: 2}, {Count: 2}} })
	w.release(c.c)
	w.run(c.c)
	if have := w.campaign(c.c); have.Open != 0 || have.Released != 1 {
		t.Fatalf("open %d, released %d", have.Open, have.Released)
	}
	w.answer(c, "installed", holding(c.m.Image))
	w.run(c.c)
	if have := w.campaign(c.c).Open; have != 1 {
		t.Errorf("open %d after gate and release", have)
	}
}

func TestSoakingWaveOpensTheNextAfterItsTime(t *testing.T) {
	w, c, _ := fleet(t, 4, func(p *campaign.Policy) { p.Soak, p.Waves = 2*time.Hour, []campaign.Wave{{Count: 2}, {Count: 2}} })
	w.answer(c, "installed", holding(c.m.Image))
	wake := w.run(c.c)
	if have := w.campaign(c.c); have.Step != campaign.Soaking || !have.MetAt.Equal(w.now) || !wake.At.Equal(w.now.Add(2*time.Hour)) {
		t.Fatalf("step %s, met %v, wake %v", have.Step, have.MetAt, wake.At)
	}
	w.now = w.now.Add(2*time.Hour - 1)
	w.run(c.c)
	if n := len(w.inState(c.c, campaign.Offered)); n != 0 {
		t.Fatalf("%d offered before the soak time was over", n)
	}
	w.now = w.now.Add(1)
	w.run(c.c)
	if n := len(w.inState(c.c, campaign.Offered)); n != 2 || !w.campaign(c.c).MetAt.IsZero() {
		t.Errorf("%d offered after the soak time, met %v", n, w.campaign(c.c).MetAt)
	}
}

func TestUndoneUpdateCountsWhileSoaking(t *testing.T) {
	w, c, _ := fleet(t, 4, func(p *campaign.Policy) { p.Soak, p.Waves = 2*time.Hour, []campaign.Wave{{Count: 2}, {Count: 2}} })
	w.answer(c, "installed", holding(c.m.Image))
	w.run(c.c)
	w.now = w.now.Add(time.Hour)
	w.hello(w.inState(c.c, campaign.Confirmed)[0], factory, 9)
	w.run(c.c)
	w.wantEnd(c.c, campaign.AutoStopped)
	if n := len(w.inState(c.c, campaign.Reverted)); n != 1 {
		t.Errorf("%d reverted", n)
	}
}

func TestWaveThatGoesOnSoaksAnew(t *testing.T) {
	w, c, _ := fleet(t, 4, func(p *campaign.Policy) {
		p.Soak, p.Waves, p.SuccessPercent = 48*time.Hour, []campaign.Wave{{Count: 2}, {Count: 2}}, 50
		p.Deadlines[campaign.Received] = time.Hour
	})
	list := w.inState(c.c, campaign.Offered)
	w.report(list[0], c.m, "installed", holding(c.m.Image))
	w.report(list[1], c.m, "received")
	w.now = w.now.Add(time.Hour)
	w.run(c.c)
	w.want(c.c, list[1], campaign.Silent)
	met := w.campaign(c.c).MetAt
	w.now = w.now.Add(time.Hour)
	w.report(list[1], c.m, "downloading") // it is back
	w.run(c.c)
	if have := w.campaign(c.c).MetAt; met.IsZero() || !have.IsZero() {
		t.Errorf("met %v, then %v", met, have)
	}
	w.report(list[1], c.m, "installed", holding(c.m.Image))
	w.run(c.c)
	if have := w.campaign(c.c).MetAt; !have.Equal(w.now) {
		t.Errorf("soaks since %v, want %v", have, w.now)
	}
}

func TestStartAndEndTime(t *testing.T) {
	at := start.Add(48 * time.Hour)
	timed := func(p *campaign.Policy) { p.StartAt, p.EndAt, p.Within = at, at.Add(24*time.Hour), 40*time.Hour }
	w, c, wake := fleet(t, 2, timed)
	if have := w.campaign(c.c); have.Phase != campaign.Scheduled || !wake.At.Equal(at) {
		t.Fatalf("%s, wake %v", have.Phase, wake.At)
	}
	wake = w.sleep(c.c, wake)
	if n := len(w.inState(c.c, campaign.Offered)); n != 2 {
		t.Fatalf("%d offered at the start time", n)
	}
	for w.campaign(c.c).Phase != campaign.Stopped {
		wake = w.sleep(c.c, wake)
	}
	w.wantEnd(c.c, campaign.Expired)
	if have := w.campaign(c.c); !have.StoppedAt.Equal(at.Add(24*time.Hour)) || have.Reason != "not finished by 2026-11-27T12:00:00Z" {
		t.Errorf("expired at %v: %s", have.StoppedAt, have.Reason)
	}

	w, c, _ = fleet(t, 2, timed)
	w.stop(c.c)
	w.run(c.c)
	w.wantEnd(c.c, campaign.UserStopped)

	w, c, _ = fleet(t, 2, timed)
	w.now = at.Add(72 * time.Hour) // the server was away
	w.run(c.c)
	w.wantEnd(c.c, campaign.Expired)
	if n := len(w.moves); n != 0 {
		t.Errorf("%d moves of a campaign that never began", n)
	}
}

func TestWithinCountsFromTheStartTime(t *testing.T) {
	c := campaign.Campaign{Started: start, Policy: policy(func(p *campaign.Policy) { p.StartAt, p.Within = start.Add(time.Hour), time.Hour })}
	if have := c.End(); !have.Equal(start.Add(2 * time.Hour)) {
		t.Errorf("ends %v", have)
	}
}

func TestStartAfterTheEndIsRefused(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	id := campaignID("c")
	spec := campaign.Spec{ID: id, Manifest: m.Digest, Policy: policy(func(p *campaign.Policy) { p.EndAt = start })}
	if _, err := campaign.Create(w.m, start.Add(-time.Hour), acme, spec); err != nil {
		t.Fatal(err)
	}
	_, _, err := campaign.Start(w.m, start, acme, id, 0, "op")
	bad, ok := errors.AsType[*campaign.InvalidError](err)
	if !ok || bad.Fields[0].Pointer != "/policy/end_at" || w.campaign(id).Phase != campaign.Draft {
		t.Errorf("error %v, phase %s", err, w.campaign(id).Phase)
	}
}

func TestWaveThresholds(t *testing.T) {
	counts := func(waves ...map[campaign.State]uint64) campaign.Counts { return campaign.Counts{Waves: waves} }
	type states = map[campaign.State]uint64
	tests := []struct {
		name string
		n    campaign.Counts
		want string
	}{
		{"below", counts(states{campaign.Failed: 1, campaign.Confirmed: 9}), ""},
		{"failed in the first", counts(states{campaign.Failed: 2, campaign.Confirmed: 8}), "wave 1: 20.0 % of 10 devices failed, at most 10 % allowed"},
		{"failed in the second, few over all", counts(states{campaign.Confirmed: 90}, states{campaign.Rejected: 1, campaign.Reverted: 1, campaign.Confirmed: 8}),
			"wave 2: 20.0 % of 10 devices failed, at most 10 % allowed"},
		{"silent in the second", counts(states{campaign.Confirmed: 90}, states{campaign.Silent: 6, campaign.Confirmed: 4}),
			"wave 2: 60.0 % of 10 devices silent, at most 50 % allowed"},
		{"too few to judge", counts(states{campaign.Failed: 9}, states{campaign.Silent: 9}), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := campaign.Campaign{Phase: campaign.Active, Policy: policy(func(p *campaign.Policy) {
				p.MinSample, p.WaveFailurePercent, p.WaveSilentPercent, p.FailurePercent = 10, 10, 50, 100
				p.Waves = []campaign.Wave{{Count: 1}, {Count: 1}}
			})}
			have := campaign.Judge(c, tt.n, false, start)
			if have.Reason != tt.want || (have.Outcome == campaign.AutoStopped) != (tt.want != "") {
				t.Errorf("%+v, want %q", have, tt.want)
			}
			c.Policy.WaveFailurePercent, c.Policy.WaveSilentPercent = 0, 0
			if have := campaign.Judge(c, tt.n, false, start); have.Outcome != "" {
				t.Errorf("without thresholds: %+v", have)
			}
		})
	}
}

func TestJudgeHolds(t *testing.T) {
	now := start.Add(24 * time.Hour)
	done := campaign.Counts{Waves: []map[campaign.State]uint64{{campaign.Confirmed: 5}, {campaign.Pending: 5}}}
	skipped := campaign.Counts{Waves: []map[campaign.State]uint64{{campaign.Skipped: 5}, {campaign.Pending: 5}}}
	hour := func(p *campaign.Policy) { p.Soak = time.Hour }
	manual := func(p *campaign.Policy) { p.Manual = true }
	tests := []struct {
		name   string
		policy []func(*campaign.Policy)
		pace   campaign.Pace
		n      campaign.Counts
		want   campaign.Decision
	}{
		{"nothing holds it", nil, campaign.Pace{}, done, campaign.Decision{Open: 1}},
		{"met now", []func(*campaign.Policy){hour}, campaign.Pace{}, done, campaign.Decision{Met: now, Hold: campaign.Soaking, At: now.Add(time.Hour)}},
		{"soaking", []func(*campaign.Policy){hour}, campaign.Pace{MetAt: now.Add(-time.Minute)}, done,
			campaign.Decision{Met: now.Add(-time.Minute), Hold: campaign.Soaking, At: now.Add(59 * time.Minute)}},
		{"soaked", []func(*campaign.Policy){hour}, campaign.Pace{MetAt: now.Add(-time.Hour)}, done, campaign.Decision{Open: 1}},
		{"the clock went back", []func(*campaign.Policy){hour}, campaign.Pace{MetAt: now.Add(time.Hour)}, done,
			campaign.Decision{Met: now, Hold: campaign.Soaking, At: now.Add(time.Hour)}},
		{"nothing to soak", []func(*campaign.Policy){hour}, campaign.Pace{}, skipped, campaign.Decision{Open: 1}},
		{"not released", []func(*campaign.Policy){manual}, campaign.Pace{}, done, campaign.Decision{Met: now, Hold: campaign.AwaitingRelease}},
		{"released", []func(*campaign.Policy){manual}, campaign.Pace{Released: 1}, done, campaign.Decision{Open: 1}},
		{"released and soaking", []func(*campaign.Policy){manual, hour}, campaign.Pace{Released: 1}, done,
			campaign.Decision{Met: now, Hold: campaign.Soaking, At: now.Add(time.Hour)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := campaign.Campaign{Phase: campaign.Active, Started: start, Pace: tt.pace, Policy: policy(append(slices.Clone(tt.policy),
				func(p *campaign.Policy) { p.Waves = []campaign.Wave{{Count: 5}, {Count: 5}} })...)}
			if diff := gocmp.Diff(tt.want, campaign.Judge(c, tt.n, true, now)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRolloutThatMakesNoSenseMeansNo(t *testing.T) {
	tests := []struct {
		name    string
		change  func(*campaign.Policy)
		pointer string
	}{
		{"negative soak", func(p *campaign.Policy) { p.Soak = -1 }, "/policy/soak"},
		{"long soak", func(p *campaign.Policy) { p.Soak = campaign.MaxWithin + 1 }, "/policy/soak"},
		{"start in another age", func(p *campaign.Policy) { p.StartAt = time.Unix(0, 0) }, "/policy/start_at"},
		{"end beyond all", func(p *campaign.Policy) { p.EndAt = time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC) }, "/policy/end_at"},
		{"ends as it starts", func(p *campaign.Policy) { p.StartAt, p.EndAt = start, start }, "/policy/end_at"},
		{"wave failure", func(p *campaign.Policy) { p.WaveFailurePercent = 101 }, "/policy/wave_failure_percent"},
		{"wave silent", func(p *campaign.Policy) { p.WaveSilentPercent = -1 }, "/policy/wave_silent_percent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := policy(tt.change).Complete()
			bad, ok := errors.AsType[*campaign.InvalidError](err)
			if !ok || len(bad.Fields) != 1 || bad.Fields[0].Pointer != tt.pointer {
				t.Errorf("error %v, want one at %s", err, tt.pointer)
			}
		})
	}
}
