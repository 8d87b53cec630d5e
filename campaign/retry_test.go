package campaign_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func because(reason string) func(*campaign.Report) {
	return func(r *campaign.Report) { r.Reason = reason }
}

// retrying is a policy that tries a timed out download again, at most n times.
func retrying(n int) func(*campaign.Policy) {
	return func(p *campaign.Policy) { p.Retry = campaign.Retry{Max: n, After: time.Minute} }
}

// again lets c's engine wake by its own timer and offer to d once more.
func (w *world) again(c ident.Campaign, d string) {
	w.t.Helper()
	w.want(c, d, campaign.Retrying)
	wake := w.run(c)
	if _, shown := w.topic[device(d)]; shown {
		w.t.Fatalf("%s is shown a manifest while it waits", d)
	}
	if after := wake.At.Sub(w.now); after < time.Minute || after > 90*time.Second {
		w.t.Fatalf("the next try is in %s, want 1m to 1m30s", after)
	}
	w.now = wake.At
	w.run(c)
	w.want(c, d, campaign.Offered)
}

func TestTransientFailureIsTriedAgainUpToItsMaximum(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d")
	c := w.create("c", m, policy(retrying(2)))
	w.run(c)
	for range 2 {
		w.report("d", m, "downloading")
		w.report("d", m, "failed", because("download-timeout"))
		w.again(c, "d")
	}
	w.report("d", m, "failed", because("download-timeout"))
	w.want(c, "d", campaign.Failed)
	if a := w.assignment(c, "d"); a.Retries != 2 || a.Offers != 3 {
		t.Errorf("%d retries, %d offers", a.Retries, a.Offers)
	}
	if len(w.m.works[device("d")].Failures) != 0 {
		t.Error("a timeout counts as a failure of the payload")
	}
	w.run(c)
	w.wantEnd(c, campaign.AutoStopped)
}

func TestRetriedDeviceHoldsItsWaveAndCounts(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register(names(5)...)
	c := w.create("c", m, policy(retrying(1), func(p *campaign.Policy) { p.Waves = []campaign.Wave{{Count: 1}, {Percent: 100}} }))
	w.run(c)
	d := w.inState(c, campaign.Offered)[0]
	w.report(d, m, "failed", because("battery-low"))
	w.run(c)
	if n := len(w.inState(c, campaign.Pending)); n != 4 {
		t.Fatalf("%d pending, want the whole second wave", n)
	}
	w.again(c, d)
	w.report(d, m, "installed", holding(m.Image))
	w.run(c)
	if n := len(w.inState(c, campaign.Offered)); n != 4 {
		t.Errorf("%d offered, want the second wave", n)
	}
}

func TestWhatIsNotTriedAgain(t *testing.T) {
	for _, v := range []struct {
		word, reason string
		max          int
		want         campaign.State
	}{
		{"failed", "flash-error", 3, campaign.Failed},
		{"failed", "", 3, campaign.Failed},
		{"rejected", "download-timeout", 3, campaign.Rejected},
		{"failed", "download-timeout", 0, campaign.Failed},
		{"failed", "download-timeout", 3, campaign.Retrying},
	} {
		t.Run(fmt.Sprintf("%s %s at most %d", v.word, v.reason, v.max), func(t *testing.T) {
			w := newWorld(t)
			m := w.manifest("v2")
			w.register("d")
			c := w.create("c", m, policy(retrying(v.max)))
			w.run(c)
			w.report("d", m, v.word, because(v.reason))
			w.want(c, "d", v.want)
		})
	}
}

func TestFailureToldAgainIsNoSecondTry(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d")
	c := w.create("c", m, policy(retrying(1)))
	w.run(c)
	w.report("d", m, "failed", because("download-timeout"))
	w.report("d", m, "failed", because("download-timeout"))
	w.again(c, "d")
}

func TestDeviceThatGoesOnByItselfNeedsNoRetry(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d")
	c := w.create("c", m, policy(retrying(1)))
	w.run(c)
	w.report("d", m, "failed", because("download-timeout"))
	w.report("d", m, "downloading")
	w.want(c, "d", campaign.Downloading)
	w.report("d", m, "installed", holding(m.Image))
	w.want(c, "d", campaign.Confirmed)
}

func TestStopWithdrawsWhatWaitsForARetry(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d")
	c := w.create("c", m, policy(retrying(1)))
	w.run(c)
	w.report("d", m, "failed", because("download-timeout"))
	w.stop(c)
	w.run(c)
	w.wantEnd(c, campaign.UserStopped)
	w.want(c, "d", campaign.Withdrawn)
}

