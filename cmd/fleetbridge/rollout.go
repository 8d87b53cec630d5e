package main

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

// rolloutFlags are the flags of `campaign create` that say when a campaign may go on.
type rolloutFlags struct {
	manual                  bool
	soak                    time.Duration
	startAt, endAt          string
	waveFailure, waveSilent float64
	windows                 []string
	rate                    topics.Rate
	priority                int
	continuous              bool
}

func (r *rolloutFlags) register(f *pflag.FlagSet) {
	f.BoolVar(&r.manual, "manual", false, "keep each wave after the first shut until `campaign next`")
	f.DurationVar(&r.soak, "soak", 0, "so long a wave must meet its gate before the next opens")
	f.StringVar(&r.startAt, "start-at", "", "started earlier, the campaign is scheduled until then: 2026-12-01T02:00:00Z")
	f.StringVar(&r.endAt, "end-at", "", "end the campaign then: 2026-12-08T02:00:00Z")
	f.StringArrayVar(&r.windows, "window", nil, `offer only inside a window, may be repeated: "0 2 * * 1-5; 4h; Europe/Berlin" (cron; duration; zone)`)
	f.Float64Var(&r.rate.PerMinute, "rate", 0, "offers per minute (0: no bound)")
	f.Float64Var(&r.rate.Factor, "rate-factor", 0, "multiply the rate by it each time --rate-every more are confirmed")
	f.IntVar(&r.rate.Every, "rate-every", 0, "confirmed devices per step of --rate-factor")
	f.Float64Var(&r.rate.Max, "rate-max", 0, "offers per minute that --rate-factor does not pass")
	f.IntVar(&r.priority, "priority", 0, "0 to 100: of campaigns that wait for the same busy device the highest has it next; a free device goes to the first that offers")
	f.BoolVar(&r.continuous, "continuous", false, "devices that come to match later join; the campaign ends by stop or by its time only")
	f.Float64Var(&r.waveFailure, "wave-failure", 0, "percent failed in one wave that stops the campaign when passed (0: none)")
	f.Float64Var(&r.waveSilent, "wave-silent", 0, "percent silent in one wave that stops the campaign when passed (0: none)")
}

// parseWindow parses "CRON; DURATION; ZONE"; without a zone it is UTC.
func parseWindow(s string) (topics.Window, error) {
	parts := strings.Split(s, ";")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	if len(parts) < 2 || len(parts) > 3 {
		return topics.Window{}, usagef(`--window %q: want "CRON; DURATION; ZONE", such as "0 2 * * 1-5; 4h; Europe/Berlin"`, s)
	}
	w := topics.Window{Cron: parts[0]}
	if err := w.Duration.UnmarshalText([]byte(parts[1])); err != nil {
		return w, usagef("--window %q: %w", s, err)
	}
	if len(parts) == 3 {
		w.Zone = parts[2]
	}
	return w, nil
}

// into puts what the flags say into p.
func (r rolloutFlags) into(p *topics.Policy) error {
	for _, v := range []float64{r.rate.PerMinute, r.rate.Factor, r.rate.Max, r.waveFailure, r.waveSilent} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return usagef("%g is no rate, factor or percentage: want a number", v)
		}
	}
	p.Manual, p.Soak = r.manual, topics.Duration(r.soak)
	p.WaveFailurePercent, p.WaveSilentPercent = r.waveFailure, r.waveSilent
	p.Rate, p.Priority = r.rate, r.priority
	if r.continuous {
		p.Membership = "continuous"
	}
	for _, s := range r.windows {
		w, err := parseWindow(s)
		if err != nil {
			return err
		}
		p.Windows = append(p.Windows, w)
	}
	for _, t := range []struct {
		flag, text string
		into       *time.Time
	}{{"start-at", r.startAt, &p.StartAt}, {"end-at", r.endAt, &p.EndAt}} {
		if t.text == "" {
			continue
		}
		v, err := time.Parse(time.RFC3339, t.text)
		if err != nil {
			return usagef("--%s %q: want a time such as 2026-12-01T02:00:00Z", t.flag, t.text)
		}
		*t.into = v.UTC()
	}
	return nil
}

func campaignPause(a *app) *cobra.Command {
	var reason string
	c := &cobra.Command{Use: "pause CAMPAIGN", Short: "Pause a campaign: nothing is offered, devices that have their offer go on", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&reason, "reason", "", "why, for the record")
	c.RunE = campaignVerb(a, "pause", &reason)
	return c
}

func campaignResume(a *app) *cobra.Command {
	return &cobra.Command{Use: "resume CAMPAIGN", Short: "Let a paused campaign go on", Args: cobra.ExactArgs(1),
		RunE: campaignVerb(a, "resume", new(string))}
}

func campaignNext(a *app) *cobra.Command {
	return &cobra.Command{Use: "next CAMPAIGN", Short: "Release the next wave of a campaign with manual waves", Args: cobra.ExactArgs(1),
		RunE: campaignVerb(a, "next", new(string))}
}

// campaignVerb sends a command on one campaign and prints what it is then.
func campaignVerb(a *app, verb string, reason *string) func(*cobra.Command, []string) error {
	return a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		v, err := campaignDo(ctx, cl, verb, args[0], *reason)
		if err != nil {
			return err
		}
		return a.printCampaign(v)
	})
}
