package campaign_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// model is a world in which anything happens in any order: devices say true, false, late and repeated things, time
// jumps, people start, pause and stop campaigns, and the server crashes between any two lines that matter.
type model struct {
	*world
	rt        *rapid.T
	manifests []firmware.Manifest
	devices   []string
	ids       []ident.Campaign
	timers    map[ident.Campaign]time.Time
	sent      map[string][]campaign.Report
	last      map[key]campaign.Assignment
	ended     map[ident.Campaign]campaign.Campaign
	totals    map[ident.Campaign]uint64
	stays     bool // no device leaves the registry
}

// held says whether nobody may be offered anything by c since its last command.
func held(c campaign.Campaign) bool {
	return c.Phase == campaign.Paused || c.Outcome == campaign.UserStopped
}

// edges are the pairs of states that the table joins.
func edges() map[[2]campaign.State]bool {
	out := map[[2]campaign.State]bool{}
	for _, s := range campaign.States {
		for _, tr := range campaign.Triggers {
			if to, ok := campaign.Next(s, tr); ok {
				out[[2]campaign.State{s, to}] = true
			}
		}
	}
	return out
}

func TestModel(t *testing.T) {
	legal := edges()
	stopped := map[campaign.Outcome]int{}
	seen := map[campaign.State]int{}
	history := func(rt *rapid.T) {
		m := newModel(rt)
		m.someCampaign()
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			m.act()
			m.settle()
			m.inspect()
		}
		m.finish()
		m.inspectOffers()
		for _, tr := range m.moves {
			if !legal[[2]campaign.State{tr.From, tr.To}] {
				rt.Fatalf("%s moved from %s to %s", tr.Device, tr.From, tr.To)
			}
			seen[tr.To]++
		}
		for _, c := range m.ids {
			stopped[m.campaign(c).Outcome]++
		}
	}
	rapid.Check(t, history)
	if testing.Short() {
		return // too few histories to reach everything
	}
	// What is rare may be missing from a hundred histories, not from five hundred.
	for round := 1; round < 5 && !t.Failed() && len(unreached(seen, stopped)) > 0; round++ {
		rapid.Check(t, history)
	}
	t.Logf("outcomes %v, moves to %v", stopped, seen)
	for _, what := range unreached(seen, stopped) {
		t.Errorf("the model reaches no %s", what)
	}
}

// unreached are the states and outcomes that no history came to; the way back to pending is rare and has its own tests.
func unreached(seen map[campaign.State]int, stopped map[campaign.Outcome]int) []string {
	var out []string
	for _, s := range campaign.States[1:] {
		if seen[s] == 0 {
			out = append(out, string(s))
		}
	}
	for _, o := range []campaign.Outcome{campaign.Succeeded, campaign.AutoStopped, campaign.UserStopped, campaign.Expired} {
		if stopped[o] == 0 {
			out = append(out, string(o))
		}
	}
	return out
}

func newModel(rt *rapid.T) *model {
	m := &model{world: newWorld(rt), rt: rt, devices: names(5), timers: map[ident.Campaign]time.Time{},
		sent: map[string][]campaign.Report{}, last: map[key]campaign.Assignment{},
		ended: map[ident.Campaign]campaign.Campaign{}, totals: map[ident.Campaign]uint64{}}
	m.slice = rapid.IntRange(1, 4).Draw(rt, "slice")
	m.manifests = []firmware.Manifest{m.manifest("v2"), m.manifest("v3"), m.second("config")}
	m.register(m.devices...)
	m.site("north", m.devices[:2]...)
	m.site("south", m.devices[2])
	m.lose = func() loss {
		if n := rapid.IntRange(0, 30).Draw(rt, "loss"); n > 28 {
			return loss(n - 28)
		}
		return nothing
	}
	return m
}

