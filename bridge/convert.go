package bridge

import (
	"fmt"
	"maps"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// The conversions between the wire's form of a fact and the domain's, one named function each way. A test walks the
// members of both sides, so that a new one can't be forgotten here.

func imagesOf(in []topics.Installed) []campaign.Image {
	var out []campaign.Image
	for _, i := range in {
		out = append(out, campaign.Image{Component: i.Component, Digest: i.Digest, Sequence: i.Sequence, Version: i.Version})
	}
	return out
}

func installedOf(in []campaign.Image) []topics.Installed {
	var out []topics.Installed
	for _, i := range in {
		out = append(out, topics.Installed{Component: i.Component, Digest: i.Digest, Sequence: i.Sequence, Version: i.Version})
	}
	return out
}

func helloOf(h topics.Hello) campaign.Hello {
	return campaign.Hello{Seq: h.Seq, Vendor: h.Vendor, Class: h.Class, Installed: imagesOf(h.Installed), Boot: h.Boot,
		MaxChunk: h.MaxChunk, Algs: h.Algs, Facts: h.Labels}
}

// reportOf leaves Receipt out: whether a device wants a receipt is no part of what it reports.
func reportOf(r topics.Report, f topics.Format) campaign.Report {
	return campaign.Report{Seq: r.Seq, Manifest: r.Manifest, State: string(r.State), Reason: string(r.Reason), Detail: r.Detail,
		Bytes: r.Progress, Installed: imagesOf(r.Installed), Boot: r.Boot, Permit: r.Permit, JSON: f == topics.JSON}
}

func selectionOf(s topics.Selection) campaign.Selection {
	return campaign.Selection{Devices: s.Devices, Labels: s.Labels, Filter: s.Filter, From: fromOf(s.From)}
}

// selectionView is what c selects by, and what came of it.
func selectionView(c campaign.Campaign) topics.Selection {
	s := c.Selection
	return topics.Selection{Devices: s.Devices, Labels: s.Labels, Filter: s.Filter, From: fromView(s.From), Unjudged: c.Unjudged, Unjudgeable: c.Unjudgeable}
}

// policyOf starts from the domain's defaults: on the wire an absent percentage is not the same as 0.
func policyOf(w topics.Policy) campaign.Policy {
	p := campaign.PolicyDefaults()
	p.Waves = nil
	for _, v := range w.Waves {
		p.Waves = append(p.Waves, campaign.Wave{Percent: v.Percent, Count: v.Count, Filter: v.Filter})
	}
	for _, v := range []struct {
		wire   *float64
		domain *float64
	}{{w.SuccessPercent, &p.SuccessPercent}, {w.FailurePercent, &p.FailurePercent}, {w.SilentPercent, &p.SilentPercent}} {
		if v.wire != nil {
			*v.domain = *v.wire
		}
	}
	p.InFlight, p.Membership = w.InFlight, campaign.Membership(w.Membership)
	if w.MinSample != 0 {
		p.MinSample = w.MinSample
	}
	if w.Within != 0 {
		p.Within = time.Duration(w.Within)
	}
	p.Retry = retryOf(w.Retry)
	if w.Poison != 0 {
		p.Poison = w.Poison
	}
	p.StopWithin, p.Permit = time.Duration(w.StopWithin), permitRuleOf(w.Permit)
	maps.Copy(p.Deadlines, deadlinesOf(w.Deadlines))
	p.Rollout = rolloutOf(w)
	p.Approval, p.Stratify = w.Approval, w.Stratify
	return p
}

func policyView(p campaign.Policy) topics.Policy {
	d := func(s campaign.State) topics.Duration { return topics.Duration(p.Deadlines[s]) }
	v := topics.Policy{
		InFlight:       p.InFlight,
		Membership:     string(p.Membership),
		SuccessPercent: &p.SuccessPercent,
		FailurePercent: &p.FailurePercent,
		SilentPercent:  &p.SilentPercent,
		MinSample:      p.MinSample,
		Deadlines: topics.Deadlines{
			Offered: d(campaign.Offered), Received: d(campaign.Received), Downloading: d(campaign.Downloading),
			Downloaded: d(campaign.Downloaded), Installing: d(campaign.Installing), Rebooting: d(campaign.Rebooting),
		},
		Within: topics.Duration(p.Within),
		Retry:  retryView(p.Retry),
		Poison: p.Poison, StopWithin: topics.Duration(p.StopWithin), Permit: permitRuleView(p.Permit),
	}
	for _, w := range p.Waves {
		v.Waves = append(v.Waves, topics.Wave{Percent: w.Percent, Count: w.Count, Filter: w.Filter})
	}
	showRollout(p.Rollout, &v)
	v.Approval, v.Stratify = p.Approval, p.Stratify
	return v
}

func deadlinesOf(d topics.Deadlines) map[campaign.State]time.Duration {
	m := map[campaign.State]time.Duration{}
	for s, v := range map[campaign.State]topics.Duration{
		campaign.Offered: d.Offered, campaign.Received: d.Received, campaign.Downloading: d.Downloading,
		campaign.Downloaded: d.Downloaded, campaign.Installing: d.Installing, campaign.Rebooting: d.Rebooting,
	} {
		if v != 0 {
			m[s] = time.Duration(v)
		}
	}
	return m
}

func campaignView(c campaign.Campaign, n campaign.Counts, now time.Time) topics.CampaignView {
	return topics.CampaignView{
		Campaign: c.ID, Description: c.Description, Manifest: c.Manifest, Payload: c.Image, Size: c.Size,
		Selection: selectionView(c), Policy: policyView(c.Policy),
		State: string(c.Phase), Step: string(c.Step), Outcome: string(c.Outcome), Reason: c.Reason,
		Revision: c.Revision, CreatedBy: c.CreatedBy, Created: c.Created, Started: c.Started, Active: c.ActiveAt,
		Stopped: c.StoppedAt, Abandoned: c.Abandoned, Progress: progressOf(c, n, now), Released: released(c), GateMet: c.MetAt,
		StartedBy: c.StartedBy, StoppedBy: c.StoppedBy, Archived: c.ArchivedAt, ArchivedBy: c.ArchivedBy,
		Plan: c.Plan, ApprovedBy: c.ApprovedBy, Approved: c.ApprovedAt, EditedBy: c.EditedBy,
	}
}

// progressOf is the progress of c at now. Waves count from 1 on the wire.
func progressOf(c campaign.Campaign, n campaign.Counts, now time.Time) topics.Progress {
	p := topics.Progress{
		Campaign: c.ID, State: string(c.Phase), Outcome: string(c.Outcome), Reason: c.Reason, Total: n.Total(),
		Counts: map[string]uint64{}, Wave: c.Open + 1, Reports: n.Reports, Revision: c.Revision, At: now.UTC(),
	}
	if s := c.StopCounts(n); s != (campaign.StopCounts{}) {
		p.Stops = &topics.StopCounts{NotStarted: s.NotStarted, Stopped: s.InTime, TooLate: s.TooLate}
	}
	for _, r := range n.Reasons.List() {
		p.Reasons = append(p.Reasons, topics.ReasonCount{State: string(r.State), Reason: r.Reason, Count: r.Count})
	}
	for _, wave := range n.Waves {
		w := topics.WaveProgress{Counts: map[string]uint64{}}
		for s, k := range wave {
			w.Counts[string(s)] = k
			w.Total += k
			p.Counts[string(s)] += k
		}
		p.Waves = append(p.Waves, w)
	}
	return p
}

func eventOf(t campaign.Transition) topics.Event {
	return topics.Event{Campaign: t.Campaign, Device: t.Device, From: string(t.From), To: string(t.To), Reason: t.Reason,
		Wave: t.Wave + 1, At: t.At.UTC()}
}

func assignmentView(c campaign.Campaign, a campaign.Assignment) topics.AssignmentView {
	v := topics.AssignmentView{
		Device: a.Device, Wave: a.Wave + 1, State: string(a.State), Reason: a.Reason, Detail: a.Detail, Waiting: a.Waiting,
		Offers: a.Offers, Bytes: a.Bytes, Seq: a.Seq, Reports: a.Reports, Updated: a.Updated, Deadline: a.Deadline,
		Retries: a.Retries, Stop: string(c.StopAnswer(a)), Permit: string(a.Permit.State),
	}
	for _, s := range a.Path {
		v.Path = append(v.Path, topics.StepView{State: string(s.State), Reason: s.Reason, Seq: s.Seq, At: s.At})
	}
	return v
}

func deviceView(d campaign.Device, w campaign.Work, connected bool) topics.DeviceView {
	v := topics.DeviceView{
		Device: d.ID, Vendor: d.Vendor, Class: d.Class, Installed: installedOf(d.Installed), Boot: d.Boot,
		Labels: d.Labels, Facts: d.Facts, Groups: d.Groups, LastSeen: d.LastSeen, Connected: connected, Created: d.Created,
	}
	for _, l := range w.Live {
		v.Live = append(v.Live, topics.LiveView{Campaign: l.Campaign, Manifest: l.Manifest, Component: l.Component})
	}
	for _, f := range w.Failures {
		v.Failures = append(v.Failures, topics.FailureView{Payload: f.Image, Count: f.Count, Last: f.Last})
	}
	return v
}

func manifestView(m firmware.Manifest) topics.ManifestView {
	v := topics.ManifestView{
		Digest: m.Digest, Sequence: m.Sequence, Vendor: m.Vendor, Class: m.Class, Component: m.Component,
		Payload: m.Image, Size: m.Size, URI: m.URI(), Version: m.Version, Created: m.Created,
	}
	for _, f := range m.Fetches {
		v.Fetches = append(v.Fetches, topics.FetchView{Role: string(f.Role), Payload: f.Digest, Size: f.Size, URI: f.URI, Precursor: f.Precursor})
	}
	for _, k := range m.Keys {
		v.Keys = append(v.Keys, fmt.Sprintf("%s (%s)", k.Key, k.Alg))
	}
	return v
}

func payloadView(p firmware.Payload) topics.PayloadView {
	return topics.PayloadView{Digest: p.Digest, Size: p.Size, Name: p.Name, Created: p.Created}
}

func tenantView(t campaign.Tenant) topics.TenantView {
	return topics.TenantView{Tenant: t.ID, Name: t.Name, Created: t.Created}
}

func credentialView(t ident.Tenant, c campaign.Credential) topics.CredentialView {
	return topics.CredentialView{User: userName(t, c.Name), Role: topics.Role(c.Role), Created: c.Created,
		Revoked: !c.Revoked.IsZero()}
}

// userName is the user name of CONNECT.
func userName(t ident.Tenant, n ident.Name) string { return t.String() + "/" + n.String() }
