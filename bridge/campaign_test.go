package bridge_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// fleet says hello for n devices and returns their names.
func (f *fixture) fleet(n int) []string {
	f.t.Helper()
	var ids []string
	for i := range n {
		id := fmt.Sprintf("dev-%03d", i)
		if out := f.hello(id, topics.Hello{Seq: 1, Boot: 1}); out.code != link.Success || !out.done {
			f.t.Fatalf("hello of %s: %+v", id, out)
		}
		ids = append(ids, id)
	}
	return ids
}

// launch creates and starts a campaign.
func (f *fixture) launch(id string, m ident.Digest, p topics.Policy) {
	f.t.Helper()
	f.ok("campaign", "create", topics.CampaignCreate{Campaign: campaignID(id), Manifest: m, Policy: p}, nil)
	f.ok("campaign", "start", topics.CampaignRef{Campaign: campaignID(id)}, nil)
}

// offered waits until a device's manifest topic has held a manifest since message from.
func (f *fixture) offered(id string, from int) {
	f.t.Helper()
	f.link.await(f.t, "manifest for "+id, from, func(m link.Message) bool {
		return m.Topic == topics.ManifestTopic(acme, device(id)) && len(m.Payload) > 0
	})
}

// update reports a whole update of a device, from seq on.
func (f *fixture) update(id string, m topics.ManifestView, seq uint64) {
	f.t.Helper()
	words := []topics.Word{topics.WordReceived, topics.WordDownloading, topics.WordDownloaded, topics.WordInstalling, topics.WordRebooting, topics.WordInstalled}
	for i, w := range words {
		r := topics.Report{Seq: seq + uint64(i), Manifest: m.Digest, State: w, Boot: 1}
		if w == topics.WordInstalled {
			r.Boot, r.Installed = 2, []topics.Installed{{Component: m.Component, Digest: m.Payload, Sequence: m.Sequence}}
		}
		if out := f.report(id, r); !out.done || out.code != link.Success {
			f.t.Fatalf("report %s of %s: %+v", w, id, out)
		}
	}
}

