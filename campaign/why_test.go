package campaign_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// why asks about one device and one campaign.
func (w *world) why(d string, c ident.Campaign, offline bool) campaign.Answer {
	w.t.Helper()
	list, more, err := campaign.Why(w.m, w.now, acme, device(d), c, offline)
	if err != nil || more || len(list) != 1 {
		w.t.Fatalf("why %s: %v, %v, %v", d, list, more, err)
	}
	return list[0]
}

func TestWhyNamesEachObstacle(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("a", "b", "c", "d")
	w.m.devices[device("other")] = campaign.Device{ID: device("other"), Class: class, LastSeen: w.now}
	c := w.create("c", m, policy(func(p *campaign.Policy) { p.Waves = []campaign.Wave{{Count: 2}, {Percent: 100}}; p.InFlight = 1 }))
	if a := w.why("a", c, false); a.Code != campaign.WhyStarting || a.State != "" {
		t.Errorf("scheduled: %+v", a)
	}
	w.run(c)
	offered := w.inState(c, campaign.Offered)
	if len(offered) != 1 {
		t.Fatalf("offered: %v", offered)
	}
	codes := map[string]int{}
	for _, d := range []string{"a", "b", "c", "d"} {
		codes[w.why(d, c, false).Code]++
	}
	want := map[string]int{campaign.WhyUnanswered: 1, campaign.WhyInFlightCap: 1, campaign.WhyWaveNotOpen: 2}
	for code, n := range want {
		if codes[code] != n {
			t.Errorf("%d devices %s, want %d: %v", codes[code], code, n, codes)
		}
	}
	if a := w.why("other", c, false); a.Code != campaign.WhyNotSelected || a.State != "" || a.Detail == "" {
		t.Errorf("of another vendor: %+v", a)
	}
	if a := w.why(offered[0], c, true); a.Code != campaign.WhyOffline || !a.Until.After(w.now) {
		t.Errorf("offline: %+v", a)
	}
	w.report(offered[0], m, "downloading")
	if a := w.why(offered[0], c, false); a.Code != campaign.WhyInProgress || a.State != campaign.Downloading {
		t.Errorf("at work: %+v", a)
	}
	w.report(offered[0], m, "failed", func(r *campaign.Report) { r.Reason, r.Detail = "flash-error", "sector 12" })
	if a := w.why(offered[0], c, false); a.Code != "failed" || a.Reason != "flash-error" || a.Detail != "sector 12" {
		t.Errorf("failed: %+v", a)
	}
	w.stop(c)
	w.run(c)
	for _, d := range []string{"a", "b", "c", "d"} {
		if a := w.why(d, c, false); d != offered[0] && a.Code != string(campaign.Withdrawn) {
			t.Errorf("%s, stopped: %+v", d, a)
		}
	}
}

func TestWhySilentAndBusy(t *testing.T) {
	w := newWorld(t)
	first, second := w.manifest("v2"), w.manifest("v3")
	w.register("a")
	c1 := w.create("c1", first, policy())
	w.run(c1)
	c2 := w.create("c2", second, policy())
	w.run(c2)
	if a := w.why("a", c2, false); a.Code != campaign.WhyBusy || a.Blocker != c1 {
		t.Errorf("busy: %+v", a)
	}
	list, more, err := campaign.Why(w.m, w.now, acme, device("a"), ident.Campaign{}, false)
	if err != nil || more || len(list) != 2 || list[0].Campaign != c1 || list[1].Campaign != c2 {
		t.Errorf("all: %v, %v, %v", list, more, err)
	}
	w.now = w.now.Add(campaign.DefaultOfferedDeadline + time.Second)
	w.run(c1)
	if a := w.why("a", c1, true); a.Code != string(campaign.Silent) || !a.Since.Equal(w.now) {
		t.Errorf("silent: %+v", a)
	}
}

func TestWhyIsBoundedAndSaysWhatIsMissing(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("a")
	for i := range 70 {
		w.create(fmt.Sprintf("c%02d", i), m, policy(), "a")
	}
	list, more, err := campaign.Why(w.m, w.now, acme, device("a"), ident.Campaign{}, false)
	if err != nil || !more || len(list) != 64 {
		t.Errorf("%d answers, %v, %v", len(list), more, err)
	}
	for _, ask := range []struct {
		d string
		c ident.Campaign
	}{{"nobody", ident.Campaign{}}, {"a", campaignID("none")}} {
		if _, _, err := campaign.Why(w.m, w.now, acme, device(ask.d), ask.c, false); !errors.Is(err, campaign.ErrNotFound) {
			t.Errorf("%v: %v", ask, err)
		}
	}
}

// TestWhyBeginsWithWhatRuns: campaigns that are over come after one that has yet to touch the device.
func TestWhyBeginsWithWhatRuns(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("a")
	for _, name := range []string{"c1", "c2"} {
		c := w.create(name, m, policy())
		w.run(c)
		w.stop(c)
		w.run(c)
	}
	w.run(w.create("c3", m, policy(func(p *campaign.Policy) { p.Windows = []campaign.Window{{Cron: "0 0 29 2 *", Duration: time.Minute}} })))
	list, _, err := campaign.Why(w.m, w.now, acme, device("a"), ident.Campaign{}, false)
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	if got := list[0]; got.Campaign.String() != "c3" || got.Code != campaign.WhyOutsideWindow {
		t.Errorf("first: %+v", got)
	}
}
