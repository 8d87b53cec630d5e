package bridge_test

import (
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/link"
	"fleetbridge/topics"
)

func TestPauseResumeAndNext(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(2)
	ref := topics.CampaignRef{Campaign: campaignID("c1")}
	f.launch("c1", m.Digest, topics.Policy{Waves: []topics.Wave{{Count: 1}, {Count: 1}}, Manual: true})
	first := f.firstOffer()
	var v topics.CampaignView
	f.ok("campaign", "pause", topics.CampaignRef{Campaign: ref.Campaign, Reason: "lunch"}, &v)
	if v.State != string(campaign.Paused) || v.Reason != "paused by ops: lunch" || v.Released != 1 {
		t.Errorf("paused: %+v", v)
	}
	f.fails(topics.ProblemWrongPhase, "campaign", "pause", ref)
	f.update(first, m, 2)
	v = topics.CampaignView{}
	f.ok("campaign", "resume", ref, &v)
	if v.State != string(campaign.Active) || v.Reason != "" {
		t.Errorf("resumed: %+v", v)
	}
	f.ok("campaign", "next", ref, &v)
	if v.Released != 2 {
		t.Errorf("released: %+v", v)
	}
	second := map[string]string{"dev-000": "dev-001", "dev-001": "dev-000"}[first]
	f.offered(second, 0)
	f.fails(topics.ProblemWrongPhase, "campaign", "resume", ref)
	f.update(second, m, 2)
	if p := f.progress("c1", "end of the campaign", stopped); p.Outcome != string(campaign.Succeeded) {
		t.Errorf("progress at the end: %+v", p)
	}
	f.fails(topics.ProblemWrongPhase, "campaign", "next", ref)
}

func TestStartTimeIsKept(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(1)
	f.launch("c1", m.Digest, topics.Policy{StartAt: time.Now().Add(time.Hour)})
	var v topics.CampaignView
	ref := topics.CampaignRef{Campaign: campaignID("c1")}
	f.ok("campaign", "get", ref, &v)
	if v.State != string(campaign.Scheduled) {
		t.Errorf("state %s before the start time", v.State)
	}
	f.ok("campaign", "stop", ref, nil)
	if p := f.progress("c1", "end of the campaign", stopped); p.Outcome != string(campaign.UserStopped) || p.Total != 0 {
		t.Errorf("progress at the end: %+v", p)
	}
	f.ok("campaign", "create", topics.CampaignCreate{Campaign: campaignID("c2"), Manifest: m.Digest,
		Policy: topics.Policy{EndAt: time.Now().Add(-time.Hour)}}, nil)
	p := f.fails(topics.ProblemInvalidRequest, "campaign", "start", topics.CampaignRef{Campaign: campaignID("c2")})
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "/policy/end_at" {
		t.Errorf("problem %+v", p)
	}
}

// firstOffer waits for the first manifest that is published, and says whose it is.
func (f *fixture) firstOffer() string {
	f.t.Helper()
	msg, _ := f.link.await(f.t, "manifest", 0, func(m link.Message) bool { return len(m.Payload) > 0 && isManifest(m.Topic) })
	return must(topics.Parse(msg.Topic)).Device.String()
}

// TestRateOutlivesARestart: what was offered before the end of a process is paid for after it.
func TestRateOutlivesARestart(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(3)
	f.launch("c1", m.Digest, topics.Policy{Rate: topics.Rate{PerMinute: 0.01}})
	first := f.firstOffer()
	f.stop()
	f.run()
	f.update(first, m, 2)
	f.progress("c1", "the proof of the first device", func(p topics.Progress) bool { return p.Counts["confirmed"] == 1 })
	f.ok("campaign", "stop", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
	f.progress("c1", "end of the campaign", stopped)
	var list topics.List[topics.AssignmentView]
	f.ok("campaign", "devices", topics.CampaignDevices{Campaign: campaignID("c1")}, &list)
	offers := 0
	for _, a := range list.Items {
		offers += a.Offers
	}
	if len(list.Items) != 3 || offers != 1 {
		t.Errorf("%d offers to %d devices within a moment, at most one in 100 minutes: %+v", offers, len(list.Items), list.Items)
	}
}
