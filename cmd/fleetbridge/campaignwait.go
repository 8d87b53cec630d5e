package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func campaignWait(a *app) *cobra.Command {
	var target string
	var within time.Duration
	c := &cobra.Command{Use: "wait CAMPAIGN", Short: "Wait until a campaign has come to a point, for scripts", Args: cobra.ExactArgs(1),
		Long: "wait ends with exit 0 when the campaign has come there, 7 when it can't any more, and 6 when --timeout has passed.\n\n" +
			"succeeded, stopped    it has ended: well; in any way\n" +
			"active, paused …      it is in that state, or (but for paused) past it\n" +
			"wave:2                its second wave is open, or was\n" +
			"confirmed:50          so many devices are in that state now; confirmed:10% of all"}
	c.Flags().StringVar(&target, "for", "succeeded", "succeeded, stopped, a campaign's state, wave:N, or a device's state: confirmed:N, confirmed:N%")
	c.Flags().DurationVar(&within, "timeout", 0, "give up after so long (0: never)")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := ident.ParseCampaign(args[0])
		if err != nil {
			return err
		}
		g, err := parseGoal(target)
		if err != nil {
			return err
		}
		last, err := await(ctx, cl, id, g, within)
		if err != nil {
			return err
		}
		if a.output != "table" {
			return a.printJSON(last)
		}
		a.say("%s is %s: %s", last.Campaign, strings.TrimSpace(last.State+" "+last.Outcome), countsText(last))
		return nil
	})
	return c
}

// await watches a campaign until g is met (nil), can't be met any more, or within has passed.
func await(ctx context.Context, cl *client.Client, id ident.Campaign, g goal, within time.Duration) (topics.Progress, error) {
	bounded, cancel := ctx, context.CancelFunc(func() {})
	if within > 0 {
		bounded, cancel = context.WithTimeout(ctx, within)
	}
	defer cancel()
	var last topics.Progress
	var met verdict
	_, err := watchUntil(bounded, cl, id, func(p topics.Progress) bool {
		last, met = p, g(p)
		return met != notYet
	})
	switch {
	case met == reached:
		return last, nil
	case met == never && !over(last):
		return last, &failure{code: exitCampaign, err: fmt.Errorf("%s is %s and has %d waves: %w", id, last.State, len(last.Waves), errNeverComes)}
	case met == never:
		return last, &failure{code: exitCampaign, err: fmt.Errorf("%s: %s %s: %w", id, last.State, strings.TrimSpace(last.Outcome+" "+last.Reason), errCampaign)}
	case ctx.Err() == nil && errors.Is(bounded.Err(), context.DeadlineExceeded):
		return last, &failure{code: exitTimeout, err: fmt.Errorf("%s is %s after %v: %s", id, last.State, within, countsText(last))}
	}
	return last, err
}

// errNeverComes is wrapped by the error of a goal that a running campaign can't come to.
var errNeverComes = errors.New("what --for names can't come")

// verdict is what a progress means for a goal.
type verdict int

const (
	notYet verdict = iota
	reached
	never
)

// goal judges a progress.
type goal func(topics.Progress) verdict

// life is the order of a campaign's states, for "at or past". Paused is no station: a campaign need not pass it.
var life = []campaign.Phase{campaign.Draft, campaign.AwaitingApproval, campaign.Scheduled, campaign.Starting, campaign.Active,
	campaign.Stopping, campaign.Stopped, campaign.Archived}

func parseGoal(s string) (goal, error) {
	kind, value, _ := strings.Cut(s, ":")
	switch kind {
	case "succeeded":
		return ended(func(p topics.Progress) bool { return p.Outcome == string(campaign.Succeeded) }), nil
	case "wave":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return nil, usagef("--for %q: want such as wave:2", s)
		}
		open := ended(func(p topics.Progress) bool { return len(p.Waves) > 0 && ran(p) && p.Wave >= n })
		return func(p topics.Progress) verdict {
			if len(p.Waves) > 0 && ran(p) && n > len(p.Waves) {
				return never
			}
			return open(p)
		}, nil
	case string(campaign.Paused):
		return ended(func(p topics.Progress) bool { return p.State == string(campaign.Paused) }), nil
	}
	if slices.Contains(campaign.States, campaign.State(kind)) {
		return parseCount(s, campaign.State(kind), value)
	}
	i := slices.Index(life, campaign.Phase(s))
	if i < 0 {
		return nil, usagef("--for %q: succeeded, stopped, a campaign's state, wave:N, or a device's state such as confirmed:N or confirmed:N%%", s)
	}
	return func(p topics.Progress) verdict {
		if life[i] == campaign.Active && p.Outcome == string(campaign.Refused) {
			return never // it never was
		}
		if slices.Index(life, campaign.Phase(p.State)) >= i || p.State == string(campaign.Paused) && i <= slices.Index(life, campaign.Active) {
			return reached
		}
		return notYet
	}, nil
}

// ended makes a goal of a condition: what is not so at a campaign's end will never be.
func ended(is func(topics.Progress) bool) goal {
	return func(p topics.Progress) verdict {
		switch {
		case is(p):
			return reached
		case over(p):
			return never
		}
		return notYet
	}
}

// ran says that devices were offered the update, so that the open wave means something.
func ran(p topics.Progress) bool {
	return !slices.Contains(life[:slices.Index(life, campaign.Active)], campaign.Phase(p.State))
}

func parseCount(s string, state campaign.State, value string) (goal, error) {
	number, percent := strings.CutSuffix(value, "%")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n > 0) || percent && n > 100 {
		return nil, usagef("--for %q: want such as %s:50 or %s:10%%", s, state, state)
	}
	return ended(func(p topics.Progress) bool {
		have, want := float64(p.Counts[string(state)]), n
		if percent {
			want = n / 100 * float64(p.Total)
		}
		return p.Total > 0 && have >= want
	}), nil
}
