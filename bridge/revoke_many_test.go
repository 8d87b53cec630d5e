package bridge_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// TestRevocationOfMany revokes the key of more campaigns than one commit stops: that commit marks 256 of them and counts all,
// and the engine stops the others for the same reason, and clears their devices' topics.
func TestRevocationOfMany(t *testing.T) {
	const most, campaigns = 256, 256 + 20
	f := start(t, nil)
	f.anchors()
	m := f.pushed("one image", "a", "author")
	devices := f.fleet(campaigns) // one for each
	for i := range campaigns {
		id := campaignID(fmt.Sprintf("c%03d", i))
		f.ok("campaign", "create", topics.CampaignCreate{Campaign: id, Manifest: m.Digest,
			Selection: topics.Selection{Devices: []ident.Device{device(devices[i])}}}, nil)
		f.ok("campaign", "start", topics.CampaignRef{Campaign: id}, nil)
	}
	for i := range campaigns {
		f.progress(fmt.Sprintf("c%03d", i), "its devices", func(p topics.Progress) bool { return p.Counts["offered"] == 1 })
	}
	f.stop()
	var counted int
	var res campaign.Result
	f.edit(func(tx campaign.Tx) (err error) {
		_, counted, res, err = campaign.Revoke(tx, time.Now(), acme, keyID("author"))
		return err
	})
	marked := f.count(func(c campaign.Campaign) bool { return c.Phase == campaign.Stopping || c.Phase == campaign.Stopped })
	if counted != campaigns || len(res.Campaigns) != campaigns || marked != most {
		t.Errorf("%d counted, %d to be woken, %d marked; want %d, %d, %d", counted, len(res.Campaigns), marked, campaigns, campaigns, most)
	}
	f.run()
	for i := range campaigns {
		id := fmt.Sprintf("c%03d", i)
		f.progress(id, "its end", stopped)
		if c := f.campaign(id); c.Outcome != "autostopped" || !strings.Contains(c.Reason, "key author is revoked") {
			t.Fatalf("%s: outcome %s, reason %q", id, c.Outcome, c.Reason)
		}
	}
	for _, d := range devices {
		said := f.link.on(topics.ManifestTopic(acme, device(d)))
		if got := f.topic(topics.ManifestTopic(acme, device(d))); got != nil || len(said) == 0 || len(said[len(said)-1].Payload) != 0 {
			t.Errorf("%s: the topic holds %x after %d messages", d, got, len(said))
		}
	}
}

// count is how many campaigns ok says.
func (f *fixture) count(ok func(campaign.Campaign) bool) (n int) {
	f.t.Helper()
	err := f.store.View(f.t.Context(), func(r campaign.Reader) error {
		list, err := r.Campaigns(acme, ident.Campaign{}, 1000)
		n = 0
		for _, c := range list {
			if ok(c) {
				n++
			}
		}
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}
