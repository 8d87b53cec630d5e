package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func deviceWhy(a *app) *cobra.Command {
	type view = topics.WhyView
	var in string
	c := &cobra.Command{Use: "why DEVICE", Short: "Say why a device is not updated", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&in, "campaign", "", "only by this campaign; without it: the device's latest ones and those that run")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		var req topics.DeviceWhy
		var err error
		if req.Device, err = ident.ParseDevice(args[0]); err != nil {
			return err
		}
		if in != "" {
			if req.Campaign, err = ident.ParseCampaign(in); err != nil {
				return err
			}
		}
		var v topics.DeviceAnswer
		if err := cl.Do(ctx, "device", "why", req, &v); err != nil {
			return err
		}
		if a.output != "table" {
			return a.printJSON(v)
		}
		state := "not connected"
		if v.Connected {
			state = "connected"
		}
		a.say("%s is %s%s", v.Device, state, prefix(", last seen ", when(v.LastSeen)))
		if v.More {
			a.say("there are more running campaigns; --campaign asks for one")
		}
		if len(v.Campaigns) == 0 {
			a.say("no campaign runs, and none has updated it lately")
		}
		return printList(a, all(v.Campaigns),
			column[view]{"campaign", func(v view) string { return v.Campaign.String() }},
			column[view]{"is", func(v view) string { return v.CampaignState }},
			column[view]{"device", func(v view) string { return v.State }},
			column[view]{"why", func(v view) string { return v.Why }},
			column[view]{"reason", func(v view) string { return v.Reason }},
			column[view]{"since", func(v view) string { return when(v.Since) }},
			column[view]{"until", func(v view) string { return when(v.Until) }},
			column[view]{"detail", func(v view) string { return v.Detail }})
	})
	return c
}

func campaignReport(a *app) *cobra.Command {
	c := &cobra.Command{Use: "report CAMPAIGN", Short: "Write the whole record of a campaign: -o json, jsonl (a device a line) or csv (a step a line)",
		Args: cobra.ExactArgs(1), Annotations: map[string]string{formatAnnotation: topics.ReportCSV}}
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := ident.ParseCampaign(args[0])
		if err != nil {
			return err
		}
		req := topics.CampaignReport{Page: topics.Page{Limit: topics.MaxPage}, Campaign: id, Format: topics.ReportJSON}
		var w reportWriter
		switch a.output {
		case topics.ReportCSV:
			req.Format = topics.ReportCSV
			w = csvReport{a.stdout}
		case "jsonl":
			w = linesReport{json.NewEncoder(a.stdout)}
		case "json":
			w = &jsonReport{w: a.stdout}
		default:
			w = stepsReport{a.stdout}
		}
		for {
			var page topics.CampaignReportPage
			if err := cl.Do(ctx, "campaign", "report", req, &page); err != nil {
				return err
			}
			if err := w.page(page); err != nil {
				return fmt.Errorf("write report: %w", err)
			}
			if page.Next == "" {
				return nil
			}
			req.Cursor = page.Next
		}
	})
	return c
}

// reportWriter writes a report as its pages come, so that a large one needs no memory. A page without Next is the last.
type reportWriter interface {
	page(topics.CampaignReportPage) error
}

type csvReport struct{ w io.Writer }

func (r csvReport) page(p topics.CampaignReportPage) error {
	_, err := io.WriteString(r.w, p.CSV)
	return err
}

// linesReport writes the campaign, then each device, as an object a line.
type linesReport struct{ enc *json.Encoder }

func (r linesReport) page(p topics.CampaignReportPage) error {
	if p.Campaign != nil {
		if err := r.enc.Encode(topics.CampaignReportPage{Campaign: p.Campaign, Actions: p.Actions}); err != nil {
			return err
		}
	}
	for _, v := range p.Items {
		if err := r.enc.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

// jsonReport writes one object: campaign, actions, devices.
type jsonReport struct {
	w    io.Writer
	some bool
}

func (r *jsonReport) page(p topics.CampaignReportPage) error {
	if p.Campaign != nil {
		c, err := json.Marshal(p.Campaign)
		if err != nil {
			return err
		}
		actions, err := json.Marshal(p.Actions)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(r.w, "{\"campaign\":%s,\n\"actions\":%s,\n\"devices\":[", c, actions); err != nil {
			return err
		}
	}
	for _, v := range p.Items {
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		comma := ","
		if !r.some {
			comma, r.some = "", true
		}
		if _, err := fmt.Fprintf(r.w, "%s\n%s", comma, line); err != nil {
			return err
		}
	}
	if p.Next != "" {
		return nil
	}
	_, err := fmt.Fprint(r.w, "\n]}\n")
	return err
}

// stepsReport writes lines for people.
type stepsReport struct{ w io.Writer }

func (r stepsReport) page(p topics.CampaignReportPage) error {
	for _, v := range p.Actions {
		if _, err := fmt.Fprintf(r.w, "%s  %s%s%s\n", when(v.At), v.Action, prefix(" by ", v.By), prefix(": ", v.Detail)); err != nil {
			return err
		}
	}
	for _, v := range p.Items {
		if _, err := fmt.Fprintf(r.w, "%s (wave %d): %s%s%s\n", v.Device, v.Wave, v.State, prefix(", ", v.Reason), prefix(", ", v.Detail)); err != nil {
			return err
		}
		for _, s := range v.Path {
			if _, err := fmt.Fprintf(r.w, "  %s  %s%s\n", when(s.At), s.State, prefix(": ", s.Reason)); err != nil {
				return err
			}
		}
	}
	return nil
}
