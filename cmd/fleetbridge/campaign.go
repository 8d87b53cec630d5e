package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func campaignCommand(a *app) *cobra.Command {
	return group("campaign", "Campaigns: a manifest offered to devices under a policy",
		campaignCreate(a), campaignUpdate(a), campaignList(a), campaignShow(a), campaignDevices(a), campaignReport(a), campaignEvents(a),
		campaignPlan(a), campaignStart(a), campaignApprove(a), campaignReject(a),
		campaignPause(a), campaignResume(a), campaignNext(a), campaignStop(a), campaignRetry(a),
		campaignArchive(a), campaignDelete(a),
		campaignWatch(a), campaignWait(a),
	)
}

// campaignFlags are the flags of `campaign create`, and the policy half of them those of `demo` and `sim run` too.
type campaignFlags struct {
	file, manifest, description string
	devices, label              []string
	filter                      string
	waves                       []string
	inFlight, minSample         int
	success, failure, silent    percentFlag
	deadline                    []string
	within                      time.Duration
	rollout                     rolloutFlags
	retry                       retryFlags
	agreement                   agreementFlags
}

func campaignCreate(a *app) *cobra.Command {
	var m campaignFlags
	c := &cobra.Command{Use: "create [CAMPAIGN] [--manifest DIGEST | -f FILE]", Short: "Create a draft; creating is not starting", Args: cobra.MaximumNArgs(1)}
	m.flags(c)
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		req, file, err := m.request(a.stdin, args)
		if err != nil {
			return err
		}
		var v topics.CampaignView
		if err := cl.Do(ctx, "campaign", "create", req, &v); err != nil {
			return file.locate(err)
		}
		return a.printCampaign(v)
	})
	return c
}

func (m *campaignFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&m.file, "file", "f", "", "campaign as TOML or JSON, with the names of campaign-create in docs/topics; - reads stdin; no other flags then")
	f.StringVar(&m.manifest, "manifest", "", "digest of the manifest")
	f.StringVar(&m.description, "description", "", "description, for people")
	f.StringSliceVar(&m.devices, "device", nil, "devices to select; without this, of the devices of the manifest's vendor and class, those that --label and --filter name")
	f.StringArrayVar(&m.label, "label", nil, "select the devices with name=value, may be repeated")
	f.StringVar(&m.filter, "filter", "", "select the devices that pass a filter, see docs/selector.md; try it with selector test")
	f.StringSliceVar(&m.waves, "waves", nil, "groups, each a count or a percentage of the eligible devices: 10,25%,100%")
	f.IntVar(&m.inFlight, "in-flight", 0, "updates at once (0: no cap)")
	f.IntVar(&m.minSample, "min-sample", 0, "settled devices before a threshold counts (0: the server's default)")
	f.Var(&m.success, "success", "percent confirmed that opens the next wave (default: the server's, 90)")
	f.Var(&m.failure, "failure", "percent failed that stops the campaign when passed (default: the server's, 10)")
	f.Var(&m.silent, "silent", "percent silent that stops the campaign when passed (default: the server's, 100)")
	f.StringArrayVar(&m.deadline, "deadline", nil, "state=duration after which a device counts as silent, may be repeated: offered=1h")
	f.DurationVar(&m.within, "within", 0, "end the campaign so long after its start")
	m.rollout.register(f)
	m.agreement.register(f)
	m.retry.add(c)
}

// request is the campaign that the flags, or the file, describe.
func (m campaignFlags) request(stdin io.Reader, args []string) (topics.CampaignCreate, *specFile, error) {
	if m.file != "" {
		return readCampaign(m.file, stdin, args)
	}
	var req topics.CampaignCreate
	if len(args) != 1 || m.manifest == "" {
		return req, nil, usagef("a campaign's name and --manifest are needed, or -f")
	}
	var err error
	if req.Campaign, err = ident.ParseCampaign(args[0]); err != nil {
		return req, nil, err
	}
	if req.Manifest, err = ident.ParseDigest(m.manifest); err != nil {
		return req, nil, err
	}
	req.Description = m.description
	if req.Selection, err = m.selection(); err != nil {
		return req, nil, err
	}
	req.Policy, err = m.policy()
	return req, nil, err
}

func (m campaignFlags) selection() (topics.Selection, error) {
	s := topics.Selection{Filter: m.filter}
	for _, name := range m.devices {
		d, err := ident.ParseDevice(name)
		if err != nil {
			return s, err
		}
		s.Devices = append(s.Devices, d)
	}
	if len(m.label) == 0 {
		return s, nil
	}
	var err error
	s.Labels, err = pairs("label", m.label)
	return s, err
}

func (m campaignFlags) policy() (topics.Policy, error) {
	p := topics.Policy{InFlight: m.inFlight, MinSample: m.minSample, Within: topics.Duration(m.within)}
	waves, err := parseWaves(m.waves)
	if err != nil {
		return p, err
	}
	p.Waves = waves
	m.agreement.into(&p)
	if err := m.rollout.into(&p); err != nil {
		return p, err
	}
	p.SuccessPercent, p.FailurePercent, p.SilentPercent = m.success.value, m.failure.value, m.silent.value
	deadlines, err := pairs("deadline", m.deadline)
	if err != nil {
		return p, err
	}
	for state, text := range deadlines {
		into := deadlineOf(&p.Deadlines, state)
		if into == nil {
			return p, usagef("--deadline %s: no such state; offered, received, downloading, downloaded, installing, rebooting", state)
		}
		if err := into.UnmarshalText([]byte(text)); err != nil {
			return p, usagef("--deadline %s: %w", state, err)
		}
		if *into <= 0 {
			return p, usagef("--deadline %s=%s: want more than 0", state, text)
		}
	}
	m.retry.into(&p)
	return p, nil
}

