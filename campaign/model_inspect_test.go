package campaign_test

import (
	"slices"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

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
	m.inspectQuota()
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
	for _, l := range work.Recent {
		if _, there := m.m.campaigns[l.Campaign]; !there {
			m.rt.Fatalf("%s remembers %s, which was deleted", d, l.Campaign)
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
	m.inspectDeadline(k, a)
	if a.Waiting {
		busy := slices.ContainsFunc(work.Live, func(l campaign.Live) bool { return l.Component == a.Component })
		if a.State != campaign.Pending || !busy || !slices.Contains(work.Waiting, k.c) {
			m.rt.Fatalf("%s waits in state %s, busy %v, queue %v", k.d, a.State, busy, work.Waiting)
		}
	}
	if len(a.Path) == 0 || a.Path[len(a.Path)-1].State != a.State || len(a.Path) > campaign.MaxPath {
		m.rt.Fatalf("%s is %s, path %v", k.d, a.State, a.Path)
	}
	m.inspectPermits(k, a)
	was, ok := m.last[k]
	m.last[k] = a
	if !ok {
		return
	}
	final := []campaign.State{campaign.Failed, campaign.Rejected, campaign.Skipped, campaign.Deregistered}
	if slices.Contains(final, was.State) && was.State != a.State {
		m.rt.Fatalf("%s went from %s to %s", k.d, was.State, a.State)
	}
	if a.Seq < was.Seq || a.Reports < was.Reports || a.Offers < was.Offers || a.Wave != was.Wave || a.Order != was.Order {
		m.rt.Fatalf("%s went back from %+v to %+v", k.d, was, a)
	}
}

func (m *model) inspectCampaign(c campaign.Campaign) {
	p := m.parts[c.ID]
	n, err := m.m.Counts(acme, c.ID)
	if err != nil {
		m.rt.Fatalf("counts: %v", err)
	}
	if c.Phase == campaign.Active || c.Phase == campaign.Stopped {
		had, grows := p.total, c.Policy.Membership == campaign.Continuous && p.end.Outcome == ""
		if had != 0 && (n.Total() < had || n.Total() > had && !grows) {
			m.rt.Fatalf("%s had %d assignments, has %d", c.ID, had, n.Total())
		}
		m.reached("late member", had != 0 && n.Total() > had)
		p.total = n.Total()
	}
	if c.Phase == campaign.Stopped {
		if c.Outcome == "" || c.StoppedAt.IsZero() || n.Of(campaign.Pending) != 0 {
			m.rt.Fatalf("stopped: %+v, %v", c, n)
		}
		if was := p.end; was.Outcome != "" && (was.Outcome != c.Outcome || was.Reason != c.Reason || was.Revision != c.Revision) {
			m.rt.Fatalf("the end of %s changed from %+v to %+v", c.ID, was, c)
		}
		p.end = c
		m.inspectStops(c, n)
	}
	// Nobody was forgotten: a campaign that no result and no timer woke has nothing to do now.
	if tx := m.m.clone(); c.Phase.Running() {
		writes := tx.writes
		if _, wake, err := campaign.Advance(tx, m.now, acme, c.ID, m.outside(), m.slice); err != nil || tx.writes != writes || wake.Again {
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

// inspectDeadline: what is live runs, and has not overstayed the time that its policy gives it since the device's last word.
func (m *model) inspectDeadline(k key, a campaign.Assignment) {
	if !slices.Contains(live, a.State) {
		return
	}
	c, since := m.campaign(k.c), a.Updated
	if a.State == campaign.Offered { // an offer that is repeated gives nobody more time
		since = a.Path[len(a.Path)-1].At
	}
	if end := since.Add(c.Policy.Deadlines[a.State]); !m.now.Before(end) || !c.Phase.Running() {
		m.rt.Fatalf("%s is %s in %s, which is %s; its deadline was %v, now is %v", k.d, a.State, k.c, c.Phase, end, m.now)
	}
}
