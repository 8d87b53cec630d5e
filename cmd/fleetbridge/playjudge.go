package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/simulator"
	"fleetbridge/simulator/scenario"
	"fleetbridge/topics"
)

// judge holds every expectation against the server's word, and the server's word against the devices'.
func (p *play) judge(ctx context.Context, unmet string) (playResult, error) {
	var acked int64
	for _, g := range p.groups { // read before the server's count, which then can't be behind
		acked += g.fleet.Stats().Acknowledged
	}
	r := playResult{Passed: true}
	r.Checks = append(r.Checks, scenario.Check{Campaign: "all", What: "run", Want: "to its end", Got: cmp.Or(unmet, "to its end"), OK: unmet == ""})
	var recorded uint64
	for _, c := range p.script.Updates {
		id, err := p.campaign(c.Name)
		if err != nil {
			return r, err
		}
		v, err := campaignDo(ctx, p.cl, "get", id.String(), "")
		if err != nil {
			return r, err
		}
		recorded += v.Progress.Reports
		o, err := p.outcome(ctx, c, id, v)
		if err != nil {
			return r, err
		}
		for _, e := range p.script.Expect {
			if e.Campaign == c.Name {
				r.Checks = append(r.Checks, e.Judge(o)...)
			}
		}
		r.Checks = append(r.Checks, p.inWindows(c, v)...)
		r.Campaigns = append(r.Campaigns, v.Progress)
	}
	r.Checks = append(r.Checks, scenario.Check{Campaign: "all", What: "acknowledged reports recorded",
		Want: fmt.Sprintf("%d..", acked), Got: fmt.Sprint(recorded), OK: int64(recorded) >= acked})
	r.Checks = append(r.Checks, p.devicesAgree(r.Campaigns)...)
	for _, c := range r.Checks {
		r.Passed = r.Passed && c.OK
	}
	return r, nil
}

// devicesAgree compares what the server says is confirmed with what the devices hold, where everything went to its end:
// a device that was stopped half-way may hold what nobody counts.
func (p *play) devicesAgree(campaigns []topics.Progress) []scenario.Check {
	versions := p.script.Versions()
	last := versions[len(versions)-1]
	var want uint64
	for i, c := range p.script.Updates {
		if campaigns[i].Outcome != string(campaign.Succeeded) {
			return nil
		}
		if c.Version == last {
			want = max(want, campaigns[i].Counts[string(campaign.Confirmed)])
		}
	}
	var have uint64
	for _, g := range p.groups {
		for _, d := range g.fleet.Ledger() {
			if d.Installed.Digest == p.releases[last].Payload && d.Fault.Kind != simulator.Current {
				have++
			}
		}
	}
	return []scenario.Check{{Campaign: "all", What: "devices that hold " + last, Want: fmt.Sprint(want), Got: fmt.Sprint(have), OK: want == have}}
}

// outcome asks the server what became of c, and the devices what they went through.
func (p *play) outcome(ctx context.Context, c scenario.Campaign, id ident.Campaign, v topics.CampaignView) (scenario.Outcome, error) {
	o := scenario.Outcome{Progress: v.Progress, Answers: map[string]int{}, AtOnce: p.atOnce(c), Offers: p.offers(v.Manifest)}
	var err error
	if o.Reasons, err = reasonCounts(ctx, p.cl, id.String()); err != nil {
		return o, err
	}
	if v.Progress.Outcome == string(campaign.Succeeded) {
		return o, nil
	}
	devices := client.List[topics.AssignmentView](ctx, p.cl, "campaign", "devices",
		func(page topics.Page) any { return topics.CampaignDevices{Page: page, Campaign: id} })
	for d, err := range devices {
		if err != nil {
			return o, err
		}
		o.Answers[d.Stop]++
	}
	return o, nil
}

// atOnce is how many devices were at most between install and boot at one moment, by value of the label that c's permits
// count by.
func (p *play) atOnce(c scenario.Campaign) map[string]int {
	spans := map[string][]simulator.Span{}
	for _, g := range p.script.Groups {
		value := g.OperatorLabels[c.Policy.Permit.Label]
		for _, d := range p.groups[g.Name].fleet.Ledger() {
			spans[value] = append(spans[value], d.Down...)
		}
	}
	out := map[string]int{}
	for value, list := range spans {
		out[value] = scenario.AtOnce(list)
	}
	return out
}

// offers is the time between the first and the last device's first word on a manifest.
func (p *play) offers(manifest ident.Digest) time.Duration {
	var first, last time.Time
	for _, g := range p.groups {
		for _, d := range g.fleet.Ledger() {
			for _, m := range d.Manifests {
				if m.Manifest != manifest {
					continue
				}
				if first.IsZero() || m.First.Before(first) {
					first = m.First
				}
				if m.First.After(last) {
					last = m.First
				}
			}
		}
	}
	return last.Sub(first)
}

// windowSlack is how late a device may begin what it was allowed while its window was open.
const windowSlack = time.Second

// inWindows finds devices that began to install outside the windows of a campaign that has permits and windows.
func (p *play) inWindows(c scenario.Campaign, v topics.CampaignView) []scenario.Check {
	if !v.Policy.Permit.Required || len(p.windows[c.Name]) == 0 {
		return nil
	}
	var rollout campaign.Rollout
	for _, w := range p.windows[c.Name] {
		rollout.Windows = append(rollout.Windows, campaign.Window{Cron: w.Cron, Duration: time.Duration(w.Duration), Zone: w.Zone})
	}
	began, outside := 0, 0
	for _, g := range p.groups {
		for _, d := range g.fleet.Ledger() {
			for _, s := range d.Down {
				began++
				now, _ := rollout.InWindow(s.From)
				before, _ := rollout.InWindow(s.From.Add(-windowSlack))
				if !now && !before {
					outside++
				}
			}
		}
	}
	return []scenario.Check{{Campaign: c.Name, What: fmt.Sprintf("of %d installs begun outside the windows", began), Want: "0", Got: fmt.Sprint(outside), OK: outside == 0}}
}
