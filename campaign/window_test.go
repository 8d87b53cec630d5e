package campaign_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/adhocore/gronx"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func windows(ws ...campaign.Window) campaign.Rollout { return campaign.Rollout{Windows: ws} }

// TestWindowsMinuteByMinute compares with a scan: a window is open at a moment if one of the minutes before it, within
// its duration, is due. The days are those on which clocks change.
func TestWindowsMinuteByMinute(t *testing.T) {
	tests := []struct{ cron, zone string }{
		{"0 2 * * *", "Europe/Berlin"},     // on the spring day there is no 02:00
		{"30 2 * * *", "Europe/Berlin"},    // on the autumn day there are two
		{"15 1 * * *", "America/New_York"}, // the same, elsewhere
		{"0 0 * * *", "Africa/Cairo"},      // the change is at midnight
		{"*/20 * * * *", "Europe/Berlin"},
		{"0 22 * * 6,0", "Asia/Kolkata"},
		{"0 3 1,L * *", "Australia/Lord_Howe"}, // half an hour of daylight saving
		{"5 4 * * MON#2", "UTC"},
	}
	days := []time.Time{
		time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 4, 23, 12, 0, 0, 0, time.UTC), time.Date(2026, 10, 3, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 10, 29, 12, 0, 0, 0, time.UTC), time.Date(2026, 10, 31, 12, 0, 0, 0, time.UTC), time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC),
	}
	const length = 48 * 60 // minutes
	for _, tt := range tests {
		t.Run(tt.cron+" "+tt.zone, func(t *testing.T) {
			loc, err := time.LoadLocation(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			g := gronx.New()
			for _, day := range days {
				due := make([]bool, 2*length)
				for i := range due {
					if due[i], err = g.IsDue(tt.cron, day.Add(time.Duration(i)*time.Minute).In(loc)); err != nil {
						t.Fatal(err)
					}
				}
				const duration = 90 // minutes
				r := windows(campaign.Window{Cron: tt.cron, Zone: tt.zone, Duration: duration * time.Minute})
				for i := duration; i < length; i += 7 {
					now := day.Add(time.Duration(i) * time.Minute)
					want := slices.Contains(due[i-duration+1:i+1], true)
					open, next := r.InWindow(now)
					if open != want {
						t.Fatalf("at %v open is %v, want %v", now.In(loc), open, want)
					}
					if ahead := slices.Index(due[i+1:], true); !open && ahead >= 0 && !next.Equal(now.Add(time.Duration(ahead+1)*time.Minute)) {
						t.Fatalf("at %v the next opens %v, want in %d minutes", now.In(loc), next.In(loc), ahead+1)
					}
				}
			}
		})
	}
}

func TestWindowEndsToTheNanosecond(t *testing.T) {
	r := windows(campaign.Window{Cron: "0 2 * * *", Duration: time.Hour})
	at := time.Date(2026, 11, 24, 2, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		now  time.Time
		open bool
	}{
		{at.Add(-1), false}, {at, true}, {at.Add(1), true}, {at.Add(time.Hour - 1), true}, {at.Add(time.Hour), false}, {at.Add(time.Hour + 1), false},
		{at.Add(time.Hour + time.Second/2), false},
	} {
		if open, _ := r.InWindow(tt.now); open != tt.open {
			t.Errorf("open is %v at %v", open, tt.now)
		}
	}
}

func TestWindowThatCantBeReadIsShut(t *testing.T) {
	for _, w := range []campaign.Window{
		{Cron: "whenever", Duration: time.Hour},
		{Cron: "0 2 * * *", Duration: time.Hour, Zone: "Middle/Earth"},
		{Cron: "0 2 30 2 *", Duration: time.Hour},
	} {
		for h := range 48 {
			if open, next := windows(w).InWindow(start.Add(time.Duration(h) * time.Hour)); open || !next.IsZero() {
				t.Fatalf("%+v is open, or opens at %v", w, next)
			}
		}
	}
	if open, _ := windows().InWindow(start); !open {
		t.Error("a policy without windows is shut")
	}
}

