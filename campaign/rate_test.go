package campaign_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fleetbridge/campaign"
)

func TestRateGrowsWithConfirmedDevices(t *testing.T) {
	r := campaign.Rate{PerMinute: 50, Factor: 2, Every: 1000, Max: 300}
	for confirmed, want := range map[uint64]float64{0: 50, 999: 50, 1000: 100, 1999: 100, 2000: 200, 3000: 300, math.MaxUint64: 300} {
		if have := r.At(confirmed); have != want {
			t.Errorf("%g a minute after %d, want %g", have, confirmed, want)
		}
	}
	if have := (campaign.Rate{PerMinute: 7}).At(1 << 40); have != 7 {
		t.Errorf("a constant rate became %g", have)
	}
}

// TestRateIsNeverPassed looks at campaigns at any moments and offers whatever is allowed: in no span are there more than
// the rate gives, and one second's worth, and one; and nothing is lost by looking often.
func TestRateIsNeverPassed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.Float64Range(campaign.MinRate, 20_000).Draw(rt, "rate")
		c := campaign.Campaign{Policy: policy(func(p *campaign.Policy) { p.Rate.PerMinute = rate })}
		now := start
		type offer struct {
			at time.Time
			n  int
		}
		var log []offer
		total, scale := 0, rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Minute, time.Hour}).Draw(rt, "scale")
		for range rapid.IntRange(2, 40).Draw(rt, "looks") {
			n := min(c.Allowance(0, now), rapid.IntRange(0, 1000).Draw(rt, "wanted"))
			for range n {
				c.Spend(0, now)
			}
			log, total = append(log, offer{now, n}), total+n
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(scale)).Draw(rt, "wait")))
		}
		for i := range log {
			sum := 0
			for _, o := range log[i:] {
				sum += o.n
				if most := (o.at.Sub(log[i].at)+time.Second).Minutes()*rate + 1; float64(sum) > most+1e-6 {
					rt.Fatalf("%d offers within %v, at most %g", sum, o.at.Sub(log[i].at), most)
				}
			}
		}
	})
}

func TestRateIsReached(t *testing.T) {
	for _, rate := range []float64{0.5, 6, 59, 600, 12_345} {
		w, c, wake := fleet(t, 1)
		cp := w.campaign(c.c)
		cp.Policy.Rate.PerMinute = rate
		n, looks := 0, 0
		for end := w.now.Add(10 * time.Minute); !w.now.After(end); looks++ {
			for range cp.Allowance(0, w.now) {
				cp.Spend(0, w.now)
				n++
			}
			w.now = cp.Refill(w.now)
		}
		if want := 10 * rate; math.Abs(float64(n)-want) > rate/60+2 || looks > 1300 {
			t.Errorf("%d offers in %d looks over ten minutes at %g a minute (first wake %v)", n, looks, rate, wake.At)
		}
	}
}

func TestClockThatGoesBackHoldsNothingUp(t *testing.T) {
	c := campaign.Campaign{Policy: policy(func(p *campaign.Policy) { p.Rate.PerMinute = 60 })}
	c.Spend(0, start)
	c.Spend(0, start)
	back := start.Add(-24 * time.Hour)
	c.MendRate(0, back)
	if n := c.Allowance(0, back); n != 0 {
		t.Errorf("%d offers for nothing", n)
	}
	later := c.Refill(back)
	if d := later.Sub(back); d > time.Second {
		t.Errorf("held up for %v", d)
	}
	c.MendRate(0, later)
	if n := c.Allowance(0, later); n != 1 {
		t.Errorf("%d offers a second later", n)
	}
}

func TestOffersKeepTheRate(t *testing.T) {
	w, c, wake := fleet(t, 10, func(p *campaign.Policy) { p.Rate = campaign.Rate{PerMinute: 2, Factor: 2, Every: 2, Max: 4} })
	begun := w.now
	for i, want := range []time.Duration{0, 29, 44, 59, 74, 89} { // the second confirmed doubles the rate; the first second is the burst
		if have := w.now.Sub(begun); have != want*time.Second {
			t.Fatalf("device %d was offered after %v, want %ds", i, have, want)
		}
		if n := w.answer(c, "installed", holding(c.m.Image)); n != 1 {
			t.Fatalf("%d offered at once", n)
		}
		again := w.run(c.c)
		if n := len(w.inState(c.c, campaign.Offered)); n != 0 {
			t.Fatalf("a report brought %d offers before their time", n)
		}
		wake = w.sleep(c.c, again)
	}
	if wake.At.IsZero() || w.campaign(c.c).Step != campaign.Publishing {
		t.Errorf("wake %v, step %s", wake.At, w.campaign(c.c).Step)
	}
}

func TestRateThatMakesNoSenseMeansNo(t *testing.T) {
	tests := map[string]struct {
		rate    campaign.Rate
		pointer string
	}{
		"negative":             {campaign.Rate{PerMinute: -1}, "/policy/rate/per_minute"},
		"NaN":                  {campaign.Rate{PerMinute: math.NaN()}, "/policy/rate/per_minute"},
		"infinite":             {campaign.Rate{PerMinute: math.Inf(1)}, "/policy/rate/per_minute"},
		"every without factor": {campaign.Rate{PerMinute: 1, Every: 5}, "/policy/rate"},
		"factor 1":             {campaign.Rate{PerMinute: 1, Factor: 1, Every: 5, Max: 5}, "/policy/rate/factor"},
		"factor NaN":           {campaign.Rate{PerMinute: 1, Factor: math.NaN(), Every: 5, Max: 5}, "/policy/rate/factor"},
		"factor without every": {campaign.Rate{PerMinute: 1, Factor: 2, Max: 5}, "/policy/rate/every"},
		"max below":            {campaign.Rate{PerMinute: 6, Factor: 2, Every: 5, Max: 5}, "/policy/rate/max"},
		"max NaN":              {campaign.Rate{PerMinute: 6, Factor: 2, Every: 5, Max: math.NaN()}, "/policy/rate/max"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := policy(func(p *campaign.Policy) { p.Rate = tt.rate }).Complete()
			bad, ok := errors.AsType[*campaign.InvalidError](err)
			if !ok || len(bad.Fields) != 1 || bad.Fields[0].Pointer != tt.pointer {
				t.Errorf("error %v, want one at %s", err, tt.pointer)
			}
		})
	}
}
