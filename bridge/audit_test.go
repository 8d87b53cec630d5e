package bridge_test

import (
	"slices"
	"testing"

	"fleetbridge/topics"
)

// TestMutationsAreInTheAuditLog: each command that changes something once, with who, what and the revisions; reads and
// refusals not at all; a repeat under its idempotency key neither.
func TestMutationsAreInTheAuditLog(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("payload of the audit"))
	f.fleet(1)
	key := command{p: operator, noun: "campaign", verb: "create", key: "k1"}
	create := topics.CampaignCreate{Campaign: campaignID("c"), Manifest: m.Digest}
	for range 2 {
		if p := f.do(key, create, nil); p != nil {
			t.Fatal(p)
		}
	}
	f.ok("campaign", "get", topics.CampaignRef{Campaign: campaignID("c")}, nil)
	f.fails(topics.ProblemRevisionConflict, "campaign", "start", topics.CampaignRef{Campaign: campaignID("c"), IfRevision: 9})
	f.ok("campaign", "start", topics.CampaignRef{Campaign: campaignID("c")}, nil)
	f.progress("c", "an offer", func(p topics.Progress) bool { return p.Counts["offered"] == 1 })
	f.ok("campaign", "stop", topics.CampaignRef{Campaign: campaignID("c")}, nil)
	f.progress("c", "end", func(p topics.Progress) bool { return p.State == "stopped" })

	var all, events topics.List[topics.AuditView]
	f.ok("audit", "list", topics.AuditList{}, &all)
	f.ok("campaign", "events", topics.CampaignEvents{Campaign: campaignID("c")}, &events)
	var commands []string
	for _, e := range events.Items {
		commands = append(commands, e.Command)
		if engine := e.By == ""; engine != (e.Command[:7] == "engine/") || e.Object != "campaign/c" || e.After <= e.Before || e.Hash.IsZero() || engine != e.Body.IsZero() {
			t.Errorf("%+v", e)
		}
	}
	want := []string{"campaign/create", "campaign/start", "engine/starting", "engine/active", "campaign/stop", "engine/stopped"}
	if !slices.Equal(commands, want) {
		t.Errorf("events %v, want %v", commands, want)
	}
	before := map[string]bool{}
	for i, e := range all.Items {
		if e.Number != uint64(i+1) || e.Object == "" {
			t.Errorf("entry %d: %+v", i, e)
		}
		before[e.Command] = true
	}
	for _, c := range []string{"trust/add", "payload/begin", "payload/commit", "manifest/create"} {
		if !before[c] {
			t.Errorf("no %s in %v", c, before)
		}
	}
	var v topics.AuditVerified
	f.ok("audit", "verify", topics.AuditVerify{}, &v)
	if !v.Done || v.Fault != "" || v.Through != uint64(len(all.Items)) {
		t.Errorf("%+v", v)
	}
	f.ok("audit", "verify", topics.AuditVerify{After: v.Through, Hash: m.Digest}, &v)
	if v.Fault == "" {
		t.Errorf("another hash: %+v", v)
	}
	f.fails(topics.ProblemCampaignNotFound, "campaign", "events", topics.CampaignEvents{Campaign: campaignID("none")})
}