func (m *model) act() {
	rt := m.rt
	d := rapid.SampledFrom(m.devices).Draw(rt, "device")
	switch rapid.SampledFrom([]string{"report", "report", "report", "report", "finish", "again", "hello", "hello", "time", "start", "start", "stop", "pause", "next", "registry"}).Draw(rt, "action") {
	case "report":
		m.someReport(m.atWork(d))
	case "finish":
		for _, l := range m.m.works[device(d)].Live {
			i := slices.IndexFunc(m.manifests, func(man firmware.Manifest) bool { return man.Digest == l.Manifest })
			m.report(d, m.manifests[i], "installed", func(r *campaign.Report) {
				r.Installed = []campaign.Image{{Component: l.Component, Digest: m.manifests[i].Image}}
			})
			m.restart()
		}
	case "again":
		if list := m.sent[d]; len(list) > 0 {
			r := rapid.SampledFrom(list).Draw(rt, "old")
			m.update(func(tx campaign.Tx) (campaign.Result, error) {
				return campaign.ApplyReport(tx, m.now, acme, device(d), r)
			})
		}
	case "hello":
		digests := []ident.Digest{factory, {}, m.manifests[0].Image, m.manifests[1].Image}
		m.hello(d, rapid.SampledFrom(digests).Draw(rt, "image"), rapid.Uint64Range(0, 9).Draw(rt, "boot"))
	case "time":
		m.pass()
	case "start":
		m.someCampaign()
	case "stop":
		if len(m.ids) > 0 {
			c := rapid.SampledFrom(m.ids).Draw(rt, "campaign")
			if slices.Contains(campaign.Phases[m.campaign(c).Phase], campaign.Stopping) {
				m.stop(c)
			}
		}
	case "pause":
		m.togglePause()
	case "next":
		m.someRelease()
	case "registry":
		if _, there := m.m.devices[device(d)]; there && !m.stays && rapid.Bool().Draw(rt, "remove") {
			delete(m.m.devices, device(d))
		} else {
			m.register(d)
		}
	}
	m.restart()
}

// atWork is a device that has an offer, if there is one and not always; else d.
func (m *model) atWork(d string) string {
	var list []string
	for _, o := range m.devices {
		if len(m.m.works[device(o)].Live) > 0 {
			list = append(list, o)
		}
	}
	if len(list) == 0 || rapid.IntRange(0, 3).Draw(m.rt, "anyone") == 0 {
		return d
	}
	return rapid.SampledFrom(list).Draw(m.rt, "at work")
}

func (m *model) someReport(d string) {
	rt := m.rt
	man := m.manifests[rapid.IntRange(0, 2).Draw(rt, "manifest")]
	if live := m.m.works[device(d)].Live; len(live) > 0 && rapid.IntRange(0, 3).Draw(rt, "stray") > 0 {
		man = m.m.manifests[live[0].Manifest]
	}
	word := rapid.SampledFrom([]string{"received", "deferred", "downloading", "downloaded", "installing", "rebooting",
		"installed", "installed", "failed", "rejected", "levitating"}).Draw(rt, "word")
	m.seq++
	r := campaign.Report{Seq: m.seq, Manifest: man.Digest, State: word, Boot: rapid.Uint64Range(0, 9).Draw(rt, "boot")}
	r.Permit = word == "downloaded" && rapid.IntRange(0, 3).Draw(rt, "asks") > 0
	if word == "failed" {
		r.Reason = rapid.SampledFrom([]string{"", "flash-error", "download-timeout", "battery-low"}).Draw(rt, "reason")
	}
	switch rapid.IntRange(0, 3).Draw(rt, "measured") {
	case 0:
		r.Installed = []campaign.Image{{Component: man.Component, Digest: man.Image}}
	case 1:
		r.Installed = []campaign.Image{{Component: man.Component, Digest: factory}}
	}
	if rapid.IntRange(0, 3).Draw(rt, "late") > 0 { // one in four arrives later, if at all
		m.update(func(tx campaign.Tx) (campaign.Result, error) {
			return campaign.ApplyReport(tx, m.now, acme, device(d), r)
		})
	}
	m.sent[d] = append(m.sent[d], r)
}