func deadlineOf(d *topics.Deadlines, state string) *topics.Duration {
	return map[string]*topics.Duration{
		"offered": &d.Offered, "received": &d.Received, "downloading": &d.Downloading,
		"downloaded": &d.Downloaded, "installing": &d.Installing, "rebooting": &d.Rebooting,
	}[state]
}

// parseWaves parses counts and percentages: 10, 25%, 100%.
func parseWaves(list []string) ([]topics.Wave, error) {
	var out []topics.Wave
	for _, s := range list {
		if text, ok := strings.CutSuffix(s, "%"); ok {
			n, err := strconv.ParseFloat(text, 64)
			if err != nil || !(n > 0 && n <= 100) {
				return nil, usagef("--waves %q: want above 0%% to 100%%", s)
			}
			out = append(out, topics.Wave{Percent: n})
			continue
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, usagef("--waves %q: want a count or a percentage", s)
		}
		out = append(out, topics.Wave{Count: n})
	}
	return out, nil
}

func campaignList(a *app) *cobra.Command {
	type view = topics.CampaignView
	return &cobra.Command{Use: "ls", Short: "List the campaigns", Args: cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, _ []string) error {
			items := client.List[view](ctx, cl, "campaign", "list", func(p topics.Page) any { return p })
			return printList(a, items,
				column[view]{"campaign", func(v view) string { return v.Campaign.String() }},
				column[view]{"state", func(v view) string { return v.State }},
				column[view]{"outcome", func(v view) string { return v.Outcome }},
				column[view]{"devices", func(v view) string { return fmt.Sprint(v.Progress.Total) }},
				column[view]{"confirmed", func(v view) string { return fmt.Sprint(v.Progress.Counts["confirmed"]) }},
				column[view]{"created", func(v view) string { return when(v.Created) }})
		})}
}

func campaignShow(a *app) *cobra.Command {
	return &cobra.Command{Use: "show CAMPAIGN", Short: "Show one campaign with its progress", Args: cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			v, err := campaignDo(ctx, cl, "get", args[0], "")
			if err != nil {
				return err
			}
			return a.printCampaign(v)
		})}
}

func campaignDo(ctx context.Context, cl *client.Client, verb, id, reason string) (topics.CampaignView, error) {
	var v topics.CampaignView
	c, err := ident.ParseCampaign(id)
	if err != nil {
		return v, err
	}
	err = cl.Do(ctx, "campaign", verb, topics.CampaignRef{Campaign: c, Reason: reason}, &v)
	return v, err
}

func campaignDevices(a *app) *cobra.Command {
	type view = topics.AssignmentView
	var state string
	c := &cobra.Command{Use: "devices CAMPAIGN", Short: "List a campaign's devices and where each stands", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&state, "state", "", "only those in one state: failed")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := ident.ParseCampaign(args[0])
		if err != nil {
			return err
		}
		items := client.List[view](ctx, cl, "campaign", "devices",
			func(p topics.Page) any { return topics.CampaignDevices{Page: p, Campaign: id, State: state} })
		return printList(a, items,
			column[view]{"device", func(v view) string { return v.Device.String() }},
			column[view]{"wave", func(v view) string { return fmt.Sprint(v.Wave) }},
			column[view]{"state", func(v view) string { return v.State }},
			column[view]{"reason", func(v view) string { return v.Reason }},
			column[view]{"stop", func(v view) string { return v.Stop }},
			column[view]{"offers", func(v view) string { return fmt.Sprint(v.Offers) }},
			column[view]{"reports", func(v view) string { return fmt.Sprint(v.Reports) }},
			column[view]{"updated", func(v view) string { return when(v.Updated) }})
	})
	return c
}

// stepText is the step of a campaign that is under way; the one that it ended in tells nobody anything.
func stepText(v topics.CampaignView) string {
	if over(v.Progress) {
		return ""
	}
	return v.Step
}

func (a *app) printCampaign(v topics.CampaignView) error {
	policy, err := json.Marshal(v.Policy)
	if err != nil {
		return fmt.Errorf("print policy: %w", err)
	}
	return a.printOne(v, row{"campaign", v.Campaign.String()}, row{"description", v.Description}, row{"manifest", v.Manifest.String()},
		row{"payload", v.Payload.String()}, row{"size", bytesText(v.Size)}, row{"policy", string(policy)}, row{"state", v.State},
		row{"step", stepText(v)}, row{"outcome", v.Outcome}, row{"reason", v.Reason}, row{"progress", countsText(v.Progress)},
		row{"plan", v.Plan.String()}, row{"approved", prefix(when(v.Approved)+" by ", v.ApprovedBy)},
		row{"revision", fmt.Sprint(v.Revision)}, row{"created", when(v.Created) + " by " + v.CreatedBy},
		row{"started", when(v.Started)}, row{"stopped", when(v.Stopped)})
}
