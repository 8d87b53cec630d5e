package bridge

import (
	"context"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// connected says whether a device is connected, and whether the link knows such things at all.
func (c *call) connected(d ident.Device) (yes, known bool) {
	p, ok := c.b.o.Link.(link.Presence)
	if !ok {
		return false, false
	}
	name, err := ident.ParseName(d.String())
	if err != nil {
		return false, true // no credential can have that name
	}
	return p.Connected(topics.Principal{Tenant: c.tenant, Role: topics.RoleDevice, Name: name}), true
}

func deviceWhy(ctx context.Context, c *call, req topics.DeviceWhy) (any, error) {
	here, known := c.connected(req.Device)
	var v topics.DeviceAnswer
	err := c.view(ctx, func(r campaign.Reader) error {
		d, err := r.Device(c.tenant, req.Device)
		if err != nil {
			return orMissing(err, "device", req.Device)
		}
		v = topics.DeviceAnswer{Device: d.ID, Connected: here, LastSeen: d.LastSeen, Campaigns: []topics.WhyView{}}
		list, more, err := campaign.Why(r, c.now, c.tenant, req.Device, req.Campaign, known && !here)
		for _, a := range list {
			v.Campaigns = append(v.Campaigns, whyView(a))
		}
		v.More = more
		return err
	})
	return v, err
}

func whyView(a campaign.Answer) topics.WhyView {
	v := topics.WhyView{
		Campaign: a.Campaign, CampaignState: string(a.Phase), State: string(a.State), Why: a.Code, Reason: a.Reason,
		Detail: a.Detail, Offers: a.Offers, Since: a.Since, Until: a.Until, Blocker: a.Blocker,
	}
	if a.State != "" {
		v.Wave = a.Wave + 1
	}
	return v
}

// campaignReport reads a page of a campaign's record. A page that would not fit the client's maximum packet is made
// shorter.
func campaignReport(ctx context.Context, c *call, req topics.CampaignReport) (any, error) {
	var after ident.Device
	if req.Cursor != "" {
		var err error
		if after, err = ident.ParseDevice(req.Cursor); err != nil {
			return nil, invalid("/cursor", "not a cursor of this report")
		}
	}
	limit := req.Limit
	if limit == 0 {
		limit = defaultPage
	}
	var (
		head    campaign.Campaign
		counts  campaign.Counts
		actions []topics.ActionView
		records []campaign.Assignment
	)
	err := c.view(ctx, func(r campaign.Reader) (err error) {
		if head, err = r.Campaign(c.tenant, req.Campaign); err != nil {
			return orMissing(err, "campaign", req.Campaign)
		}
		if counts, err = r.Counts(c.tenant, req.Campaign); err != nil {
			return fmt.Errorf("read counts: %w", err)
		}
		if req.Cursor == "" {
			if actions, err = actionsOf(r, c.tenant, head); err != nil {
				return err
			}
		}
		records, err = r.Assignments(c.tenant, req.Campaign, after, limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	for n := min(limit, len(records)); ; n /= 2 {
		page, err := reportPage(req, head, counts, actions, records[:n], c.now)
		if err != nil {
			return nil, err
		}
		if n < len(records) && n > 0 {
			page.Next = records[n-1].Device.String()
		}
		body, err := c.encode(page)
		if err != nil {
			return nil, err
		}
		if len(body) <= c.maxReply || n <= 1 {
			return rawReply(body), nil
		}
	}
}

func reportPage(req topics.CampaignReport, head campaign.Campaign, n campaign.Counts, actions []topics.ActionView, list []campaign.Assignment, now time.Time) (topics.CampaignReportPage, error) {
	var page topics.CampaignReportPage
	if req.Cursor == "" {
		v := campaignView(head, n, now)
		page.Campaign, page.Actions = &v, actions
	}
	if req.Format != topics.ReportCSV {
		for _, a := range list {
			page.Items = append(page.Items, assignmentView(head, a))
		}
		return page, nil
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	if req.Cursor == "" {
		rows := [][]string{reportColumns}
		for _, a := range page.Actions {
			rows = append(rows, []string{head.ID.String(), "", "", a.Action, a.Detail, "", csvTime(a.At), a.By, "", "", "", ""})
		}
		if err := writeRows(w, rows...); err != nil {
			return page, err
		}
	}
	for _, a := range list {
		if err := writeRows(w, pathRows(a)...); err != nil {
			return page, err
		}
	}
	w.Flush()
	page.CSV = b.String()
	return page, w.Error()
}

// reportColumns are the names of a report's rows: one row for each action on the campaign, where device is empty, and
// one for each step of each device.
var reportColumns = []string{"campaign", "device", "wave", "step", "reason", "seq", "at", "by", "detail", "offers", "reports", "bytes"}

// pathRows are the rows of one device; what is known of the assignment as a whole stands in the last one.
func pathRows(a campaign.Assignment) [][]string {
	id, device, wave := a.Campaign.String(), a.Device.String(), strconv.Itoa(a.Wave+1)
	var rows [][]string
	for _, s := range a.Path {
		seq := ""
		if s.Seq != 0 {
			seq = strconv.FormatUint(s.Seq, 10)
		}
		rows = append(rows, []string{id, device, wave, string(s.State), s.Reason, seq, csvTime(s.At), "", "", "", "", ""})
	}
	if len(rows) == 0 {
		rows = append(rows, []string{id, device, wave, string(a.State), a.Reason, "", csvTime(a.Updated), "", "", "", "", ""})
	}
	last := rows[len(rows)-1]
	last[8], last[9] = a.Detail, strconv.Itoa(a.Offers)
	last[10], last[11] = strconv.FormatUint(a.Reports, 10), strconv.FormatUint(a.Bytes, 10)
	return rows
}

func csvTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// writeRows writes rows. A cell that a spreadsheet would run as a formula gets a quote in front: devices write some.
func writeRows(w *csv.Writer, rows ...[]string) error {
	for _, row := range rows {
		for i, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				row[i] = "'" + cell
			}
		}
		if err := w.Write(row); err != nil {
			return fmt.Errorf("write row: %w", err)
		}
	}
	return nil
}
