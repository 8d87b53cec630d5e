package campaign_test

import (
	"errors"
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// people are those who give commands.
var people = []string{"ann", "bob", "eve"}

func (m *model) someone() string { return rapid.SampledFrom(people).Draw(m.rt, "who") }

func (m *model) deviceIDs(names []string) (out []ident.Device) {
	for _, n := range names {
		out = append(out, device(n))
	}
	return out
}

// someStart starts a draft, or makes a new campaign and starts it.
func (m *model) someStart() {
	c, ok := m.one(campaign.Draft)
	if !ok || rapid.Bool().Draw(m.rt, "a new one") {
		m.someCampaign()
		return
	}
	m.surely(func() {
		if rapid.Bool().Draw(m.rt, "edit") {
			m.edit(c.ID)
		}
		m.startSome(c.ID)
	})
}

// someCampaign makes a campaign and starts it.
func (m *model) someCampaign() {
	if len(m.ids) == 6 || m.made == 10 {
		return
	}
	m.surely(func() {
		p := m.somePolicy()
		s := campaign.Spec{ID: campaignID(fmt.Sprintf("c%d", m.made)), Policy: p, By: m.someone(), Seed: [16]byte{byte(m.made)},
			Manifest: m.manifests[rapid.IntRange(0, 2).Draw(m.rt, "manifest")].Digest}
		s.Selection = m.someSelection(&s.Policy)
		m.made++
		m.parts[s.ID] = &part{hands: []string{s.By}, retries: map[ident.Device]int{}}
		m.update(func(tx campaign.Tx) (campaign.Result, error) {
			_, err := campaign.Create(tx, m.now, acme, s)
			return campaign.Result{}, err
		})
		m.ids = append(m.ids, s.ID)
		m.startSome(s.ID)
	})
}

// edit changes the draft's sample.
func (m *model) edit(c ident.Campaign) {
	who := m.someone()
	p := m.campaign(c).Policy
	p.MinSample = rapid.IntRange(1, 4).Draw(m.rt, "new sample")
	m.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.Update(tx, acme, c, 0, campaign.Change{Policy: &p, By: who})
		return res, err
	})
	m.parts[c].hands = append(m.parts[c].hands, who)
}

// startSome starts a draft, with a plan where the policy wants an approval, and sometimes without need.
func (m *model) startSome(c ident.Campaign) {
	who, p := m.someone(), m.parts[c]
	p.planned, p.digest = nil, ident.Digest{}
	if m.campaign(c).Policy.Approval || rapid.IntRange(0, 3).Draw(m.rt, "planned") == 0 {
		plan := m.plan(c)
		if p.digest = plan.Digest; plan.Refused == "" {
			p.planned = map[ident.Device]int{}
		}
		for _, d := range plan.Page(campaign.Place{}, 1000) {
			p.planned[d.Device] = d.Wave
		}
	}
	full := m.full()
	_, err := m.attempt(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.StartPlanned(tx, m.now, acme, c, 0, who, p.digest)
		return res, err
	})
	switch invalid, _ := errors.AsType[*campaign.InvalidError](err); {
	case errors.Is(err, campaign.ErrQuota) == full && (err == nil || full):
	case invalid != nil && m.campaign(c).Policy.Approval && p.digest.IsZero():
	default:
		m.rt.Fatalf("start of %s: %v; as many run as may: %v", c, err, full)
	}
	m.reached("one campaign too many", full)
	if err == nil {
		p.starter = who
	}
}

// full says whether as many campaigns run as the quota allows.
func (m *model) full() bool {
	running := 0
	for _, c := range m.m.campaigns {
		if c.Phase != campaign.Draft && c.Phase != campaign.AwaitingApproval && c.Phase != campaign.Stopped && c.Phase != campaign.Archived {
			running++
		}
	}
	return m.m.quota.Campaigns > 0 && running >= m.m.quota.Campaigns
}

