package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

// errCampaign is wrapped by the error of a campaign that ended without success.
var errCampaign = errors.New("campaign did not succeed")

// unsuccessful is the error for a campaign that ended so.
func unsuccessful(campaign, outcome string) error {
	return &failure{code: exitCampaign, err: fmt.Errorf("%s: %s: %w", campaign, outcome, errCampaign)}
}

func campaignWatch(a *app) *cobra.Command {
	var status bool
	c := &cobra.Command{Use: "watch CAMPAIGN", Short: "Follow a campaign until it ends", Args: cobra.ExactArgs(1)}
	c.Flags().BoolVar(&status, "exit-status", false, "exit 7 if the campaign does not succeed")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		id, err := ident.ParseCampaign(args[0])
		if err != nil {
			return err
		}
		show := a.newTrack()
		last, err := watch(ctx, cl, id, show.at)
		show.end()
		if err != nil {
			return err
		}
		v, err := campaignDo(ctx, cl, "get", last.Campaign.String(), "")
		if err != nil {
			return err
		}
		if err := a.printCampaign(v); err != nil {
			return err
		}
		if status && v.Outcome != string(campaign.Succeeded) {
			return unsuccessful(v.Campaign.String(), v.Outcome)
		}
		return nil
	})
	return c
}

// pollEvery is how often watch asks by command, in case that the progress message that mattered was dropped (QoS 0).
const pollEvery = 5 * time.Second

// watch tells show each new progress of a campaign until it has stopped, and returns the last one.
func watch(ctx context.Context, cl *client.Client, id ident.Campaign, show func(topics.Progress)) (topics.Progress, error) {
	return watchUntil(ctx, cl, id, func(p topics.Progress) bool {
		show(p)
		return over(p)
	})
}

// watchUntil tells done each new progress of a campaign until it says so, and returns the last one.
func watchUntil(ctx context.Context, cl *client.Client, id ident.Campaign, done func(topics.Progress) bool) (topics.Progress, error) {
	updates := make(chan topics.Progress, 16) // when full the newest is dropped; the poll below catches up
	err := cl.Subscribe(ctx, topics.ProgressTopic(cl.Tenant(), id), func(_ string, payload []byte) {
		var p topics.Progress
		if _, err := topics.Decode(payload, &p); err != nil {
			return // not ours to mend: the poll asks again
		}
		select {
		case updates <- p:
		default:
		}
	})
	if err != nil {
		return topics.Progress{}, err
	}
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	var last topics.Progress
	for first := true; ; first = false {
		if first {
			v, err := campaignDo(ctx, cl, "get", id.String(), "")
			if err != nil {
				return last, err
			}
			last = v.Progress
		} else if last, err = next(ctx, cl, id, updates, poll.C, last); err != nil {
			return last, err
		}
		if done(last) {
			return last, nil
		}
	}
}

// next waits for progress that is not older than last.
func next(ctx context.Context, cl *client.Client, id ident.Campaign, updates <-chan topics.Progress, poll <-chan time.Time, last topics.Progress) (topics.Progress, error) {
	for {
		select {
		case p := <-updates:
			if p.At.Before(last.At) {
				continue
			}
			return p, nil
		case <-poll:
			v, err := campaignDo(ctx, cl, "get", id.String(), "")
			if errors.Is(err, client.ErrUnreachable) || errors.Is(err, client.ErrTimeout) {
				continue // the server may be starting again; the client goes on trying
			}
			return v.Progress, err
		case <-ctx.Done():
			return last, ctx.Err()
		}
	}
}

func over(p topics.Progress) bool {
	return p.State == string(campaign.Stopped) || p.State == string(campaign.Archived)
}

// tally sums counts by what people ask for.
type tally struct{ total, confirmed, failed, silent, skipped, withdrawn, open uint64 }

// tallyOf sorts every state into one of five outcomes, or open. Who rejected or reverted the update failed. A deregistered
// device was not updated and did nothing wrong: it counts as skipped.
func tallyOf(total uint64, counts map[string]uint64) tally {
	t := tally{total: total}
	for state, n := range counts {
		switch s := campaign.State(state); s {
		case campaign.Confirmed:
			t.confirmed += n
		case campaign.Failed, campaign.Rejected, campaign.Reverted:
			t.failed += n
		case campaign.Silent:
			t.silent += n
		case campaign.Skipped, campaign.Deregistered:
			t.skipped += n
		case campaign.Withdrawn:
			t.withdrawn += n
		default:
			t.open += n
		}
	}
	return t
}

// outcome is a part of a tally, in the word that every output has for it.
type outcome struct {
	name string
	n    uint64
}

