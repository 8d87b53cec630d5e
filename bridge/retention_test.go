package bridge_test

import (
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// TestArchiveAndDelete: a stopped campaign is archived, then deleted with all it had; whoever watches its progress is told
// that it is gone; its audit entries stay.
func TestArchiveAndDelete(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("payload of the archive"))
	ids := f.fleet(3)
	f.launch("c", m.Digest, topics.Policy{})
	ref := topics.CampaignRef{Campaign: campaignID("c")}
	f.offered(ids[0], 0)
	f.fails(topics.ProblemWrongPhase, "campaign", "delete", ref)
	f.fails(topics.ProblemWrongPhase, "campaign", "archive", ref)
	for _, id := range ids {
		f.offered(id, 0)
		f.update(id, m, 2)
	}
	f.progress("c", "end", func(p topics.Progress) bool { return p.State == "stopped" })
	var v topics.CampaignView
	f.ok("campaign", "archive", ref, &v)
	if v.State != string(campaign.Archived) || v.ArchivedBy != operator.Name.String() || v.Archived.IsZero() || v.Progress.Counts["confirmed"] != 3 {
		t.Errorf("%+v", v)
	}
	f.ok("campaign", "delete", ref, &v)
	f.link.await(t, "empty progress", 0, func(m link.Message) bool {
		return m.Topic == topics.ProgressTopic(acme, campaignID("c")) && len(m.Payload) == 0 && m.Retain
	})
	f.fails(topics.ProblemCampaignNotFound, "campaign", "get", ref)
	f.fails(topics.ProblemCampaignNotFound, "campaign", "devices", topics.CampaignDevices{Campaign: campaignID("c")})
	var log topics.List[topics.AuditView]
	f.ok("audit", "list", topics.AuditList{Campaign: campaignID("c")}, &log)
	if n := len(log.Items); n == 0 || log.Items[n-1].Command != "engine/deleted" || log.Items[n-2].Command != "campaign/delete" {
		t.Errorf("%+v", log.Items)
	}
	if out := f.report(ids[0], topics.Report{Seq: 99, Manifest: m.Digest, State: topics.WordFailed}); !out.done {
		t.Errorf("a late report: %+v", out)
	}
}