// progress waits for a progress that ok accepts, as a subscriber does: the state at subscribe, then what is published.
func (f *fixture) progress(id string, what string, ok func(topics.Progress) bool) topics.Progress {
	f.t.Helper()
	var p topics.Progress
	err := f.directory.Retained(context.Background(), operator, topics.ProgressTopic(acme, campaignID(id)), func(_ string, b []byte) bool {
		_, err := topics.Decode(b, &p)
		return err == nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	if ok(p) {
		return p
	}
	f.link.await(f.t, what, 0, func(m link.Message) bool {
		if m.Topic != topics.ProgressTopic(acme, campaignID(id)) {
			return false
		}
		p = topics.Progress{}
		if _, err := topics.Decode(m.Payload, &p); err != nil || !m.Retain {
			f.t.Fatalf("progress %q, retain %v: %v", m.Payload, m.Retain, err)
		}
		return ok(p)
	})
	return p
}

func stopped(p topics.Progress) bool { return p.State == string(campaign.Stopped) }

func TestCampaignInWavesEndsConfirmed(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	ids := f.fleet(4)
	f.launch("c1", m.Digest, topics.Policy{Waves: []topics.Wave{{Count: 1}, {Percent: 100}}})

	first, _ := f.link.await(t, "manifest of the first wave", 0, func(m link.Message) bool { return m.Retain && len(m.Payload) > 0 && isManifest(m.Topic) })
	a, err := topics.Parse(first.Topic)
	if err != nil {
		t.Fatal(err)
	}
	var list topics.List[topics.AssignmentView]
	f.ok("campaign", "devices", topics.CampaignDevices{Campaign: campaignID("c1"), State: "pending"}, &list)
	if len(list.Items) != 3 {
		t.Errorf("%d devices pending while the first wave is open, want 3", len(list.Items))
	}
	f.update(a.Device.String(), m, 2)
	for _, id := range ids {
		if id != a.Device.String() {
			f.offered(id, 0)
			f.update(id, m, 2)
		}
	}
	p := f.progress("c1", "end of the campaign", stopped)
	if p.Outcome != string(campaign.Succeeded) || p.Total != 4 || p.Counts["confirmed"] != 4 || len(p.Waves) != 2 {
		t.Errorf("progress at the end: %+v", p)
	}
	for _, id := range ids {
		on := f.link.on(topics.ManifestTopic(acme, device(id)))
		if last := on[len(on)-1]; len(last.Payload) != 0 || !last.Retain {
			t.Errorf("the manifest topic of %s is not cleared at the end", id)
		}
	}
	if events := f.link.on(topics.EventTopic(acme, campaignID("c1"))); len(events) < 4*7 {
		t.Errorf("%d events, want one per transition", len(events))
	}
	var view topics.CampaignView
	f.ok("campaign", "get", topics.CampaignRef{Campaign: campaignID("c1")}, &view)
	p.At = view.Progress.At
	if diff := cmp.Diff(p, view.Progress, cmpopts.EquateComparable(ident.Campaign{})); diff != "" {
		t.Errorf("progress topic and campaign/get differ (-topic +get):\n%s", diff)
	}
	if s := f.bridge.Stats(); s.Recorded != 4*6 || s.Hellos != 4 || s.CommitP99 == 0 {
		t.Errorf("stats %+v", s)
	}
}

func isManifest(topic string) bool {
	a, err := topics.Parse(topic)
	return err == nil && a.Channel == topics.ChannelManifest
}

func TestStopWithdraws(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(1)
	f.launch("c1", m.Digest, topics.Policy{})
	f.offered("dev-000", 0)
	f.ok("campaign", "stop", topics.CampaignRef{Campaign: campaignID("c1"), Reason: "second thoughts"}, nil)
	p := f.progress("c1", "end of the campaign", stopped)
	if p.Outcome != string(campaign.UserStopped) || p.Counts["withdrawn"] != 1 {
		t.Errorf("progress at the end: %+v", p)
	}
	on := f.link.on(topics.ManifestTopic(acme, device("dev-000")))
	if last := on[len(on)-1]; len(last.Payload) != 0 {
		t.Error("the manifest topic is not cleared after a stop")
	}
}

// retained collects what the directory says of a filter.
func (f *fixture) retained(p topics.Principal, filter string) []string {
	f.t.Helper()
	var got []string
	err := f.directory.Retained(context.Background(), p, filter, func(topic string, payload []byte) bool {
		if len(payload) == 0 {
			f.t.Errorf("%s is said to hold nothing", topic)
		}
		got = append(got, topic)
		return true
	})
	if err != nil {
		f.t.Fatal(err)
	}
	slices.Sort(got)
	return got
}

func TestRetainedIsWhatTheStoreSays(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(2)
	f.launch("c1", m.Digest, topics.Policy{})
	f.offered("dev-000", 0)
	f.offered("dev-001", 0)
	one, two := topics.ManifestTopic(acme, device("dev-000")), topics.ManifestTopic(acme, device("dev-001"))
	progress := topics.ProgressTopic(acme, campaignID("c1"))
	for filter, want := range map[string][]string{
		one:                                {one},
		"fleet/v1/acme/device/+/manifest":  {one, two},
		"fleet/v1/acme/#":                  {progress, one, two},
		"fleet/v1/acme/device/dev-001/#":   {two},
		"fleet/v1/acme/device/dev-001/+":   {two},
		"fleet/v1/acme/campaign/+/+":       {progress},
		progress:                           {progress},
		"fleet/v1/acme/reply/ops/#":        nil,
		"fleet/v1/acme/campaign/+/event":   nil,
		"fleet/v1/acme/campaign/no/#":      nil,
		"fleet/v1/acme/device/no/manifest": nil,
	} {
		if diff := cmp.Diff(want, f.retained(operator, filter)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", filter, diff)
		}
	}
	// The tenant is the principal's, whatever the filter says.
	if got := f.retained(stranger, "fleet/v1/acme/#"); got != nil {
		t.Errorf("another tenant is shown %v", got)
	}
	f.update("dev-000", m, 2)
	if got := f.retained(operator, one); got != nil {
		t.Errorf("the topic of a confirmed device holds something")
	}
}

// TestRestartGoesOn ends the bridge in the middle of a campaign; a new one over the same store takes it to its end.
func TestRestartGoesOn(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	ids := f.fleet(3)
	f.launch("c1", m.Digest, topics.Policy{Waves: []topics.Wave{{Count: 1}, {Percent: 100}}})
	first, _ := f.link.await(t, "manifest", 0, func(m link.Message) bool { return len(m.Payload) > 0 && isManifest(m.Topic) })
	a := must(topics.Parse(first.Topic))
	f.update(a.Device.String(), m, 2)
	f.stop()
	f.run()
	for _, id := range ids {
		if id == a.Device.String() {
			continue
		}
		// Offered before the stop or after it: either way the topic holds the manifest now or soon.
		if f.retained(operator, topics.ManifestTopic(acme, device(id))) == nil {
			f.offered(id, 0)
		}
		f.update(id, m, 2)
	}
	if p := f.progress("c1", "end of the campaign", stopped); p.Outcome != string(campaign.Succeeded) || p.Counts["confirmed"] != 3 {
		t.Errorf("progress at the end: %+v", p)
	}
}
