package bridge_test

import (
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/topics"
)

// TestPlanIsPagedApprovedAndHeldTo: the pages list each device once, a start with another plan is refused, and so is the
// approval of who started it.
func TestPlanIsPagedApprovedAndHeldTo(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(7)
	id := campaignID("c1")
	f.ok("campaign", "create", topics.CampaignCreate{Campaign: id, Manifest: m.Digest,
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
	if p := f.do(command{p: boss, noun: "campaign", verb: "approve"}, yes, &v); p != nil {
		t.Fatalf("approve: %v", p)
	}
	if v.ApprovedBy != "boss" || v.Approved.IsZero() {
		t.Errorf("approved: %+v", v)
	}
	f.offered("dev-003", 0)
	f.fails(topics.ProblemWrongPhase, "campaign", "plan", topics.CampaignPlan{Campaign: id})
	f.fails(topics.ProblemCampaignNotFound, "campaign", "plan", topics.CampaignPlan{Campaign: campaignID("none")})
	f.fails(topics.ProblemInvalidRequest, "campaign", "plan", topics.CampaignPlan{Campaign: id, Page: topics.Page{Cursor: "x"}})
}
