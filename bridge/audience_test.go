package bridge_test

import (
	"context"
	"testing"

	"fleetbridge/bridge"
	"fleetbridge/campaign"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// listeners is a link that knows who listens: to one topic somebody does.
type listeners struct {
	*fakeLink
	topic string
}

func (l *listeners) Subscribed(topic string) bool { return topic == l.topic }

// TestNothingIsSaidToNobody: an offer, an event and a withdrawal are published to those who listen and to nobody else; who
// comes later finds the offer on its topic.
func TestNothingIsSaidToNobody(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	ids := f.fleet(3)
	f.ok("campaign", "create", topics.CampaignCreate{Campaign: campaignID("c1"), Manifest: m.Digest}, nil)
	f.stop()

	l := &listeners{newFakeLink(), topics.ManifestTopic(acme, device(ids[2]))}
	b, err := bridge.New(bridge.Options{Store: f.store, Link: l, Catalogue: f.catalogue, Directory: f.directory})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	f.link, f.bridge = l.fakeLink, b
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	f.ok("campaign", "start", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
	f.offered(ids[2], 0)
	f.progress("c1", "all are offered", func(p topics.Progress) bool { return p.Counts[string(campaign.Offered)] == 3 })
	for _, id := range ids[:2] {
		if got := f.topic(topics.ManifestTopic(acme, device(id))); got == nil {
			t.Errorf("%s finds nothing on its topic", id)
		}
	}
	f.ok("campaign", "stop", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
	f.progress("c1", "its end", stopped)
	f.link.await(t, "withdrawal", 0, func(m link.Message) bool { return m.Topic == l.topic && len(m.Payload) == 0 })
	for _, id := range ids[:2] {
		if said := l.on(topics.ManifestTopic(acme, device(id))); len(said) > 0 {
			t.Errorf("%d messages for %s, who does not listen", len(said), id)
		}
	}
	if said := l.on(topics.EventTopic(acme, campaignID("c1"))); len(said) > 0 {
		t.Errorf("%d events, to which nobody listens", len(said))
	}
}