func TestWindowsThatMakeNoSense(t *testing.T) {
	good := campaign.Window{Cron: "0 2 * * 1-5", Duration: time.Hour, Zone: "Europe/Berlin"}
	with := func(change func(*campaign.Window)) []campaign.Window {
		w := good
		change(&w)
		return []campaign.Window{good, w}
	}
	cron := func(s string) []campaign.Window { return with(func(w *campaign.Window) { w.Cron = s }) }
	tests := map[string]struct {
		windows []campaign.Window
		pointer string
	}{
		"too many":            {slices.Repeat([]campaign.Window{good}, campaign.MaxWindows+1), "/policy/windows"},
		"no duration":         {with(func(w *campaign.Window) { w.Duration = 0 }), "/policy/windows/1/duration"},
		"long duration":       {with(func(w *campaign.Window) { w.Duration = campaign.MaxWindowDuration + 1 }), "/policy/windows/1/duration"},
		"unknown zone":        {with(func(w *campaign.Window) { w.Zone = "Europe/Bonn" }), "/policy/windows/1/zone"},
		"the machine's zone":  {with(func(w *campaign.Window) { w.Zone = "Local" }), "/policy/windows/1/zone"},
		"a path":              {with(func(w *campaign.Window) { w.Zone = "../../etc/passwd" }), "/policy/windows/1/zone"},
		"empty":               {cron(""), "/policy/windows/1/cron"},
		"seconds":             {cron("0 0 2 * * *"), "/policy/windows/1/cron"},
		"a year":              {cron("0 2 * * * 2027"), "/policy/windows/1/cron"},
		"a tag":               {cron("@daily"), "/policy/windows/1/cron"},
		"minute 60":           {cron("60 2 * * *"), "/policy/windows/1/cron"},
		"hidden in a list":    {cron("0-59,99 2 * * *"), "/policy/windows/1/cron"},
		"words":               {cron("0 2 * * someday"), "/policy/windows/1/cron"},
		"step of nothing":     {cron("*/0 2 * * *"), "/policy/windows/1/cron"},
		"never":               {cron("0 0 31 2 *"), "/policy/windows/1/cron"},
		"a step from nowhere": {cron("75/5 2 * * *"), "/policy/windows/1/cron"},
		"two spaces":          {cron("0  2 * * *"), "/policy/windows/1/cron"},
		"long":                {cron("0 2 * * 1" + fmt.Sprintf("%0200d", 1)), "/policy/windows/1/cron"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := policy(func(p *campaign.Policy) { p.Windows = tt.windows }).Complete()
			bad, ok := errors.AsType[*campaign.InvalidError](err)
			if !ok || len(bad.Fields) != 1 || bad.Fields[0].Pointer != tt.pointer {
				t.Errorf("error %v, want one at %s", err, tt.pointer)
			}
		})
	}
	for _, ok := range []string{"0 2 * * 1-5", "*/15 0-6 * * *", "0 2 1,15 * *", "0 2 L * *", "0 2 * JAN,JUL SUN", "0 0 29 2 *"} {
		if _, err := policy(func(p *campaign.Policy) { p.Windows = cron(ok) }).Complete(); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
}

func TestOffersOnlyInsideTheWindow(t *testing.T) {
	w, c, wake := fleet(t, 3, func(p *campaign.Policy) {
		p.Windows, p.InFlight = []campaign.Window{{Cron: "0 22 * * *", Duration: 2 * time.Hour}}, 2
	})
	opens := time.Date(2026, 11, 24, 22, 0, 0, 0, time.UTC)
	if have := w.campaign(c.c); have.Step != campaign.OutsideWindow || !wake.At.Equal(opens) || len(w.inState(c.c, campaign.Pending)) != 3 {
		t.Fatalf("step %s, wake %v", have.Step, wake.At)
	}
	w.sleep(c.c, wake)
	if n := len(w.inState(c.c, campaign.Offered)); n != 2 {
		t.Fatalf("%d offered as the window opened", n)
	}
	w.now = opens.Add(2 * time.Hour)
	d := w.inState(c.c, campaign.Offered)[0]
	w.report(d, c.m, "installed", holding(c.m.Image)) // a device that had its offer goes on
	wake = w.run(c.c)
	if n := len(w.inState(c.c, campaign.Pending)); n != 1 || w.campaign(c.c).Step != campaign.OutsideWindow {
		t.Fatalf("%d pending after the window closed, step %s", n, w.campaign(c.c).Step)
	}
	other := w.inState(c.c, campaign.Offered)[0]
	before := w.assignment(c.c, other).Offers
	if !wake.At.Equal(opens.Add(24 * time.Hour)) {
		t.Fatalf("wake %v", wake.At)
	}
	w.sleep(c.c, wake)
	if a := w.assignment(c.c, other); a.Offers != before+1 || len(w.inState(c.c, campaign.Pending)) != 0 {
		t.Errorf("the next day: %d offers to %s, before %d; %d pending", a.Offers, other, before, len(w.inState(c.c, campaign.Pending)))
	}
}

func TestWhyNamesWindowAndRate(t *testing.T) {
	why := func(w *world, c ident.Campaign, d string) campaign.Answer {
		t.Helper()
		list, _, err := campaign.Why(w.m, w.now, acme, device(d), c, false)
		if err != nil || len(list) != 1 {
			t.Fatalf("%d answers, %v", len(list), err)
		}
		return list[0]
	}
	w, c, wake := fleet(t, 1, func(p *campaign.Policy) {
		p.Windows = []campaign.Window{{Cron: "0 22 * * *", Duration: time.Hour}}
	})
	if a := why(w, c.c, "d000"); a.Code != campaign.WhyOutsideWindow || !a.Until.Equal(wake.At) {
		t.Errorf("outside the window: %+v", a)
	}
	w, c, _ = fleet(t, 2, func(p *campaign.Policy) { p.Rate.PerMinute = 1 })
	left := w.inState(c.c, campaign.Pending)
	if a := why(w, c.c, left[0]); len(left) != 1 || a.Code != campaign.WhyRate || !a.Until.Equal(w.now.Add(59*time.Second)) {
		t.Errorf("its rate used up: %+v", a)
	}
}
