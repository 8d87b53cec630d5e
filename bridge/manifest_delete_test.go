package bridge_test

import (
	"strings"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// TestManifestDelete: a manifest stays as long as a campaign needs it, whatever the campaign's state, and goes once it has
// ended; what is told of the campaign stays, a retry is refused, and the payload may go too.
func TestManifestDelete(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	gone := topics.ManifestDelete{Digest: m.Digest}
	for _, by := range []topics.Principal{viewer, admin} {
		if p := f.do(command{p: by, noun: "manifest", verb: "delete"}, gone, nil); p == nil || p.Type != topics.ProblemNotAllowed {
			t.Errorf("%s: %v", by, p)
		}
	}
	if p := f.do(command{p: stranger, noun: "manifest", verb: "delete"}, gone, nil); p == nil || p.Type != topics.ProblemManifestNotFound {
		t.Errorf("another tenant: %v", p)
	}
	f.fleet(2)
	refused := func(state string) {
		t.Helper()
		if p := f.fails(topics.ProblemManifestInUse, "manifest", "delete", gone); p.Status != 409 || !strings.Contains(p.Detail, "campaign c1, which is "+state) {
			t.Errorf("%s: %+v", state, p)
		}
		if v := f.check(); len(v.Faults) != 0 || v.Manifests != 1 {
			t.Errorf("%s: check %+v", state, v)
		}
	}
	f.ok("campaign", "create", topics.CampaignCreate{Campaign: campaignID("c1"), Manifest: m.Digest}, nil)
	refused("draft")
	f.ok("campaign", "start", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
	f.offered("dev-000", 0)
	f.report("dev-000", topics.Report{Seq: 2, Manifest: m.Digest, State: topics.WordFailed, Reason: topics.ReasonFlashError})
	refused("active")
	f.ok("campaign", "pause", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
	refused("paused")
	f.ok("campaign", "stop", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
	f.progress("c1", "its end", stopped)
	f.fails(topics.ProblemPayloadInUse, "payload", "delete", topics.PayloadRef{Digest: m.Payload})

	var v topics.ManifestView
	key := command{p: operator, noun: "manifest", verb: "delete", key: "once"}
	for range 2 { // the second is answered by the stored reply
		if p := f.do(key, gone, &v); p != nil || v.Digest != m.Digest {
			t.Fatalf("%v, %+v", p, v)
		}
	}
	f.fails(topics.ProblemManifestNotFound, "manifest", "delete", gone)
	f.fails(topics.ProblemManifestNotFound, "manifest", "get", topics.ManifestGet{Digest: m.Digest})
	f.fails(topics.ProblemManifestNotFound, "campaign", "create", topics.CampaignCreate{Campaign: campaignID("c2"), Manifest: m.Digest})
	f.fails(topics.ProblemManifestNotFound, "campaign", "retry", topics.CampaignRetry{Campaign: campaignID("c1"), New: campaignID("c3"), States: []string{"failed"}})
	f.told(m.Digest, "stopped")
	f.ok("campaign", "archive", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
	f.told(m.Digest, "archived")
	if got := f.topic(topics.ManifestTopic(acme, device("dev-001"))); got != nil {
		t.Errorf("a manifest topic holds %x", got)
	}
	f.ok("payload", "delete", topics.PayloadRef{Digest: m.Payload}, nil)
	if v := f.check(); len(v.Faults) != 0 || v.Manifests != 0 {
		t.Errorf("check: %+v", v)
	}
	var log topics.List[topics.AuditView]
	f.ok("audit", "list", topics.AuditList{}, &log)
	n := 0
	for _, e := range log.Items {
		if e.Command == "manifest/delete" && e.Object == "manifest/"+m.Digest.String() && e.Outcome == "done" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the audit log has the deletion %d times", n)
	}
}

// told asks whatever tells of campaign c1, whose manifest is gone.
func (f *fixture) told(m ident.Digest, state string) {
	f.t.Helper()
	c := campaignID("c1")
	if v := f.campaign("c1"); v.Manifest != m || v.State != state {
		f.t.Errorf("campaign %+v", v)
	}
	var report topics.CampaignReportPage
	f.ok("campaign", "report", topics.CampaignReport{Campaign: c}, &report)
	var list topics.List[topics.AssignmentView]
	f.ok("campaign", "devices", topics.CampaignDevices{Campaign: c}, &list)
	if len(list.Items) != 2 {
		f.t.Errorf("assignments %+v", list.Items)
	}
	var why topics.DeviceAnswer
	f.ok("device", "why", topics.DeviceWhy{Device: device("dev-000"), Campaign: c}, &why)
	f.ok("campaign", "events", topics.CampaignEvents{Campaign: c}, nil)
}

// TestManifestComesBack: the sequence floor outlives the manifest. The same one may come back; one with its number, or a
// lower one, may not.
func TestManifestComesBack(t *testing.T) {
	f := start(t, nil)
	f.trust(operator)
	data, more := []byte("new firmware"), []byte("more firmware")
	d, other := f.upload(operator, data), f.upload(operator, more)
	req := topics.ManifestCreate{Envelope: f.envelope(d, len(data), 7)}
	var m topics.ManifestView
	f.ok("manifest", "create", req, &m)
	f.ok("manifest", "delete", topics.ManifestDelete{Digest: m.Digest}, nil)
	f.fails(topics.ProblemSequenceTaken, "manifest", "create", topics.ManifestCreate{Envelope: f.envelope(other, len(more), 7)})
	f.fails(topics.ProblemSequenceNotNewer, "manifest", "create", topics.ManifestCreate{Envelope: f.envelope(other, len(more), 6)})
	f.ok("manifest", "create", req, nil)
	f.ok("campaign", "create", topics.CampaignCreate{Campaign: campaignID("c1"), Manifest: m.Digest}, nil)
	f.ok("manifest", "create", topics.ManifestCreate{Envelope: f.envelope(other, len(more), 8)}, nil)
	f.ok("campaign", "delete", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
	f.ok("manifest", "delete", topics.ManifestDelete{Digest: m.Digest}, nil) // a draft that is being deleted needs nothing
	f.fails(topics.ProblemSequenceNotNewer, "manifest", "create", req)
}

// TestManifestDeleteMovesWithTheDraft: a draft that takes another manifest lets go of the first.
func TestManifestDeleteMovesWithTheDraft(t *testing.T) {
	f := start(t, nil)
	f.anchors()
	first, second := f.pushed("one image", "a", "author"), f.pushed("two image", "b", "author")
	f.ok("campaign", "create", topics.CampaignCreate{Campaign: campaignID("c1"), Manifest: first.Digest}, nil)
	f.ok("campaign", "update", topics.CampaignUpdate{Campaign: campaignID("c1"), Manifest: second.Digest}, nil)
	f.fails(topics.ProblemManifestInUse, "manifest", "delete", topics.ManifestDelete{Digest: second.Digest})
	f.ok("manifest", "delete", topics.ManifestDelete{Digest: first.Digest}, nil)
}

// TestSlotOutlivesTheManifest: a stop may pass over a device's slot. Once the manifest is gone too, the device's topic is
// empty and nothing is served for it; neither is an error that a connection would end with.
func TestSlotOutlivesTheManifest(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(1)
	f.launch("c1", m.Digest, topics.Policy{})
	f.offered("dev-000", 0)
	var left campaign.Work
	f.edit(func(tx campaign.Tx) (err error) { left, err = tx.Work(acme, device("dev-000")); return err })
	f.ok("campaign", "stop", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
	f.progress("c1", "its end", stopped)
	f.edit(func(tx campaign.Tx) error { return tx.PutWork(acme, device("dev-000"), left) })
	f.ok("manifest", "delete", topics.ManifestDelete{Digest: m.Digest}, nil)
	if got := f.topic(topics.ManifestTopic(acme, device("dev-000"))); got != nil {
		t.Errorf("the topic holds %x", got)
	}
	if _, _, err := f.bridge.Payloads().Open(t.Context(), deviceOf(acme, "dev-000"), m.Payload); problemType(err) != topics.ProblemFetchNotAssigned {
		t.Errorf("fetch: %v", err)
	}
}

func (f *fixture) edit(fn func(campaign.Tx) error) {
	f.t.Helper()
	if err := f.store.Update(f.t.Context(), fn); err != nil {
		f.t.Fatal(err)
	}
}
