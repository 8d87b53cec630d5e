package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// result is what a run of a scenario came to; -o json prints it.
type result struct {
	Devices      uint64  `json:"devices"`
	Confirmed    uint64  `json:"confirmed"`
	Failed       uint64  `json:"failed"`
	Silent       uint64  `json:"silent"`
	Skipped      uint64  `json:"skipped"`
	Withdrawn    uint64  `json:"withdrawn"` // the offer was taken back before they had the update
	Resumed      int     `json:"resumed"`   // went on with stored chunks after losing power or link
	Elapsed      float64 `json:"elapsed_s"`
	Payload      int64   `json:"payload_bytes"`
	ChunkBytes   int64   `json:"chunk_bytes"` // that devices received
	Acknowledged int64   `json:"reports_acknowledged"`
	Recorded     uint64  `json:"reports_recorded"`
	Campaign     string  `json:"campaign"`
	Outcome      string  `json:"outcome"`

	reason string
	stats  simulator.Stats
	took   time.Duration // the campaign alone
}

// update takes a scenario from nothing to the end of its campaign.
func (a *app) update(ctx context.Context, s *fleetSetup, server string, p topics.Policy) (result, error) {
	if err := s.publish(ctx); err != nil {
		return result{}, err
	}
	a.say("▸ payload    %s %s, %s, its manifest signed by an ephemeral key and verified by the server", s.name, simVersion, bytesText(s.size))
	ids, err := s.provision(ctx)
	if err != nil {
		return result{}, err
	}
	f, err := s.fleet(server, ids)
	if err != nil {
		return result{}, err
	}
	a.say("▸ fleet      %d devices; %s", s.devices, faultsText(f.Faults()))
	on := switchOn(ctx, f)
	defer on.off()
	if err := waitReady(ctx, f); err != nil {
		return result{}, err
	}
	started := time.Now()
	id, err := s.campaign(ctx, p)
	if err != nil {
		return result{}, err
	}
	a.say("▸ campaign   %s in %d waves", id, max(1, len(p.Waves)))
	track := a.newTrack()
	if _, err := watch(ctx, s.cl, id, track.at); err != nil {
		return result{}, err
	}
	track.end()
	return s.result(ctx, f.Stats(), id, started)
}

// result reads what the server knows after what the devices knew before, so that every acknowledged report is among the
// recorded ones.
func (s *fleetSetup) result(ctx context.Context, stats simulator.Stats, id ident.Campaign, started time.Time) (result, error) {
	v, err := campaignDo(ctx, s.cl, "get", id.String(), "")
	if err != nil {
		return result{}, err
	}
	t := tallyOf(v.Progress.Total, v.Progress.Counts)
	return result{Devices: t.total, Confirmed: t.confirmed, Failed: t.failed, Silent: t.silent, Skipped: t.skipped, Withdrawn: t.withdrawn,
		Resumed: stats.Resumed, Payload: s.size, ChunkBytes: stats.ChunkBytes, Acknowledged: stats.Acknowledged,
		Recorded: v.Progress.Reports, Campaign: v.Campaign.String(), Outcome: v.Outcome, reason: v.Reason,
		stats: stats, took: time.Since(started)}, nil
}

// printResult writes the summary to stdout: words, or one line of JSON.
func (a *app) printResult(ctx context.Context, cl *client.Client, r result) error {
	if a.output != "table" {
		if err := json.NewEncoder(a.stdout).Encode(r); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		return nil
	}
	why, err := reasons(ctx, cl, r.Campaign)
	if err != nil {
		return err
	}
	sign := a.mark("✔", true)
	if r.Outcome != string(campaign.Succeeded) {
		sign = a.mark("✖", false)
	}
	lines := []string{
		"",
		fmt.Sprintf("%s %s %s: %d of %d devices confirmed the update, %d failed, %d silent, %d skipped%s, in %.1f s%s",
			sign, r.Campaign, r.Outcome, r.Confirmed, r.Devices, r.Failed, r.Silent, r.Skipped, withdrawnText(r.Withdrawn), r.Elapsed, prefix("; ", r.reason)),
	}
	if why != "" {
		lines = append(lines, "  "+why)
	}
	lines = append(lines,
		fmt.Sprintf("  %s over MQTT in %d chunks; %d devices went on where they were after losing power or link",
			bytesText(r.ChunkBytes), r.stats.Chunks, r.Resumed),
		fmt.Sprintf("  %d reports acknowledged to devices, %d recorded on disk before that", r.Acknowledged, r.Recorded))
	return a.printText(strings.Join(lines, "\n"))
}

// withdrawnText is for a list of counts: in most runs nothing is withdrawn, and nothing is said of it.
func withdrawnText(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d withdrawn", n)
}

// reasons counts why devices were not updated, by outcome: the numbers of each add up to the tally's.
func reasons(ctx context.Context, cl *client.Client, id string) (string, error) {
	why := map[string]map[string]int{}
	err := eachNotUpdated(ctx, cl, id, func(v topics.AssignmentView) {
		for _, o := range tallyOf(1, map[string]uint64{v.State: 1}).outcomes() {
			if o.n > 0 {
				if why[o.name] == nil {
					why[o.name] = map[string]int{}
				}
				why[o.name][cmp.Or(v.Reason, v.State)]++
			}
		}
	})
	var parts []string
	for _, name := range sortedKeys(why) {
		parts = append(parts, name+": "+countText(why[name]))
	}
	return strings.Join(parts, "; "), err
}

// reasonCounts counts the devices that were not updated by state and reason.
func reasonCounts(ctx context.Context, cl *client.Client, id string) (map[string]int, error) {
	n := map[string]int{}
	err := eachNotUpdated(ctx, cl, id, func(v topics.AssignmentView) { n[strings.TrimSpace(v.State+" "+v.Reason)]++ })
	return n, err
}

// eachNotUpdated calls fn for every device of a campaign that is settled and not confirmed.
func eachNotUpdated(ctx context.Context, cl *client.Client, id string, fn func(topics.AssignmentView)) error {
	c, err := ident.ParseCampaign(id)
	if err != nil {
		return err
	}
	for _, state := range []campaign.State{campaign.Failed, campaign.Rejected, campaign.Reverted, campaign.Silent, campaign.Skipped, campaign.Withdrawn, campaign.Deregistered} {
		items := client.List[topics.AssignmentView](ctx, cl, "campaign", "devices",
			func(p topics.Page) any { return topics.CampaignDevices{Page: p, Campaign: c, State: string(state)} })
		for v, err := range items {
			if err != nil {
				return err
			}
			fn(v)
		}
	}
	return nil
}

// countText prints counts, the most frequent first.
func countText(n map[string]int) string {
	keys := sortedKeys(n)
	slices.SortStableFunc(keys, func(x, y string) int { return n[y] - n[x] })
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s %d", k, n[k])
	}
	return strings.Join(keys, ", ")
}

func faultsText(n map[simulator.Kind]int) string {
	m := map[string]int{}
	for k, count := range n {
		if k != simulator.None {
			m[string(k)] = count
		}
	}
	if len(m) == 0 {
		return "nothing will go wrong"
	}
	return "what will go wrong: " + countText(m)
}
