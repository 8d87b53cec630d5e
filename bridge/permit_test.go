package bridge_test

import (
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// TestPermitOverTheWire lets two devices ask, with room for one at a time; after a stop nobody is permitted anything.
func TestPermitOverTheWire(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(2)
	f.launch("c1", m.Digest, topics.Policy{Permit: topics.PermitRule{Required: true, Max: 1}})
	for _, d := range []string{"dev-000", "dev-001"} {
		f.offered(d, 0)
	}
	ask := func(d string, seq uint64) topics.Permit {
		from := len(f.link.on(topics.PermitTopic(acme, device(d))))
		f.report(d, topics.Report{Seq: seq, Manifest: m.Digest, State: topics.WordDownloaded, Permit: true})
		list := f.link.on(topics.PermitTopic(acme, device(d)))
		if len(list) != from+1 {
			t.Fatalf("%s was answered %d times", d, len(list)-from)
		}
		p, _, err := topics.DecodePermit(list[from].Payload)
		if err != nil || p.Manifest != m.Digest {
			t.Fatalf("%s was told %+v, %v", d, p, err)
		}
		return p
	}
	if p := ask("dev-000", 2); p.State != topics.PermitGranted || p.ExpiresIn < 290 || p.ExpiresIn > 300 {
		t.Errorf("the first is told %+v", p)
	}
	if p := ask("dev-001", 2); p.State != topics.PermitWaiting || p.ExpiresIn != 0 {
		t.Errorf("the second is told %+v", p)
	}
	var list topics.List[topics.AssignmentView]
	f.ok("campaign", "devices", topics.CampaignDevices{Campaign: campaignID("c1")}, &list)
	if len(list.Items) != 2 || list.Items[0].Permit != string(campaign.PermitGranted) || list.Items[1].Permit != string(campaign.PermitWaiting) {
		t.Errorf("devices %+v", list.Items)
	}
	// The proof of the first frees its place: the second is told without asking again.
	from := len(f.link.on(topics.PermitTopic(acme, device("dev-001"))))
	f.hello("dev-000", topics.Hello{Seq: 3, Boot: 2, Installed: []topics.Installed{{Component: m.Component, Digest: m.Payload, Sequence: m.Sequence}}})
	f.link.await(t, "grant for the second", 0, func(m link.Message) bool {
		p, _, err := topics.DecodePermit(m.Payload)
		return err == nil && m.Topic == topics.PermitTopic(acme, device("dev-001")) && p.State == topics.PermitGranted
	})
	told := f.link.on(topics.PermitTopic(acme, device("dev-001")))[from:]
	if p, _, err := topics.DecodePermit(told[0].Payload); err != nil || len(told) != 1 || p.State != topics.PermitGranted || told[0].Retain || told[0].QoS != 0 {
		t.Errorf("the second is told %+v in %d messages, %v", p, len(told), err)
	}
	f.ok("campaign", "stop", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
	f.progress("c1", "end of the campaign", stopped)
	if p := ask("dev-001", 3); p.State != topics.PermitRefused {
		t.Errorf("after the stop the second is told %+v", p)
	}
}