// pass lets time go to the next timer, or by a while.
func (m *model) pass() {
	var next time.Time
	for _, at := range m.timers {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	if next.IsZero() || rapid.IntRange(0, 3).Draw(m.rt, "jump") == 0 {
		next = m.now.Add(time.Duration(rapid.IntRange(1, 200).Draw(m.rt, "hours")) * time.Hour)
	}
	if next.After(m.now) {
		m.now = next
	}
	m.wakeTimers()
}

func (m *model) wakeTimers() {
	for c, at := range m.timers {
		if !at.After(m.now) {
			m.woken[c] = true
		}
	}
}

func (m *model) someCampaign() {
	if len(m.ids) == 6 {
		return
	}
	rt := m.rt
	p := campaign.PolicyDefaults()
	p.InFlight = rapid.IntRange(0, 3).Draw(rt, "in flight")
	p.MinSample = rapid.IntRange(1, 4).Draw(rt, "sample")
	p.SuccessPercent = float64(rapid.SampledFrom([]int{0, 50, 100}).Draw(rt, "success"))
	p.FailurePercent = float64(rapid.SampledFrom([]int{40, 100}).Draw(rt, "failure"))
	p.SilentPercent = float64(rapid.SampledFrom([]int{40, 100}).Draw(rt, "silent"))
	p.Retry.Max = rapid.IntRange(0, 2).Draw(rt, "retries")
	if rapid.Bool().Draw(rt, "permits") {
		p.Permit = campaign.PermitRule{Required: true, Label: "site", Max: rapid.IntRange(1, 2).Draw(rt, "budget"), TTL: time.Minute}
	}
	p.Poison = rapid.IntRange(1, 4).Draw(rt, "poison")
	p.Deadlines[campaign.Offered] = 2 * time.Hour
	p.Waves = []campaign.Wave{{Count: rapid.IntRange(1, 5).Draw(rt, "first")}, {Percent: 50}}
	if rapid.Bool().Draw(rt, "short") {
		p.Within = 20 * time.Hour
	}
	m.paced(&p)
	m.woken[m.orNothing(m.manifests[rapid.IntRange(0, 2).Draw(rt, "manifest")], p)] = true
}

// orNothing creates and starts a campaign whatever the crashes take, as a backend that repeats itself would.
func (m *model) orNothing(man firmware.Manifest, p campaign.Policy) ident.Campaign {
	lose := m.lose
	m.lose = nil
	defer func() { m.lose = lose }()
	c := m.create(fmt.Sprintf("c%d", len(m.ids)), man, p)
	m.ids = append(m.ids, c)
	return c
}

func (m *model) togglePause() {
	if len(m.ids) == 0 {
		return
	}
	c := m.campaign(rapid.SampledFrom(m.ids).Draw(m.rt, "campaign"))
	switch c.Phase {
	case campaign.Active:
		m.pause(c.ID)
	case campaign.Paused:
		m.resume(c.ID)
	}
}

// someRelease lets the next wave of a manual campaign open, if there is one.
func (m *model) someRelease() {
	if len(m.ids) == 0 {
		return
	}
	c := m.campaign(rapid.SampledFrom(m.ids).Draw(m.rt, "campaign"))
	if c.Policy.Manual && (c.Phase == campaign.Active || c.Phase == campaign.Paused) && c.Open < len(c.Policy.Waves)-1 {
		m.release(c.ID)
	}
}

// paced draws what of a policy says when the campaign may go on.
func (m *model) paced(p *campaign.Policy) {
	rt := m.rt
	if rapid.Bool().Draw(rt, "at once") {
		return
	}
	p.Manual = rapid.IntRange(0, 3).Draw(rt, "manual") == 0
	if rapid.Bool().Draw(rt, "soak") {
		p.Soak = 3 * time.Hour
	}
	if rapid.IntRange(0, 3).Draw(rt, "start at") == 0 {
		p.StartAt = m.now.Add(5 * time.Hour)
	}
	p.Priority = rapid.IntRange(0, 2).Draw(rt, "priority")
	if rapid.IntRange(0, 2).Draw(rt, "rated") == 0 {
		p.Rate = campaign.Rate{PerMinute: rapid.Float64Range(0.02, 0.1).Draw(rt, "rate"), Factor: 2, Every: 1, Max: 0.2}
	}
	if rapid.IntRange(0, 3).Draw(rt, "windows") == 0 {
		p.Windows = []campaign.Window{{Cron: "0 2 * * *", Duration: 4 * time.Hour, Zone: "Europe/Berlin"}, {Cron: "30 14 * * 1-5", Duration: time.Hour, Zone: "UTC"}}
	}
	p.WaveFailurePercent = float64(rapid.SampledFrom([]int{0, 60}).Draw(rt, "wave failure"))
}

// restart is what the server does at its start, if a crash came: topics as the store says, every campaign looked at.
func (m *model) restart() {
	if m.lost == nothing {
		return
	}
	m.lost = nothing
	m.topic = map[ident.Device]ident.Digest{}
	for d, work := range m.m.works {
		if l, ok := work.Shown(); ok {
			m.topic[d] = l.Manifest
		}
	}
	lose := m.lose
	m.lose = nil
	if fixed := m.sweep(); len(fixed) != 0 {
		m.rt.Fatalf("a crash left something to mend: %v", fixed)
	}
	m.lose = lose
	for _, c := range m.ids {
		m.woken[c] = true
	}
}

// settle advances those that were woken, and only those, until none wants more.
func (m *model) settle() {
	for range 3000 {
		if len(m.woken) == 0 {
			return
		}
		for _, c := range m.ids {
			if !m.woken[c] {
				continue
			}
			delete(m.woken, c)
			wake := m.guarded(c)
			if m.lost != nothing {
				m.restart()
				continue
			}
			if wake.Again {
				m.woken[c] = true
			} else if delete(m.woken, c); wake.At.IsZero() {
				delete(m.timers, c)
			} else {
				m.timers[c] = wake.At
			}
		}
	}
	m.rt.Fatalf("campaigns never rest: %v", m.woken)
}

// guarded advances c, and holds it to its thresholds: once they are passed nothing is offered, so what fails beyond them
// was in flight before.
func (m *model) guarded(c ident.Campaign) campaign.Wake {
	n, err := m.m.Counts(acme, c)
	if err != nil {
		m.rt.Fatalf("counts: %v", err)
	}
	was, moves := m.campaign(c), len(m.moves)
	wake := m.advance(c)
	if was.Phase != campaign.Active || campaign.Judge(was, n, false, m.now).Outcome == "" {
		return wake
	}
	for _, tr := range m.moves[moves:] {
		if tr.Campaign == c && tr.To == campaign.Offered {
			m.rt.Fatalf("%s was offered by %s after a threshold was passed: %+v", tr.Device, c, n)
		}
	}
	return wake
}

// finish leaves the fleet alone: every campaign must come to its end by the clock.
func (m *model) finish() {
	for _, c := range m.ids {
		m.woken[c] = true
	}
	for range 20_000 {
		m.settle()
		if !slices.ContainsFunc(m.ids, func(c ident.Campaign) bool { return m.campaign(c).Phase.Running() }) {
			m.inspect()
			if len(m.topic) != 0 {
				m.rt.Fatalf("all campaigns have stopped, and topics show %v", m.topic)
			}
			return
		}
		var next time.Time
		for _, at := range m.timers {
			if next.IsZero() || at.Before(next) {
				next = at
			}
		}
		if !next.After(m.now) {
			m.rt.Fatalf("a campaign is running and waits for nothing: timers %v", m.timers)
		}
		m.now = next
		m.wakeTimers()
	}
	m.rt.Fatalf("campaigns do not end")
}

// inspectOffers holds each campaign to its rate and its windows, over all offers that were committed.
func (m *model) inspectOffers() {
	for _, tr := range m.moves {
		if open, _ := m.campaign(tr.Campaign).Policy.InWindow(tr.At); tr.To == campaign.Offered && !open {
			m.rt.Fatalf("%s was offered by %s outside its windows at %v", tr.Device, tr.Campaign, tr.At)
		}
	}
	at := map[ident.Campaign][]time.Time{}
	for k, a := range m.m.assignments {
		for _, s := range a.Path {
			if s.State == campaign.Offered {
				at[k.c] = append(at[k.c], s.At)
			}
		}
	}
	for c, offers := range at {
		rate := m.campaign(c).Policy.Rate
		if rate.PerMinute == 0 {
			continue
		}
		slices.SortFunc(offers, time.Time.Compare)
		for i := range offers {
			for j := i + 1; j < len(offers); j++ {
				span := offers[j].Sub(offers[i]) + time.Second
				if most := int(span.Minutes()*rate.Max) + 1; j-i+1 > most {
					m.rt.Fatalf("%s offered %d devices within %v, at most %d at %g a minute", c, j-i+1, span, most, rate.Max)
				}
			}
		}
	}
}

// inspect checks every promise on the records as they stand.
func (m *model) inspect() {
	for d, work := range m.m.works {
		m.inspectWork(d, work)
	}
	for k, a := range m.m.assignments {
		m.inspectAssignment(k, a)
	}
	for _, c := range m.ids {
		m.inspectCampaign(m.campaign(c))
	}
}

func (m *model) inspectWork(d ident.Device, work campaign.Work) {
	for i, l := range work.Live {
		a := m.m.assignments[key{l.Campaign, d}]
		if !a.State.Live() || a.Manifest != l.Manifest || a.Component != l.Component {
			m.rt.Fatalf("%s: slot %v, assignment %+v", d, l, a)
		}
		if slices.ContainsFunc(work.Live[i+1:], func(o campaign.Live) bool { return o.Component == l.Component }) {
			m.rt.Fatalf("%s: two live manifests for one component: %v", d, work.Live)
		}
		if !slices.Contains(work.Recent, l) {
			m.rt.Fatalf("%s: live and not recent: %v", d, work)
		}
	}
	for _, c := range work.Waiting {
		if a := m.m.assignments[key{c, d}]; a.State != campaign.Pending || !a.Waiting {
			m.rt.Fatalf("%s: %s is in the queue, its assignment is %+v", d, c, a)
		}
	}
	shown, ok := work.Shown()
	if topic, there := m.topic[d]; ok != there || topic != shown.Manifest {
		m.rt.Fatalf("%s: topic shows %v, should show %v", d, topic, shown)
	}
}

func (m *model) inspectAssignment(k key, a campaign.Assignment) {
	work := m.m.works[k.d]
	slot := campaign.Live{Component: a.Component, Manifest: a.Manifest, Campaign: a.Campaign}
	if a.State.Live() != slices.Contains(work.Live, slot) {
		m.rt.Fatalf("%s is %s, slots %v", k.d, a.State, work.Live)
	}
	if (a.State.Live() || a.State == campaign.Retrying) == a.Due().IsZero() {
		m.rt.Fatalf("%s is %s and due %v", k.d, a.State, a.Due())
	}
	if a.State.Live() && !a.Deadline.After(m.now) {
		m.rt.Fatalf("%s is %s in %s, its deadline was %v, now is %v", k.d, a.State, m.campaign(k.c).Phase, a.Deadline, m.now)
	}
	if a.Waiting {
		busy := slices.ContainsFunc(work.Live, func(l campaign.Live) bool { return l.Component == a.Component })
		if a.State != campaign.Pending || !busy || !slices.Contains(work.Waiting, k.c) {
			m.rt.Fatalf("%s waits in state %s, busy %v, queue %v", k.d, a.State, busy, work.Waiting)
		}
	}
	if len(a.Path) == 0 || a.Path[len(a.Path)-1].State != a.State || len(a.Path) > campaign.MaxPath {
		m.rt.Fatalf("%s is %s, path %v", k.d, a.State, a.Path)
	}
	if retries := m.campaign(k.c).Policy.Retry.Max; a.Retries > retries || len(work.Failures) > campaign.MaxFailures {
		m.rt.Fatalf("%s was tried again %d times of %d, failures %v", k.d, a.Retries, retries, work.Failures)
	}
	was, ok := m.last[k]
	m.last[k] = a
	if !ok {
		return
	}
	if c := m.campaign(k.c); was.State == campaign.Pending && a.State == campaign.Offered && a.Offers == was.Offers+1 && c.Poisons(work) {
		m.rt.Fatalf("%s was offered what had failed %d times", k.d, work.Failed(c.Image))
	}
	final := []campaign.State{campaign.Failed, campaign.Rejected, campaign.Skipped, campaign.Deregistered}
	if slices.Contains(final, was.State) && was.State != a.State {
		m.rt.Fatalf("%s went from %s to %s", k.d, was.State, a.State)
	}
	if a.Offers > was.Offers && held(m.campaign(k.c)) {
		m.rt.Fatalf("%s was offered by %s after its pause or stop: %+v", k.d, k.c, a)
	}
	if a.Seq < was.Seq || a.Reports < was.Reports || a.Offers < was.Offers || a.Wave != was.Wave || a.Order != was.Order {
		m.rt.Fatalf("%s went back from %+v to %+v", k.d, was, a)
	}
}

func (m *model) inspectCampaign(c campaign.Campaign) {
	n, err := m.m.Counts(acme, c.ID)
	if err != nil {
		m.rt.Fatalf("counts: %v", err)
	}
	if c.Phase == campaign.Active || c.Phase == campaign.Stopped {
		if total, ok := m.totals[c.ID]; ok && total != n.Total() {
			m.rt.Fatalf("%s had %d assignments, has %d", c.ID, total, n.Total())
		}
		m.totals[c.ID] = n.Total()
	}
	if c.Phase == campaign.Stopped {
		if c.Outcome == "" || c.StoppedAt.IsZero() || n.Of(campaign.Pending) != 0 {
			m.rt.Fatalf("stopped: %+v, %v", c, n)
		}
		if was, ok := m.ended[c.ID]; ok && (was.Outcome != c.Outcome || was.Reason != c.Reason || was.Revision != c.Revision) {
			m.rt.Fatalf("the end of %s changed from %+v to %+v", c.ID, was, c)
		}
		m.ended[c.ID] = c
		m.inspectStops(c, n)
	}
	m.inspectPermits(c, n)
	// Nobody was forgotten: a campaign that no result and no timer woke has nothing to do now.
	if tx := m.m.clone(); c.Phase.Running() {
		writes := tx.writes
		if _, wake, err := campaign.Advance(tx, m.now, acme, c.ID, m.check, m.slice); err != nil || tx.writes != writes || wake.Again {
			m.rt.Fatalf("%s has work that nobody woke it for: wake %+v, %d writes, %v", c.ID, wake, tx.writes-writes, err)
		}
	}
}

// inspectStops holds the counts of the answers of a stop against the answers.
func (m *model) inspectStops(c campaign.Campaign, n campaign.Counts) {
	var scan campaign.StopCounts
	for k, a := range m.m.assignments {
		if k.c == c.ID {
			switch c.StopAnswer(a) {
			case campaign.StopNotStarted:
				scan.NotStarted++
			case campaign.StopInTime:
				scan.InTime++
			case campaign.StopTooLate:
				scan.TooLate++
			}
		}
	}
	if have := c.StopCounts(n); have != scan {
		m.rt.Fatalf("%s: answers counted %+v, they are %+v", c.ID, have, scan)
	}
}

// inspectPermits checks the disruption budget. Who used a permit after it had lapsed is told so by its path only, so what
// is checked is what was granted and not used yet, and that nothing is granted where nothing may be.
func (m *model) inspectPermits(c campaign.Campaign, n campaign.Counts) {
	granted := map[string]int{}
	for k, a := range m.m.assignments {
		if k.c != c.ID || a.Permit.State == "" {
			continue
		}
		if !a.State.Live() || !c.Policy.Permit.Required {
			m.rt.Fatalf("%s is %s and its permit %+v", k.d, a.State, a.Permit)
		}
		if a.State == campaign.Downloaded && a.Permit.State == campaign.PermitGranted {
			granted[a.Permit.Value]++
		}
		was := m.last[k]
		if a.Permit.State == campaign.PermitGranted && was.Permit.Until != a.Permit.Until && c.Phase != campaign.Active && c.Phase != campaign.Stopping {
			m.rt.Fatalf("%s was granted a permit while %s", k.d, c.Phase)
		}
	}
	for value, have := range granted {
		if most := c.Policy.Permit.Max; most > 0 && have > most {
			m.rt.Fatalf("%d granted for %q in %s, at most %d: %v", have, value, c.ID, most, n.Holding)
		}
	}
}
