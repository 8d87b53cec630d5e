package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/groupcommit"
	"fleetbridge/internal/bench/load"
	"fleetbridge/internal/bench/peer"
)

func benchCommand(a *app) *cobra.Command {
	return group("bench", "Measure this machine: the server beside what people would use instead",
		benchChunks(a), benchReports(a), benchConnect(a), benchIdle(a), benchStorm(a),
		benchCampaign(a), benchEndToEnd(a), benchRole(a), benchMachine(a), benchPage(a))
}

// roles are what processes of a bench other than the server do; see package bench.
var roles = map[string]bench.Role{
	"chunk-load":  load.Chunks,
	"report-load": load.Reports,
	"crowd":       load.Crowd,
	"floor":       peer.Floor,
	"responder":   peer.Responder,
	"raw-writes":  groupcommit.Run,
	fleetRole:     runFleet,
}

// sheets are the tables of docs/performance.md, one for each bench.
var sheets = []bench.Sheet{chunkSheet, reportSheet, connectSheet, idleSheet, stormSheet, campaignSheet, endToEndSheet}

// benchFlags are the flags that benches have in common.
type benchFlags struct {
	devices, runs    int
	duration, warmup time.Duration
	cases            []string
	noisy            bool
	profile          string
}

// add adds them to a command; the values are the defaults, cases all that there are.
func (b *benchFlags) add(f *pflag.FlagSet) {
	b.addTask(f)
	f.DurationVar(&b.duration, "duration", b.duration, "how long a run is measured")
	f.DurationVar(&b.warmup, "warmup", b.warmup, "how long a run goes before it is measured")
	f.StringSliceVar(&b.cases, "case", nil, "only these cases: "+strings.Join(b.cases, ", "))
}

// addTask adds those of a bench whose runs end when all devices have done something.
func (b *benchFlags) addTask(f *pflag.FlagSet) {
	b.addRuns(f)
	f.IntVar(&b.devices, "devices", b.devices, "devices that are connected")
}

// addRuns adds those of a bench whose work has an end of its own.
func (b *benchFlags) addRuns(f *pflag.FlagSet) {
	f.IntVar(&b.runs, "runs", b.runs, "runs of each contender, in turn; the result is their median")
	f.BoolVar(&b.noisy, "noisy", false, "accept results while other processes take more than a tenth of a core")
	f.StringVar(&b.profile, "profile", "", "write CPU and heap profiles of the server, a pair for each run, to files whose names begin with this")
}

// checkTask refuses what can't be measured.
func (b *benchFlags) checkTask() error {
	if b.devices < 1 || b.runs < 1 {
		return usagef("--devices and --runs must be above 0")
	}
	return nil
}

// check does so where runs have a duration; known are the names of the cases.
func (b *benchFlags) check(known []string) error {
	if err := b.checkTask(); err != nil {
		return err
	}
	if b.duration <= 0 {
		return usagef("--duration must be above 0")
	}
	for _, c := range b.cases {
		if !slices.Contains(known, c) {
			return usagef("--case %q: want some of %s", c, strings.Join(known, ", "))
		}
	}
	return nil
}

// wants reports whether a case was asked for.
func (b *benchFlags) wants(name string) bool {
	return len(b.cases) == 0 || slices.Contains(b.cases, name)
}

// benchLimit ends a bench that hangs.
const benchLimit = 20 * time.Minute

// runBench gives fn what every bench needs, and prints what it returns or reported before it failed. Nothing is left behind.
func (a *app) runBench(ctx context.Context, sheet bench.Sheet, fn func(ctx context.Context, out *benchOutput) error) error {
	ctx, cancel := a.untilInterrupted(ctx)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, benchLimit)
	defer stop()
	out := &benchOutput{app: a}
	err := fn(ctx, out)
	if a.output == "table" && len(out.records) > 0 {
		err = errors.Join(err, a.printSheet(sheet, out.records))
	}
	if err == nil && out.refused > 0 {
		err = fmt.Errorf("%d cases not measured: %w; --noisy takes them as they are", out.refused, bench.ErrNoisy)
	}
	return orInterrupted(ctx, err)
}

// benchOutput takes results as they come: an object a line, or rows for the table at the end.
type benchOutput struct {
	app     *app
	records []bench.Record
	refused int
}

// put takes one result: a struct with JSON names, or a record.
func (o *benchOutput) put(v any) error {
	r, err := bench.RecordOf(v)
	if err != nil {
		return err
	}
	o.records = append(o.records, r)
	switch {
	case r["missing"] == true:
		o.app.say("warning: %s is not installed: %s %s goes without it", r.Text("peer"), r.Text("bench"), r.Text("case"))
	case r.Text("refused") != "":
		o.refused++
		o.app.say("warning: %s %s: %s", r.Text("bench"), r.Text("case"), r.Text("refused"))
	}
	if o.app.output == "table" {
		return nil
	}
	if err := json.NewEncoder(o.app.stdout).Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

func (a *app) printSheet(s bench.Sheet, records []bench.Record) error {
	w := plainTable()
	cells := func(texts []string) table.Row {
		var r table.Row
		for _, t := range texts {
			r = append(r, t)
		}
		return r
	}
	w.AppendHeader(cells(s.Heads()))
	for _, r := range s.Rows(records) {
		w.AppendRow(cells(r))
	}
	return a.printText(w.Render())
}

// benchRole runs a role; the bench starts it, people don't.
func benchRole(a *app) *cobra.Command {
	c := &cobra.Command{Use: "role NAME", Short: "Be a process of a bench", Args: cobra.ExactArgs(1), Hidden: true}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		role, ok := roles[args[0]]
		if !ok {
			return usagef("role %q: want one of %s", args[0], strings.Join(slices.Sorted(maps.Keys(roles)), ", "))
		}
		return bench.Work(cmd.Context(), a.stdin, a.stdout, role)
	}
	return c
}

// benchMachine prints what the results after it are measured on.
func benchMachine(a *app) *cobra.Command {
	commit := ""
	c := &cobra.Command{Use: "machine", Short: "Say what is measured: date, commit, machine", Args: cobra.NoArgs, Hidden: true}
	c.Flags().StringVar(&commit, "commit", "unknown", "what the binary was built from")
	c.RunE = func(*cobra.Command, []string) error {
		return json.NewEncoder(a.stdout).Encode(bench.Machine(time.Now(), commit))
	}
	return c
}

// benchPage writes results from stdin into the tables of a page.
func benchPage(a *app) *cobra.Command {
	return &cobra.Command{Use: "page FILE", Short: "Write the results on stdin into the tables of a page", Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			records, err := bench.ReadRecords(a.stdin)
			if err != nil {
				return err
			}
			page, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read page: %w", err)
			}
			filled, err := bench.Fill(string(page), sheets, records)
			if err != nil {
				return err
			}
			return os.WriteFile(args[0], []byte(filled), 0o644)
		}}
}
