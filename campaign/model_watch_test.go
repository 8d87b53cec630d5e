package campaign_test

import (
	"slices"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// watch sees every commit, also those after which nothing was said, and holds it to the rules of what may happen next.
func (m *model) watch(before, after *memory) {
	for id, c := range after.campaigns {
		was, there := before.campaigns[id]
		if !there {
			continue
		}
		m.watchPhase(was, c, after)
		m.watchWave(was, c, after)
	}
	for k, a := range after.assignments {
		m.watchMoves(before.assignments[k], a) // all of them first: what failed in one campaign counts in the others
	}
	for k, a := range after.assignments {
		was := before.assignments[k]
		m.watchPoison(was, a)
		c := before.campaigns[k.c]
		if a.Offers > was.Offers {
			m.watchRepeat(c, a)
		}
		if a.State == campaign.Offered && was.State != campaign.Offered {
			m.watchOffer(c, before, after, a)
		}
		if a.Permit.State == campaign.PermitGranted && a.Permit.Until != was.Permit.Until {
			m.watchGrant(c, after, was, a)
		}
		m.reached("late member without an update", a.Unpaid)
		m.reached("late member whose update came", was.Unpaid && !a.Unpaid && a.State == campaign.Pending)
		m.reached("wait for a permit", a.Permit.State == campaign.PermitWaiting)
		m.reached("permit that lapsed", a.Permit.State == campaign.PermitLapsed)
	}
	m.watchHandOvers(before, after)
}

// watchMoves follows an assignment along its path: a commit may move it more than once.
func (m *model) watchMoves(was, a campaign.Assignment) {
	from, steps := was.State, a.Path
	if n := len(was.Path); n > 0 {
		for i, s := range slices.Backward(a.Path) {
			if s == was.Path[n-1] {
				steps = a.Path[i+1:]
				break
			}
		}
	}
	for _, s := range steps {
		if from != "" && !legal[[2]campaign.State{from, s.State}] {
			m.rt.Fatalf("%s moved from %s to %s", a.Device, from, s.State)
		}
		m.reached("state "+string(s.State), true)
		m.watchFailure(a, from, s)
		from = s.State
	}
	if from != a.State {
		m.rt.Fatalf("%s is %s, its path says %s", a.Device, a.State, from)
	}
}

// legal are the pairs of states that the table joins.
var legal = edges()

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

// numbers is a plain count of a campaign's assignments, over all of them and in each wave.
type numbers struct {
	all   map[campaign.State]int
	waves []map[campaign.State]int
	idle  int // pending in the open wave, and waits neither for another campaign nor for the quota
}

func (m *memory) numbers(c campaign.Campaign) numbers {
	n := numbers{all: map[campaign.State]int{}}
	for range c.Policy.Waves {
		n.waves = append(n.waves, map[campaign.State]int{})
	}
	for k, a := range m.assignments {
		if k.c != c.ID {
			continue
		}
		n.all[a.State]++
		n.waves[a.Wave][a.State]++
		if a.Wave == c.Open && a.State == campaign.Pending && !a.Waiting && !a.Unpaid {
			n.idle++
		}
	}
	return n
}

// live are the states in which a device has the manifest on its topic.
var live = []campaign.State{campaign.Offered, campaign.Received, campaign.Downloading, campaign.Downloaded, campaign.Installing, campaign.Rebooting}

func sum(n map[campaign.State]int, states ...campaign.State) (total int) {
	for _, s := range states {
		total += n[s]
	}
	return total
}

// passed says which threshold n has passed, "" for none.
func (n numbers) passed(p campaign.Policy) string {
	share := func(in map[campaign.State]int, failure, silent float64) string {
		bad := sum(in, campaign.Failed, campaign.Rejected, campaign.Reverted)
		done := bad + sum(in, campaign.Confirmed, campaign.Silent, campaign.Withdrawn, campaign.Deregistered)
		switch {
		case done == 0 || done < p.MinSample:
		case float64(bad) > failure/100*float64(done):
			return "failures"
		case float64(in[campaign.Silent]) > silent/100*float64(done):
			return "silence"
		}
		return ""
	}
	if what := share(n.all, p.FailurePercent, p.SilentPercent); what != "" {
		return what
	}
	for _, wave := range n.waves {
		failure, silent := p.WaveFailurePercent, p.WaveSilentPercent
		if failure == 0 {
			failure = 100
		}
		if silent == 0 {
			silent = 100
		}
		if what := share(wave, failure, silent); what != "" {
			return what + " in a wave"
		}
	}
	return ""
}

// gate says whether wave w has as many devices with the update as the policy wants.
func (n numbers) gate(p campaign.Policy, w int) bool {
	return float64(n.waves[w][campaign.Confirmed]) >= p.SuccessPercent/100*float64(sum(n.waves[w], campaign.States...)-n.waves[w][campaign.Skipped])
}

// done says whether wave w, the open one, waits for nobody but devices that can't be offered.
func (n numbers) done(w int) bool {
	return n.idle == 0 && sum(n.waves[w], live...)+n.waves[w][campaign.Retrying] == 0
}

// watchPhase holds a change of phase to what people agreed on.
func (m *model) watchPhase(was, c campaign.Campaign, after *memory) {
	p := m.parts[c.ID]
	if was.Phase == c.Phase {
		return
	}
	m.reached("phase "+string(c.Phase), true)
	switch c.Phase {
	case campaign.Draft, campaign.AwaitingApproval:
		p.approved = ""
	case campaign.Active:
		if was.Phase == campaign.Starting {
			m.watchStart(c, after)
		}
	case campaign.Stopping:
		m.reached("outcome "+string(c.Outcome), true)
		m.reached("plan that changed", c.Outcome == campaign.Refused && p.planned != nil)
		if c.Outcome == campaign.Succeeded {
			m.watchSuccess(c, after.numbers(c))
		}
	case campaign.Stopped:
		m.watchUse(was, c, after)
	}
}

// watchStart compares what runs with what was planned, device by device and wave by wave.
func (m *model) watchStart(c campaign.Campaign, after *memory) {
	p := m.parts[c.ID]
	if c.Policy.Approval {
		m.reached("approved campaign", true)
		// That the approval came from somebody else, and for this plan, was checked as it was given.
		if p.planned == nil || p.approved == "" {
			m.rt.Fatalf("%s runs, and nobody approved it", c.ID)
		}
	}
	if p.planned == nil {
		return
	}
	m.reached("planned campaign", true)
	runs := 0
	for k, a := range after.assignments {
		if k.c != c.ID || a.State == campaign.Skipped {
			continue
		}
		if wave, in := p.planned[k.d]; !in || wave != a.Wave {
			m.rt.Fatalf("%s is in wave %d of %s, planned are %v", k.d, a.Wave, c.ID, p.planned)
		}
		runs++
	}
	if runs != len(p.planned) {
		m.rt.Fatalf("%d devices run in %s, planned are %v", runs, c.ID, p.planned)
	}
}

// watchSuccess wants every gate met, no threshold passed, nobody at work, and some device with the update.
func (m *model) watchSuccess(c campaign.Campaign, n numbers) {
	for w := range n.waves {
		if !n.gate(c.Policy, w) {
			m.rt.Fatalf("%s succeeded, and wave %d has %v", c.ID, w, n.waves[w])
		}
	}
	if what := n.passed(c.Policy); what != "" || sum(n.all, campaign.Confirmed, campaign.Skipped) == 0 || sum(n.all, live...)+n.all[campaign.Pending] != 0 {
		m.rt.Fatalf("%s succeeded with %v, too many: %s", c.ID, n.all, what)
	}
}

// watchWave lets a wave open only behind the gate of the one before it, after it soaked, and with the release of people.
func (m *model) watchWave(was, c campaign.Campaign, after *memory) {
	p, n := m.parts[c.ID], after.numbers(was)
	met := was.Open < len(n.waves) && n.done(was.Open) && n.gate(c.Policy, was.Open) && (was.Phase == campaign.Active || was.Phase == campaign.Paused)
	if c.Open != was.Open {
		worked := sum(n.waves[was.Open], campaign.States...) != n.waves[was.Open][campaign.Skipped]
		switch soak := c.Policy.Soak; {
		case was.Phase != campaign.Active, c.Open != was.Open+1, !met:
			m.rt.Fatalf("%s opened wave %d while %s, wave %d has %v", c.ID, c.Open, was.Phase, was.Open, n.waves[was.Open])
		case c.Policy.Manual && p.released < c.Open:
			m.rt.Fatalf("%s opened wave %d, released is %d", c.ID, c.Open, p.released)
		case soak > 0 && worked && (p.met.IsZero() || m.now.Sub(p.met) < soak):
			m.rt.Fatalf("%s opened wave %d, its gate was met at %v, it soaks for %v, now is %v", c.ID, c.Open, p.met, soak, m.now)
		case soak > 0 && worked:
			m.reached("wave after soaking", true)
		case c.Policy.Manual:
			m.reached("wave after a release", true)
		}
		p.met = time.Time{}
		return
	}
	switch {
	case !met:
		p.met = time.Time{}
	case p.met.IsZero() || p.met.After(m.now):
		p.met = m.now
	}
}

// watchRepeat is about every offer, also one that is repeated.
func (m *model) watchRepeat(c campaign.Campaign, a campaign.Assignment) {
	if c.Phase != campaign.Active {
		m.rt.Fatalf("%s was offered by %s, which is %s", a.Device, c.ID, c.Phase)
	}
	if !mayTouch(c.Policy, m.now) {
		m.rt.Fatalf("%s was offered by %s outside its windows at %v", a.Device, c.ID, m.now)
	}
	m.reached("offer in a window", len(c.Policy.Windows) > 0)
}

// watchOffer is about offers that are new.
func (m *model) watchOffer(c campaign.Campaign, before, after *memory, a campaign.Assignment) {
	if what := before.numbers(c).passed(c.Policy); what != "" {
		m.rt.Fatalf("%s was offered by %s after too many %s", a.Device, c.ID, what)
	}
	if open := after.campaigns[c.ID].Open; a.Wave > open {
		m.rt.Fatalf("%s of wave %d was offered by %s, open is %d", a.Device, a.Wave, c.ID, open)
	}
	if most, n := c.Policy.InFlight, sum(after.numbers(c).all, live...); most > 0 && n > most {
		m.rt.Fatalf("%d devices in flight in %s, at most %d", n, c.ID, most)
	}
	if a.Unpaid {
		m.rt.Fatalf("%s was offered by %s, and no update is reserved for it", a.Device, c.ID)
	}
	if n := m.failures[failing{a.Device, a.Image}]; n >= c.Policy.Poison {
		m.rt.Fatalf("%s was offered by %s what had failed there %d times", a.Device, c.ID, n)
	}
	if end := c.End(); !m.now.Before(end) {
		m.rt.Fatalf("%s was offered by %s at %v, after its end", a.Device, c.ID, m.now)
	}
	m.watchRate(c)
}

// watchRate allows in each span of time what the rate gives for it and for one second, rounded up.
func (m *model) watchRate(c campaign.Campaign) {
	p, most := m.parts[c.ID], c.Policy.Rate.Max
	if most == 0 {
		return
	}
	m.reached("offer at a rate", true)
	p.offers = append(p.offers, m.now)
	for i, at := range p.offers {
		span := m.now.Sub(at) + time.Second
		if n := len(p.offers) - i; n > int(span.Minutes()*most)+1 {
			m.rt.Fatalf("%s offered %d devices within %v, at most %g a minute", c.ID, n, span, most)
		}
	}
}

// watchFailure counts what failed where, and how often it was tried again.
func (m *model) watchFailure(a campaign.Assignment, from campaign.State, s campaign.PathStep) {
	at := failing{a.Device, a.Image}
	switch s.State {
	case campaign.Confirmed:
		delete(m.failures, at)
	case campaign.Failed, campaign.Retrying:
		if s.Reason != "download-timeout" && s.Reason != "battery-low" {
			m.failures[at]++
		}
	}
	m.reached("retry", from == campaign.Retrying && s.State == campaign.Pending)
	if s.State != campaign.Retrying {
		return
	}
	p, policy := m.parts[a.Campaign], m.campaign(a.Campaign).Policy
	if p.retries[a.Device]++; p.retries[a.Device] > policy.Retry.Max || !slices.Contains(policy.Retry.Reasons, s.Reason) {
		m.rt.Fatalf("%s is tried again for the %d. time for %s, policy %+v", a.Device, p.retries[a.Device], s.Reason, policy.Retry)
	}
}

// watchPoison wants as many failures as the policy says behind every device that is skipped for them.
func (m *model) watchPoison(was, a campaign.Assignment) {
	if a.State == was.State || a.Reason != campaign.ReasonPoisoned {
		return
	}
	m.reached("poisoned device", true)
	if n := m.failures[failing{a.Device, a.Image}]; n < m.campaign(a.Campaign).Policy.Poison {
		m.rt.Fatalf("%s is poisoned in %s, and failed %d times", a.Device, a.Campaign, n)
	}
}

// watchHandOvers looks at devices that went from one campaign to another in one commit: none that stands before the one
// which got the device, and could have had it, may have been passed over.
func (m *model) watchHandOvers(before, after *memory) {
	for d, work := range after.works {
		for _, l := range work.Live {
			gone := slices.IndexFunc(before.works[d].Live, func(o campaign.Live) bool { return o.Component == l.Component && o.Campaign != l.Campaign })
			if gone < 0 {
				continue
			}
			got := before.campaigns[l.Campaign]
			for _, id := range before.works[d].Waiting {
				if c := before.campaigns[id]; id != got.ID && first(c, got) && m.could(c, before, after, key{id, d}, l.Component) {
					m.rt.Fatalf("%s went to %s, and %s stood before it", d, got.ID, id)
				}
			}
			m.reached("hand-over", true)
			m.reached("hand-over by priority", slices.ContainsFunc(before.works[d].Waiting, func(id ident.Campaign) bool {
				return before.campaigns[id].Policy.Priority < got.Policy.Priority
			}))
		}
	}
}

// first says whether c stands before o for a device that both want.
func first(c, o campaign.Campaign) bool {
	if c.Policy.Priority != o.Policy.Priority {
		return c.Policy.Priority > o.Policy.Priority
	}
	return c.Started.Before(o.Started)
}

// could says whether c, which waits for a device, could surely have offered it then.
func (m *model) could(c campaign.Campaign, before, after *memory, k key, component string) bool {
	a, is := before.assignments[k], after.assignments[k]
	n, d := before.numbers(c), after.devices[k.d]
	held := slices.ContainsFunc(d.Installed, func(i campaign.Image) bool {
		return i.Component == component && (i.Digest == c.Image || i.Sequence > c.Sequence)
	})
	room := c.Policy.InFlight == 0 || max(sum(n.all, live...), sum(after.numbers(c).all, live...)) < c.Policy.InFlight
	return a.Waiting && !a.Unpaid && a.Component == component && is.State == campaign.Pending && c.Phase == campaign.Active && a.Wave <= c.Open && m.now.Before(c.End()) &&
		mayTouch(c.Policy, m.now) && c.Policy.Rate == (campaign.Rate{}) && n.passed(c.Policy) == "" && room &&
		!held && d.Vendor == c.Vendor && d.Class == c.Class && m.failures[failing{k.d, c.Image}] < c.Policy.Poison
}
