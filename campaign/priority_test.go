package campaign_test

import (
	"errors"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// rival creates a campaign with a manifest of its own, a moment later than the one before.
func (w *world) rival(id string, change ...func(*campaign.Policy)) campaignAnd {
	w.t.Helper()
	w.now = w.now.Add(time.Minute)
	m := w.manifest(id)
	c := campaignAnd{w.create(id, m, policy(change...)), m}
	w.run(c.c)
	return c
}

func priority(n int) func(*campaign.Policy) { return func(p *campaign.Policy) { p.Priority = n } }

func TestFreeDeviceGoesToTheHighestPriority(t *testing.T) {
	w, d, c := offered(t)
	low, first, second := w.rival("a-low"), w.rival("z-first", priority(7)), w.rival("b-second", priority(7))
	for _, next := range []campaignAnd{first, second, low} {
		res := w.report(d, c.m, "failed")
		w.want(next.c, d, campaign.Offered) // in the commit of the report, before any engine has its turn
		if len(res.Clears) != 0 || w.topic[device(d)] != next.m.Digest {
			t.Errorf("the topic of the device shows %v, clears %v", w.topic[device(d)], res.Clears)
		}
		for _, o := range []campaignAnd{low, first, second} {
			w.run(o.c)
		}
		c = next
	}
}

// TestWhoCantOfferKeepsNobodyWaiting: priority is no reason to leave a device idle.
func TestWhoCantOfferKeepsNobodyWaiting(t *testing.T) {
	tests := map[string]struct {
		change func(*campaign.Policy)
		then   func(w *world, c ident.Campaign)
	}{
		"paused": {priority(9), (*world).pause},
		"outside its window": {func(p *campaign.Policy) {
			p.Priority, p.Windows = 9, []campaign.Window{{Cron: "0 12 * * *", Duration: 10 * time.Minute}}
		}, func(w *world, _ ident.Campaign) { w.now = w.now.Add(time.Hour) }},
		"its rate used up": {func(p *campaign.Policy) {
			p.Priority, p.Rate.PerMinute = 9, 0.01
		}, func(w *world, c ident.Campaign) {
			cp := w.m.campaigns[c]
			cp.PaidUntil = w.now.Add(time.Hour)
			w.m.campaigns[c] = cp
		}},
		"its threshold passed": {func(p *campaign.Policy) {
			p.Priority, p.MinSample, p.FailurePercent = 9, 1, 50
		}, func(w *world, c ident.Campaign) {
			w.m.assignments[key{c, device("other")}] = campaign.Assignment{Campaign: c, Device: device("other"), State: campaign.Failed,
				Path: []campaign.PathStep{{State: campaign.Failed}}}
		}},
		"its wave not open": {priority(9), func(w *world, c ident.Campaign) {
			a := w.m.assignments[key{c, device("d")}]
			a.Wave = 1
			w.m.assignments[key{c, device("d")}] = a
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, d, c := offered(t)
			high, low := w.rival("high", tt.change), w.rival("low")
			if a := w.assignment(high.c, d); !a.Waiting {
				t.Fatalf("the high one does not wait: %+v", a)
			}
			tt.then(w, high.c)
			w.report(d, c.m, "failed")
			w.want(low.c, d, campaign.Offered)
			w.want(high.c, d, campaign.Pending)
		})
	}
}

func TestDeviceThatIsHandedOverCostsRate(t *testing.T) {
	w, d, c := offered(t)
	next := w.rival("next", func(p *campaign.Policy) { p.Rate.PerMinute = 1 })
	w.now = w.now.Add(time.Hour)
	w.report(d, c.m, "failed")
	w.want(next.c, d, campaign.Offered)
	if have, want := w.campaign(next.c).PaidUntil, w.now.Add(59*time.Second); !have.Equal(want) {
		t.Errorf("paid until %v, want %v", have, want)
	}
}

func TestPriorityOutOfBounds(t *testing.T) {
	for _, n := range []int{-1, campaign.MaxPriority + 1} {
		_, err := policy(priority(n)).Complete()
		bad, ok := errors.AsType[*campaign.InvalidError](err)
		if !ok || bad.Fields[0].Pointer != "/policy/priority" {
			t.Errorf("priority %d: %v", n, err)
		}
	}
}
