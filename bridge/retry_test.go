package bridge_test

import (
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// TestFailedStoppedRetriedAndCleared follows one device from a failure to the campaign that retries it, and from there to
// an operator who clears what failed too often.
func TestFailedStoppedRetriedAndCleared(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(2)
	f.launch("c1", m.Digest, topics.Policy{Poison: 1})
	d := f.firstOffer()
	f.report(d, topics.Report{Seq: 5, Manifest: m.Digest, State: topics.WordFailed, Reason: topics.ReasonFlashError})
	f.ok("campaign", "stop", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
	f.progress("c1", "end of the campaign", stopped)
	var list topics.List[topics.AssignmentView]
	f.ok("campaign", "devices", topics.CampaignDevices{Campaign: campaignID("c1")}, &list)
	for _, a := range list.Items {
		if a.Stop != string(campaign.StopInTime) {
			t.Errorf("%s: stop answer %q", a.Device, a.Stop)
		}
	}
	if len(list.Items) != 2 {
		t.Errorf("%d devices", len(list.Items))
	}

	retry := func(id string) (v topics.CampaignView) {
		f.ok("campaign", "retry", topics.CampaignRetry{Campaign: campaignID("c1"), New: campaignID(id)}, &v)
		if v.State != string(campaign.Draft) || len(v.Selection.Devices) != 1 || v.Policy.Poison != 1 {
			t.Errorf("retry: %+v", v)
		}
		f.ok("campaign", "start", topics.CampaignRef{Campaign: v.Campaign}, nil)
		return v
	}
	retry("c2")
	if p := f.progress("c2", "end of the campaign", stopped); p.Counts[string(campaign.Skipped)] != 1 {
		t.Errorf("a poisoned device: %+v", p.Counts)
	}
	var v topics.DeviceView
	f.ok("device", "get", topics.DeviceGet{Device: device(d)}, &v)
	if len(v.Failures) != 1 || v.Failures[0].Count != 1 || v.Failures[0].Payload != m.Payload {
		t.Errorf("failures %+v", v.Failures)
	}
	var cleared topics.DeviceCleared
	f.ok("device", "clear", topics.DeviceClear{Device: device(d)}, &cleared)
	v = topics.DeviceView{}
	f.ok("device", "get", topics.DeviceGet{Device: device(d)}, &v)
	if len(v.Failures) != 0 || cleared.Matched != 1 || cleared.Cleared != 1 {
		t.Errorf("failures after clear: %+v, %+v", v.Failures, cleared)
	}
	retry("c3")
	f.update(d, m, 2)
	if p := f.progress("c3", "end of the campaign", stopped); p.Outcome != string(campaign.Succeeded) {
		t.Errorf("the retry ended %+v", p)
	}
	f.fails(topics.ProblemInvalidRequest, "campaign", "retry", topics.CampaignRetry{Campaign: campaignID("c3"), New: campaignID("c4")})
	f.fails(topics.ProblemCampaignNotFound, "campaign", "retry", topics.CampaignRetry{Campaign: campaignID("nope"), New: campaignID("c4")})
	f.fails(topics.ProblemDeviceNotFound, "device", "clear", topics.DeviceClear{Device: device("nobody")})
}

// TestClearManyDevices: by a list and by a filter in pages, each device once; what does not pass keeps its failures.
func TestClearManyDevices(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("bad firmware"))
	ids := f.fleet(5)
	lenient := 100.0
	f.launch("c", m.Digest, topics.Policy{FailurePercent: &lenient})
	for _, id := range ids {
		f.offered(id, 0)
		f.report(id, topics.Report{Seq: 2, Manifest: m.Digest, State: topics.WordFailed, Reason: topics.ReasonFlashError})
	}
	failing := func() (n int) {
		for _, id := range ids {
			var v topics.DeviceView
			f.ok("device", "get", topics.DeviceGet{Device: device(id)}, &v)
			n += len(v.Failures)
		}
		return n
	}
	if n := failing(); n != 5 {
		t.Fatalf("%d devices with failures", n)
	}
	var v topics.DeviceCleared
	f.ok("device", "clear", topics.DeviceClear{Devices: []ident.Device{device(ids[0])}, Payload: m.Digest}, &v)
	if v.Matched != 1 || v.Cleared != 0 || failing() != 5 {
		t.Errorf("another payload's failures were cleared: %+v", v)
	}
	f.ok("device", "clear", topics.DeviceClear{Devices: []ident.Device{device(ids[0]), device(ids[1])}, Payload: m.Payload}, &v)
	if v.Matched != 2 || v.Cleared != 2 || failing() != 3 {
		t.Errorf("by a list: %+v", v)
	}
	req := topics.DeviceClear{Filter: `id != "dev-004"`, Page: topics.Page{Limit: 2}}
	var sum topics.DeviceCleared
	for pages := 1; ; pages++ {
		v = topics.DeviceCleared{}
		f.ok("device", "clear", req, &v)
		sum.Matched, sum.Cleared = sum.Matched+v.Matched, sum.Cleared+v.Cleared
		if req.Cursor = v.Next; v.Next == "" || pages > 5 {
			break
		}
	}
	if sum.Matched != 4 || sum.Cleared != 2 || failing() != 1 {
		t.Errorf("by a filter: %+v, %d left", sum, failing())
	}
	for _, bad := range []topics.DeviceClear{{}, {Filter: "id", Device: device("d")}, {Filter: `id == "a"`, Page: topics.Page{Limit: 101}},
		{Devices: []ident.Device{device("d"), device("d")}}} {
		f.fails(topics.ProblemInvalidRequest, "device", "clear", bad)
	}
	f.fails(topics.ProblemDeviceNotFound, "device", "clear", topics.DeviceClear{Devices: []ident.Device{device(ids[4]), device("nobody")}})
	if failing() != 1 {
		t.Error("a refused command cleared something")
	}
}