// someApproval approves or rejects, sometimes as somebody who may not, or a plan that is not the one.
func (m *model) someApproval() {
	c, ok := m.one(campaign.AwaitingApproval)
	if !ok {
		return
	}
	who, p, digest := m.someone(), m.parts[c.ID], c.Plan
	if rapid.IntRange(0, 4).Draw(m.rt, "reject") == 0 {
		m.surely(func() {
			m.update(func(tx campaign.Tx) (campaign.Result, error) {
				_, res, err := campaign.Reject(tx, acme, c.ID, 0, who, "")
				return res, err
			})
		})
		m.reached("rejection", true)
		return
	}
	if rapid.IntRange(0, 4).Draw(m.rt, "another plan") == 0 {
		digest = ident.SumDigest([]byte("another plan"))
	}
	var want error
	switch {
	case slices.Contains(p.hands, who) || p.starter == who:
		want = campaign.ErrOwnCampaign
	case digest != p.digest:
		want = campaign.ErrPlanChanged
	case m.full():
		want = campaign.ErrQuota
	}
	m.surely(func() {
		_, err := m.attempt(func(tx campaign.Tx) (campaign.Result, error) {
			_, res, err := campaign.Approve(tx, m.now, acme, c.ID, 0, who, digest)
			return res, err
		})
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			m.rt.Fatalf("%s approves %s, made by %v and started by %s: %v, want %v", who, c.ID, p.hands, p.starter, err, want)
		}
		if err == nil {
			p.approved = who
		}
	})
	m.reached("approval", want == nil)
	m.reached("approval by somebody who may not", errors.Is(want, campaign.ErrOwnCampaign))
	m.reached("approval of another plan", errors.Is(want, campaign.ErrPlanChanged))
}

func (m *model) togglePause() {
	c, ok := m.one(campaign.Active, campaign.Paused)
	if !ok {
		return
	}
	if c.Phase == campaign.Active {
		m.pause(c.ID)
	} else {
		m.resume(c.ID)
	}
}

// someRelease lets the next wave of a manual campaign open, if there is one.
func (m *model) someRelease() {
	for _, id := range m.ids {
		c := m.campaign(id)
		running := c.Phase == campaign.Active || c.Phase == campaign.Paused
		if running && c.Policy.Manual && c.Open < len(c.Policy.Waves)-1 {
			m.surely(func() { m.release(id) })
			m.parts[id].released = c.Open + 1
		}
	}
}

// someQuota changes what the tenant may have.
func (m *model) someQuota() {
	most := rapid.SampledFrom([]int{0, 0, 3, 4}).Draw(m.rt, "campaigns")
	change := campaign.QuotaChange{Grant: rapid.SampledFrom([]int64{0, -3, 1, 5, 6, 12}).Draw(m.rt, "grant"), Campaigns: &most,
		Unlimited: rapid.IntRange(0, 5).Draw(m.rt, "unlimited") == 0}
	m.update(func(tx campaign.Tx) (campaign.Result, error) {
		_, res, err := campaign.SetQuota(tx, m.now, acme, change, "admin")
		return res, err
	})
}

// forgive clears the failures of a device.
func (m *model) forgive(d string) {
	if _, there := m.m.devices[device(d)]; !there {
		return
	}
	m.surely(func() {
		m.update(func(tx campaign.Tx) (campaign.Result, error) {
			_, err := campaign.ClearFailures(tx, m.now, acme, []ident.Device{device(d)}, "", ident.Digest{})
			return campaign.Result{}, err
		})
	})
	for f := range m.failures {
		if f.d == device(d) {
			delete(m.failures, f)
		}
	}
}

// tidy archives or deletes one campaign, or all that are old.
func (m *model) tidy() {
	c, ok := m.one(campaign.Draft, campaign.Stopped, campaign.Archived)
	if !ok {
		return
	}
	m.update(func(tx campaign.Tx) (res campaign.Result, err error) {
		switch {
		case c.Phase == campaign.Stopped && c.Revision%2 == 0:
			_, res, err = campaign.Archive(tx, m.now, acme, c.ID, 0, "ann")
		case c.Phase == campaign.Stopped && c.Revision%3 == 0:
			res, _, err = campaign.Retain(tx, m.now, acme, campaign.Retention{ArchiveAfter: 1, DeleteAfter: 100 * 24 * 3600 * 1e9}, 10)
		default:
			_, res, err = campaign.Delete(tx, acme, c.ID, 0)
		}
		return res, err
	})
}
