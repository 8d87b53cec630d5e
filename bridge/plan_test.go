package bridge_test

import (
	"strings"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// TestPlanIsPagedApprovedAndHeldTo: the pages list each device once, a start with another plan is refused, and so is the
// approval of who started it.
func TestPlanIsPagedApprovedAndHeldTo(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(7)
	id := campaignID("c1")
	f.ok("campaign", "create", topics.CampaignCreate{Campaign: id, Manifest: m.Digest, Selection: topics.Selection{Filter: `labels.hold != "yes"`},
		Policy: topics.Policy{Waves: []topics.Wave{{Filter: `id == "dev-003"`}, {Count: 2}, {Percent: 100}}, Approval: true}}, nil)
	req := topics.CampaignPlan{Page: topics.Page{Limit: 3}, Campaign: id}
	var first topics.PlanView
	seen, sizes := map[string]bool{}, map[int]int{}
	for pages := 1; ; pages++ {
		var v topics.PlanView
		f.ok("campaign", "plan", req, &v)
		if pages == 1 {
			first = v
		}
		for _, d := range v.Items {
			seen[d.Device.String()] = true
			sizes[d.Wave]++
		}
		req.Plan, req.Cursor = v.Plan, v.Next
		if v.Next == "" {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
	}
	if len(seen) != 7 || sizes[1] != 1 || sizes[2] != 2 || sizes[3] != 4 || first.Devices != 7 || first.Items[0].Device != device("dev-003") ||
		first.Bytes != 7*m.Size || len(first.Waves) != 3 {
		t.Errorf("seen %v, waves %v, plan %+v", seen, sizes, first)
	}
	begin := topics.CampaignStart{CampaignRef: topics.CampaignRef{Campaign: id}, IfPlan: m.Digest}
	f.fails(topics.ProblemPlanChanged, "campaign", "start", begin)
	begin.IfPlan = first.Plan
	var v topics.CampaignView
	f.ok("campaign", "start", begin, &v)
	if v.State != string(campaign.AwaitingApproval) || v.Plan != first.Plan {
		t.Fatalf("started: %+v", v)
	}
	yes := topics.CampaignApprove{Campaign: id, Plan: first.Plan}
	f.fails(topics.ProblemNotAllowed, "campaign", "approve", yes)
	f.ok("campaign", "reject", topics.CampaignRef{Campaign: id, Reason: "not yet"}, nil)
	f.ok("campaign", "start", topics.CampaignRef{Campaign: id}, nil) // a policy that wants an approval has a plan made
	boss := topics.Principal{Tenant: operator.Tenant, Role: topics.RoleOperator, Name: name("boss")}
	six := []ident.Device{device("dev-006")}
	f.ok("device", "label", topics.DeviceLabel{Devices: six, Set: map[string]string{"hold": "yes"}}, nil)
	if p := f.do(command{p: boss, noun: "campaign", verb: "approve"}, yes, nil); p == nil || p.Type != topics.ProblemPlanChanged {
		t.Fatalf("approved a plan that is out of date: %v", p)
	}
	f.ok("device", "label", topics.DeviceLabel{Devices: six, Unset: []string{"hold"}}, nil)
	if p := f.do(command{p: boss, noun: "campaign", verb: "approve"}, yes, &v); p != nil {
		t.Fatalf("approve: %v", p)
	}
	if v.ApprovedBy != "boss" || v.Approved.IsZero() {
		t.Errorf("approved: %+v", v)
	}
	f.offered("dev-003", 0)
	f.ok("campaign", "pause", topics.CampaignRef{Campaign: id, Reason: "lunch"}, nil)
	f.ok("campaign", "resume", topics.CampaignRef{Campaign: id}, nil)
	f.reportTells(id, map[string]topics.ActionView{
		"created": {By: "ops"}, "started": {By: "ops", Detail: "plan " + first.Plan.String()}, "rejected": {By: "ops", Detail: "not yet"},
		"approved": {By: "boss", Detail: "plan " + first.Plan.String()}, "active": {}, "paused": {By: "ops", Detail: "lunch"}, "resumed": {By: "ops"},
	})
	f.fails(topics.ProblemWrongPhase, "campaign", "plan", topics.CampaignPlan{Campaign: id})
	f.fails(topics.ProblemCampaignNotFound, "campaign", "plan", topics.CampaignPlan{Campaign: campaignID("none")})
	f.fails(topics.ProblemInvalidRequest, "campaign", "plan", topics.CampaignPlan{Campaign: id, Page: topics.Page{Cursor: "x"}})
}

// reportTells holds the actions of a campaign's report, in both formats, against what must be in it.
func (f *fixture) reportTells(id ident.Campaign, want map[string]topics.ActionView) {
	f.t.Helper()
	var page, rows topics.CampaignReportPage
	f.ok("campaign", "report", topics.CampaignReport{Campaign: id}, &page)
	f.ok("campaign", "report", topics.CampaignReport{Campaign: id, Format: topics.ReportCSV}, &rows)
	found := map[string]topics.ActionView{}
	for i, a := range page.Actions {
		if i > 0 && a.At.Before(page.Actions[i-1].At) {
			f.t.Errorf("%s is out of order", a.Action)
		}
		found[a.Action] = a
	}
	for name, w := range want {
		a, ok := found[name]
		if !ok || a.By != w.By || a.Detail != w.Detail || a.At.IsZero() {
			f.t.Errorf("%s: %+v, want %+v", name, a, w)
		}
		if line := "," + name + "," + w.Detail + ","; !strings.Contains(rows.CSV, line) {
			f.t.Errorf("no row of %s in\n%s", name, rows.CSV)
		}
	}
}

// TestActionsAreBounded: a campaign that was paused a thousand times has a report, and one of a name that was used before
// tells of its own life only.
func TestActionsAreBounded(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(1)
	f.launch("c1", m.Digest, topics.Policy{})
	f.offered("dev-000", 0)
	for range 120 {
		f.ok("campaign", "pause", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
		f.ok("campaign", "resume", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
	}
	var page topics.CampaignReportPage
	f.ok("campaign", "report", topics.CampaignReport{Campaign: campaignID("c1")}, &page)
	if n := len(page.Actions); n != 201 || page.Actions[n-1].Action != "more" {
		t.Errorf("%d actions", n)
	}
	f.ok("campaign", "stop", topics.CampaignRef{Campaign: campaignID("c1"), Reason: "enough"}, nil)
	f.progress("c1", "end", func(p topics.Progress) bool { return p.State == "stopped" })
	f.ok("campaign", "delete", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
	f.link.await(t, "empty progress", 0, func(m link.Message) bool {
		return m.Topic == topics.ProgressTopic(acme, campaignID("c1")) && len(m.Payload) == 0 && m.Retain
	})
	f.launch("c1", m.Digest, topics.Policy{})
	f.ok("campaign", "report", topics.CampaignReport{Campaign: campaignID("c1")}, &page)
	if n := len(page.Actions); n > 10 || page.Actions[0].Action != "created" {
		t.Errorf("%d actions of a new campaign: %+v", n, page.Actions)
	}
}
