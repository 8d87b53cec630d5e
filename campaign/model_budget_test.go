package campaign_test

import (
	"slices"
	"strings"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// watchGrant is about a permit that is new: where it may be given, how many may be under way then, and
// whose turn it is.
func (m *model) watchGrant(c campaign.Campaign, after *memory, before, a campaign.Assignment) {
	m.reached("permit", true)
	if c.Phase != campaign.Active || !mayTouch(c.Policy, m.now) || !m.now.Before(c.End()) || !c.Policy.Permit.Required {
		m.rt.Fatalf("%s may install at %v, its campaign is %s: %+v", a.Device, m.now, c.Phase, c.Policy)
	}
	if a.State != campaign.Downloaded || a.Permit.Until.After(m.now.Add(c.Policy.Permit.TTL)) {
		m.rt.Fatalf("%s is %s and may install until %v, now is %v", a.Device, a.State, a.Permit.Until, m.now)
	}
	if !mayTouch(c.Policy, a.Permit.Until.Add(-1)) {
		m.rt.Fatalf("%s may install until %v, its window is shut before", a.Device, a.Permit.Until)
	}
	using := 0
	for k, o := range after.assignments {
		if k.c == c.ID && o.Permit.State == campaign.PermitGranted && o.Permit.Value == a.Permit.Value && slices.Contains(live, o.State) {
			using++
		}
	}
	if most := c.Policy.Permit.Max; most > 0 && using > most {
		m.rt.Fatalf("%d devices of %q may install in %s, at most %d", using, a.Permit.Value, c.ID, most)
	}
	m.reached("permit up to the budget", using == c.Policy.Permit.Max)
	asked := m.now
	if before.Permit.State == campaign.PermitWaiting {
		asked = before.Permit.Asked
		m.reached("permit after a wait", true)
	}
	for k, o := range after.assignments {
		waits := k.c == c.ID && o.Permit.State == campaign.PermitWaiting && !o.Permit.Asked.IsZero() && o.Permit.Asked.Before(asked)
		if waits && o.Permit.Value == a.Permit.Value && after.devices[k.d].Labels["site"] == a.Permit.Value {
			m.rt.Fatalf("%s may install in %s, and %s asked before it", a.Device, c.ID, k.d)
		}
	}
}

// holders says whether a device has a permit.
func (m *model) holders() bool {
	for _, a := range m.m.assignments {
		if a.Permit.State == campaign.PermitGranted && slices.Contains(live, a.State) {
			return true
		}
	}
	return false
}

// crowd: where a device has a permit, another one of the campaign asks for the place as well, and if
// one waits for it already, the first one finishes.
func (m *model) crowd() {
	for _, c := range m.ids {
		for _, d := range m.devices {
			k := key{c, device(d)}
			a := m.m.assignments[k]
			if a.Permit.State != campaign.PermitGranted || !slices.Contains(live, a.State) {
				continue
			}
			if m.waits(c, a.Permit.Value) {
				m.finishDevice(d)
				return
			}
			m.crowdAround(k, a.Permit.Value)
		}
	}
}

// crowdAround has the devices of k's campaign that are at work ask for k's place.
func (m *model) crowdAround(k key, value string) {
	for _, d := range m.devices {
		a, ok := m.m.assignments[key{k.c, device(d)}]
		if ok && a.Permit.State == "" && slices.Contains(live, a.State) && m.m.devices[device(d)].Labels["site"] == value {
			m.report(d, m.m.manifests[a.Manifest], "downloaded", asking)
		}
	}
}

// waits says whether a device of campaign c waits for a permit of value.
func (m *model) waits(c ident.Campaign, value string) bool {
	for k, a := range m.m.assignments {
		if k.c == c && a.Permit.State == campaign.PermitWaiting && a.Permit.Value == value {
			return true
		}
	}
	return false
}

// inspectPermits: a permit is for one install of one live assignment.
func (m *model) inspectPermits(k key, a campaign.Assignment) {
	if a.Permit.State != "" && (!slices.Contains(live, a.State) || !m.campaign(k.c).Policy.Permit.Required) {
		m.rt.Fatalf("%s is %s and its permit %+v", k.d, a.State, a.Permit)
	}
}

// watchUse: a campaign that stopped has used one of its updates for each device that said a word, and gave back the rest.
func (m *model) watchUse(was, c campaign.Campaign, after *memory) {
	if c.Reserved != 0 {
		m.rt.Fatalf("%s has stopped and holds %d updates", c.ID, c.Reserved)
	}
	if was.Reserved == 0 {
		return
	}
	words := int64(0)
	for k, a := range after.assignments {
		if k.c == c.ID && slices.ContainsFunc(a.Path, spoke) {
			words++
		}
	}
	used := int64(0)
	for _, e := range after.ledger {
		if e.Campaign == c.ID && e.Kind == campaign.LedgerUse {
			used += e.Amount
		}
	}
	if used != words {
		m.rt.Fatalf("%s used %d updates, %d devices said a word", c.ID, used, words)
	}
	m.reached("use of updates", used > 0)
}

// spoke says of a step that it is a device's word about an offer.
func spoke(s campaign.PathStep) bool {
	return s.State == campaign.Confirmed || s.State != campaign.Offered && slices.Contains(live, s.State)
}

// inspectQuota adds up the ledger, and compares it with the account and with what campaigns hold.
func (m *model) inspectQuota() {
	var free, used int64
	held := map[ident.Campaign]int64{}
	for i, e := range m.m.ledger {
		switch e.Kind {
		case campaign.LedgerGrant:
			free += e.Amount
		case campaign.LedgerReserve:
			free -= e.Amount
			held[e.Campaign] += e.Amount
		case campaign.LedgerUse:
			used += e.Amount
			held[e.Campaign] -= e.Amount
		case campaign.LedgerRelease:
			free += e.Amount
			held[e.Campaign] -= e.Amount
		}
		if e.Number != uint64(i+1) || e.Free != free {
			m.rt.Fatalf("entry %d of the ledger is %+v, free are %d", i+1, e, free)
		}
		m.reached("reservation", e.Kind == campaign.LedgerReserve)
		m.reached("release of updates", e.Kind == campaign.LedgerRelease)
	}
	var reserved int64
	for c, n := range held {
		if have := int64(m.campaign(c).Reserved); n != have || n != 0 && !m.campaign(c).Phase.Running() {
			m.rt.Fatalf("%s holds %d updates by the ledger, by its record %d, and is %s", c, n, have, m.campaign(c).Phase)
		}
		reserved += n
	}
	if q := m.m.quota; q.Free != free || int64(q.Used) != used || int64(q.Reserved) != reserved || q.Entries != uint64(len(m.m.ledger)) {
		m.rt.Fatalf("the quota is %+v, by the ledger free are %d, used %d, reserved %d", q, free, used, reserved)
	}
	for _, c := range m.ids {
		m.reached("quota refusal", m.campaign(c).Outcome == campaign.Refused && strings.HasPrefix(m.campaign(c).Reason, "quota"))
	}
}
