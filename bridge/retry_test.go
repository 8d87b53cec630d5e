package bridge_test

import (
	"testing"

	"fleetbridge/campaign"
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
	v = topics.DeviceView{}
	f.ok("device", "clear", topics.DeviceClear{Device: device(d)}, &v)
	if len(v.Failures) != 0 {
		t.Errorf("failures after clear: %+v", v.Failures)
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
