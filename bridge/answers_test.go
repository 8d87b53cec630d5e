package bridge_test

import (
	"encoding/csv"
	"strings"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/topics"
)

func TestDeviceWhy(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("payload of the answers"))
	ids := f.fleet(2)
	f.launch("c", m.Digest, topics.Policy{InFlight: 1})
	f.progress("c", "one offer", func(p topics.Progress) bool { return p.Counts["offered"] == 1 && p.Counts["pending"] == 1 })
	seen := map[string]bool{}
	for _, id := range ids {
		var v topics.DeviceAnswer
		f.ok("device", "why", topics.DeviceWhy{Device: device(id)}, &v)
		if len(v.Campaigns) != 1 || v.Connected || v.LastSeen.IsZero() {
			t.Fatalf("%+v", v)
		}
		seen[v.Campaigns[0].Why] = true
	}
	if !seen[campaign.WhyOffline] || !seen[campaign.WhyInFlightCap] {
		t.Errorf("answers: %v", seen)
	}
	f.fails(topics.ProblemDeviceNotFound, "device", "why", topics.DeviceWhy{Device: device("nobody")})
	f.fails(topics.ProblemCampaignNotFound, "device", "why", topics.DeviceWhy{Device: device(ids[0]), Campaign: campaignID("none")})
}

// TestCampaignReport: the pages together hold every device once, with its path, in both formats; what a device wrote is
// no formula in a spreadsheet.
func TestCampaignReport(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("payload of the report"))
	ids := f.fleet(5)
	f.launch("c", m.Digest, topics.Policy{})
	for i, id := range ids {
		f.offered(id, 0)
		if i == 0 {
			f.report(id, topics.Report{Seq: 2, Manifest: m.Digest, State: topics.WordFailed, Reason: topics.ReasonFlashError, Detail: "=HYPERLINK(1)"})
			continue
		}
		f.update(id, m, 2)
	}
	f.progress("c", "end", func(p topics.Progress) bool { return p.State == "stopped" })

	var devices []string
	var text strings.Builder
	for _, format := range []string{topics.ReportJSON, topics.ReportCSV} {
		req := topics.CampaignReport{Campaign: campaignID("c"), Format: format, Page: topics.Page{Limit: 2}}
		for n := 1; ; n++ {
			var p topics.CampaignReportPage
			f.ok("campaign", "report", req, &p)
			if (n == 1) != (p.Campaign != nil && len(p.Actions) >= 4) {
				t.Errorf("page %d: campaign %v, actions %v", n, p.Campaign, p.Actions)
			}
			for _, v := range p.Items {
				devices = append(devices, v.Device.String())
				if len(v.Path) < 3 {
					t.Errorf("%s: path %v", v.Device, v.Path)
				}
			}
			text.WriteString(p.CSV)
			if req.Cursor = p.Next; p.Next == "" {
				if n != 3 {
					t.Errorf("%d pages, want 3", n)
				}
				break
			}
		}
	}
	if got, want := strings.Join(devices, " "), strings.Join(ids, " "); got != want {
		t.Errorf("devices %s, want %s", got, want)
	}
	rows, err := csv.NewReader(strings.NewReader(text.String())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	last := map[string][]string{}
	for _, row := range rows[1:] {
		last[row[1]] = row
	}
	if len(last) != 6 || last[ids[0]][3] != "failed" || last[ids[0]][8] != "'=HYPERLINK(1)" || last[ids[1]][3] != "confirmed" || last[""][3] != "stopped" {
		t.Errorf("last rows: %v", last)
	}
	f.fails(topics.ProblemCampaignNotFound, "campaign", "report", topics.CampaignReport{Campaign: campaignID("none")})
	f.fails(topics.ProblemInvalidRequest, "campaign", "report", topics.CampaignReport{Campaign: campaignID("c"), Page: topics.Page{Cursor: "/"}})
}
