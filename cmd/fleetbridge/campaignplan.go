package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func campaignPlan(a *app) *cobra.Command {
	var wave int
	var devices bool
	c := &cobra.Command{Use: "plan CAMPAIGN", Short: "Say what would run if a draft started now; nothing changes", Args: cobra.ExactArgs(1)}
	c.Flags().BoolVar(&devices, "devices", false, "list every device in the order of its turn: -o jsonl writes one a line")
	c.Flags().IntVar(&wave, "wave", 0, "list from this wave on")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := ident.ParseCampaign(args[0])
		if err != nil {
			return err
		}
		req := topics.CampaignPlan{Page: topics.Page{Limit: 1}, Campaign: id, Wave: wave}
		if devices {
			req.Limit = topics.MaxPage
		}
		var v topics.PlanView
		if err := cl.Do(ctx, "campaign", "plan", req, &v); err != nil {
			return err
		}
		if !devices {
			v.Items, v.Next = []topics.PlanDevice{}, ""
		}
		if a.output == "table" || !devices {
			if err := a.printPlan(v); err != nil || !devices {
				return err
			}
		}
		whole := v
		whole.Items, whole.Next = []topics.PlanDevice{}, ""
		for req.Plan = v.Plan; ; { // the pages are of one plan, or refused
			for _, d := range v.Items {
				if err := a.printPlanned(&whole, d); err != nil {
					return err
				}
			}
			if v.Next == "" {
				break
			}
			req.Cursor = v.Next
			v = topics.PlanView{}
			if err := cl.Do(ctx, "campaign", "plan", req, &v); err != nil {
				return err
			}
		}
		if a.output == "json" {
			return a.printJSON(whole)
		}
		return nil
	})
	return c
}

// printPlanned writes a device of a plan; for -o json it is added to the whole.
func (a *app) printPlanned(whole *topics.PlanView, d topics.PlanDevice) error {
	var err error
	switch a.output {
	case "json":
		whole.Items = append(whole.Items, d)
	case "jsonl":
		err = json.NewEncoder(a.stdout).Encode(d)
	default:
		_, err = fmt.Fprintf(a.stdout, "wave %d  %s%s\n", d.Wave, d.Device, prefix("  ", d.Note))
	}
	return err
}

func (a *app) printPlan(v topics.PlanView) error {
	rows := []row{{"campaign", v.Campaign.String()}, {"plan", v.Plan.String()}, {"refused", v.Refused},
		{"devices", fmt.Sprint(v.Devices)}, {"download", bytesText(v.Bytes)}}
	for _, w := range v.Waves {
		rows = append(rows, row{fmt.Sprintf("wave %d", w.Wave), fmt.Sprint(w.Devices) + prefix("  ", w.Filter)})
	}
	for _, e := range v.Excluded {
		var names []string
		for _, d := range e.Examples {
			names = append(names, d.String())
		}
		rows = append(rows, row{"excluded, " + e.Reason, fmt.Sprintf("%d, such as %s", e.Devices, strings.Join(names, ", "))})
	}
	for _, b := range v.Busy {
		rows = append(rows, row{"busy with " + b.Campaign.String(), fmt.Sprint(b.Devices)})
	}
	for _, n := range []struct {
		name  string
		count uint64
	}{{"poisoned", uint64(v.Poisoned)}, {"not seen lately", uint64(v.Unseen)}, {"filter failed on", v.Unjudged}} {
		if n.count > 0 {
			rows = append(rows, row{n.name, fmt.Sprint(n.count)})
		}
	}
	rows = append(rows, row{"filter error", v.Unjudgeable})
	if v.Forecast > 0 || v.Late {
		text := time.Duration(v.Forecast).String()
		if v.Late {
			text += ", and it expires before: see its windows, rate, soak, end_at and within"
		}
		rows = append(rows, row{"takes at least", text})
	}
	return a.printOne(v, rows...)
}

func campaignApprove(a *app) *cobra.Command {
	var plan string
	c := &cobra.Command{Use: "approve CAMPAIGN --plan DIGEST", Short: "Approve a started campaign's plan; not for who made, edited or started it", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&plan, "plan", "", "digest of the plan, from `campaign plan` or `campaign show`")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		req := topics.CampaignApprove{}
		var err error
		if req.Campaign, err = ident.ParseCampaign(args[0]); err != nil {
			return err
		}
		if plan == "" {
			return usagef("--plan is needed: the digest that you looked at")
		}
		if req.Plan, err = ident.ParseDigest(plan); err != nil {
			return err
		}
		var v topics.CampaignView
		if err := cl.Do(ctx, "campaign", "approve", req, &v); err != nil {
			return err
		}
		return a.printCampaign(v)
	})
	return c
}

func campaignReject(a *app) *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "reject CAMPAIGN", Short: "Make a campaign that waits for an approval a draft again", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&reason, "reason", "", "why, for the record")
	c.RunE = campaignVerb(a, "reject", &reason)
	return c
}

func campaignStart(a *app) *cobra.Command {
	var plan string
	c := &cobra.Command{Use: "start CAMPAIGN", Short: "Start a draft", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&plan, "if-plan", "", "only if its plan has this digest; what runs is held to it")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := ident.ParseCampaign(args[0])
		if err != nil {
			return err
		}
		req := topics.CampaignStart{CampaignRef: topics.CampaignRef{Campaign: id}}
		if plan != "" {
			if req.IfPlan, err = ident.ParseDigest(plan); err != nil {
				return err
			}
		}
		var v topics.CampaignView
		if err := cl.Do(ctx, "campaign", "start", req, &v); err != nil {
			return err
		}
		return a.printCampaign(v)
	})
	return c
}

// agreementFlags are the flags of `campaign create` about plans.
type agreementFlags struct {
	approval bool
	stratify string
	filters  []string
}

func (g *agreementFlags) register(f *pflag.FlagSet) {
	f.BoolVar(&g.approval, "approval", false, "once started, wait for the approval of somebody else")
	f.StringVar(&g.stratify, "stratify", "", "a label each of whose values has a device in the first wave")
	f.StringArrayVar(&g.filters, "wave-filter", nil, "begin with a wave of the devices that pass a filter, before those of --waves; may be repeated")
}

// into puts what the flags say into p, whose waves are set.
func (g agreementFlags) into(p *topics.Policy) {
	p.Approval, p.Stratify = g.approval, g.stratify
	var first []topics.Wave
	for _, text := range g.filters {
		first = append(first, topics.Wave{Filter: text})
	}
	if len(first) > 0 && len(p.Waves) == 0 {
		p.Waves = []topics.Wave{{Percent: 100}}
	}
	p.Waves = append(first, p.Waves...)
}