// outcomes are the five that end an update.
func (n tally) outcomes() []outcome {
	return []outcome{{"confirmed", n.confirmed}, {"failed", n.failed}, {"silent", n.silent}, {"skipped", n.skipped}, {"withdrawn", n.withdrawn}}
}

// countsText is a progress in one line.
func countsText(p topics.Progress) string {
	n := tallyOf(p.Total, p.Counts)
	text := fmt.Sprintf("%d devices", n.total)
	for _, o := range append(n.outcomes(), outcome{"open", n.open}) {
		if o.n > 0 {
			text += fmt.Sprintf(", %d %s", o.n, o.name)
		}
	}
	if s := p.Stops; s != nil {
		text += fmt.Sprintf("; the stop came to %d before they were offered it, to %d in time, to %d too late", s.NotStarted, s.Stopped, s.TooLate)
	}
	return text
}

// track draws the progress of a campaign on stderr: a line per wave, drawn over on a terminal; elsewhere a wave's line
// when it is settled, and a line of counts when the state is another, and every ten seconds.
type track struct {
	a     *app
	live  bool
	width func() int // of the terminal, which may change; a line that wraps could not be drawn over
	start time.Time
	drawn int // lines to draw over
	state string
	told  int // waves whose line is written for good
	last  time.Time
	took  map[int]time.Duration // until each settled wave was
	pace  pace
}

func (a *app) newTrack() *track {
	now := time.Now()
	return &track{a: a, live: terminal(a.stderr), width: func() int { return width(a.stderr) }, start: now, last: now, took: map[int]time.Duration{}}
}

func (t *track) at(p topics.Progress) {
	if t.a.quiet {
		return
	}
	t.pace.add(p)
	if t.live {
		if t.drawn > 0 {
			fmt.Fprintf(t.a.stderr, "\x1b[%dA", t.drawn)
		}
		wide := t.width()
		for i, w := range p.Waves {
			fmt.Fprintf(t.a.stderr, "\x1b[K%s\n", t.wave(i, len(p.Waves), w, wide))
		}
		below := t.below(p)
		for _, line := range below {
			fmt.Fprintf(t.a.stderr, "\x1b[K%s\n", cut("  "+line, wide))
		}
		t.drawn = len(p.Waves) + len(below)
		return
	}
	for t.told < len(p.Waves) {
		w := p.Waves[t.told]
		if tallyOf(w.Total, w.Counts).open > 0 {
			break
		}
		fmt.Fprintln(t.a.stderr, t.wave(t.told, len(p.Waves), w, defaultWidth))
		t.told++
	}
	if time.Since(t.last) > lineEvery || p.State != t.state && !over(p) {
		t.state, t.last = p.State, time.Now()
		fmt.Fprintf(t.a.stderr, "  %s: %s%s\n", p.State, countsText(p), prefix(", ", t.pace.text(p)))
	}
	if over(p) && len(p.Reasons) > 0 {
		fmt.Fprintf(t.a.stderr, "  not updated: %s\n", reasonsText(p.Reasons))
	}
}

// below are the lines under the waves, always as many: the counts, the rate, and why devices were not updated.
func (t *track) below(p topics.Progress) []string {
	return []string{p.State + ": " + countsText(p), t.pace.text(p), prefix("not updated: ", reasonsText(p.Reasons))}
}

// wave is the line of wave i: what is not zero, with as much of a bar as wide columns leave room for.
func (t *track) wave(i, of int, w topics.WaveProgress, wide int) string {
	n := tallyOf(w.Total, w.Counts)
	took, settled := t.took[i]
	if !settled {
		took = time.Since(t.start)
	}
	if n.open == 0 {
		t.took[i] = took
	}
	return waveLine(i, of, n, took, wide)
}

func waveLine(i, of int, n tally, took time.Duration, wide int) string {
	const longest, shortest = 15, 5
	done := n.total - n.open
	head := fmt.Sprintf("  wave %d/%d ", i+1, of)
	tail := fmt.Sprintf("%d/%d", done, n.total)
	for _, o := range n.outcomes() {
		if o.n > 0 {
			tail += fmt.Sprintf("  %s %d", o.name, o.n)
		}
	}
	tail += "  " + tookText(took)
	if cells := min(longest, wide-len(head)-len(tail)-1); cells >= shortest {
		return head + bar(done, n.total, cells) + " " + tail
	}
	return cut(head+strings.ReplaceAll(tail, "  ", " "), wide)
}

func tookText(d time.Duration) string {
	switch {
	case d < 100*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 100*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.0f h", d.Hours())
}

// cut is s in at most wide columns; each of its runes takes one.
func cut(s string, wide int) string {
	if r := []rune(s); len(r) > wide {
		return string(r[:max(0, wide-1)]) + "…"
	}
	return s
}

// end leaves what is drawn.
func (t *track) end() { t.drawn = 0 }