// TestPoisonedPayloadIsNotOffered fails one payload on a device in three campaigns; the fourth must leave the device alone
// until an operator clears it, and another payload is not its affair.
func TestPoisonedPayloadIsNotOffered(t *testing.T) {
	w := newWorld(t)
	m, other := w.manifest("v2"), w.manifest("v3")
	w.register("d", "e")
	for i := range campaign.DefaultPoison {
		c := w.create(fmt.Sprintf("c%d", i), m, policy(), "d")
		w.run(c)
		w.report("d", m, "failed", because("flash-error"))
		w.run(c)
	}
	c := w.create("next", m, policy())
	w.run(c)
	w.want(c, "d", campaign.Skipped)
	w.want(c, "e", campaign.Offered)
	if reason := w.assignment(c, "d").Reason; reason != campaign.ReasonPoisoned {
		t.Errorf("skipped for %q", reason)
	}
	o := w.create("other", other, policy(), "d")
	w.run(o)
	w.want(o, "d", campaign.Offered)
	w.stop(o)
	w.run(o)

	clear := func(tx campaign.Tx) (campaign.Result, error) {
		done, err := campaign.ClearFailures(tx, w.now, acme, []ident.Device{device("d")}, "", m.Image)
		if done != (campaign.Cleared{Matched: 1, Cleared: 1}) {
			t.Errorf("%+v", done)
		}
		return campaign.Result{}, err
	}
	w.update(clear)
	c = w.create("cleared", m, policy(), "d")
	w.run(c)
	w.want(c, "d", campaign.Offered)
	if _, err := campaign.ClearFailures(w.m, w.now, acme, []ident.Device{device("nobody")}, "", ident.Digest{}); !errors.Is(err, campaign.ErrNotFound) {
		t.Errorf("an unknown device gives %v", err)
	}
}

func TestPoisonEndsRetriesAndProofEndsPoison(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d")
	c := w.create("c", m, policy(func(p *campaign.Policy) {
		p.Retry = campaign.Retry{Max: 10, Reasons: []string{"flash-error"}, After: time.Minute}
		p.Poison = 2
	}))
	w.run(c)
	w.report("d", m, "failed", because("flash-error"))
	w.again(c, "d")
	w.report("d", m, "failed", because("flash-error"))
	w.want(c, "d", campaign.Failed)
	w.run(c)

	c = w.create("lenient", m, policy(func(p *campaign.Policy) { p.Poison = 3 }))
	w.run(c)
	w.report("d", m, "installed", holding(m.Image))
	w.want(c, "d", campaign.Confirmed)
	if n := w.m.works[device("d")].Failed(m.Image); n != 0 {
		t.Errorf("%d failures after a proof", n)
	}
}

func TestFailuresAreBoundedAndTheWorstStays(t *testing.T) {
	w := newWorld(t)
	w.register("d")
	worst := w.manifest("worst")
	for i := range 2 + campaign.MaxFailures + 2 {
		m := worst
		if i >= 2 {
			m = w.manifest(fmt.Sprintf("v%d", i))
		}
		c := w.create(fmt.Sprintf("c%d", i), m, policy())
		w.run(c)
		w.report("d", m, "failed", because("flash-error"))
		w.run(c)
	}
	work := w.m.works[device("d")]
	if len(work.Failures) != campaign.MaxFailures || work.Failed(worst.Image) != 2 {
		t.Errorf("failures %v", work.Failures)
	}
}

func TestRetryPolicy(t *testing.T) {
	p, err := policy(func(p *campaign.Policy) { p.Retry.Max = 1 }).Complete()
	if err != nil || p.Retry.After != campaign.DefaultRetryAfter || len(p.Retry.Reasons) == 0 || p.Poison != campaign.DefaultPoison {
		t.Errorf("completed to %+v, poison %d, %v", p.Retry, p.Poison, err)
	}
	for name, change := range map[string]func(*campaign.Policy){
		"max":     func(p *campaign.Policy) { p.Retry.Max = campaign.MaxRetries + 1 },
		"minus":   func(p *campaign.Policy) { p.Retry.Max = -1 },
		"reason":  func(p *campaign.Policy) { p.Retry = campaign.Retry{Max: 1, Reasons: []string{""}} },
		"reasons": func(p *campaign.Policy) { p.Retry = campaign.Retry{Max: 1, Reasons: make([]string, 17)} },
		"after":   func(p *campaign.Policy) { p.Retry = campaign.Retry{Max: 1, After: -1} },
		"poison":  func(p *campaign.Policy) { p.Poison = -1 },
	} {
		var invalid *campaign.InvalidError
		if _, err := policy(change).Complete(); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
