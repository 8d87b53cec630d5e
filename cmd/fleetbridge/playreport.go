package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/internal/spec"
	"fleetbridge/simulator/scenario"
	"fleetbridge/topics"
)

// errExpectation is wrapped by the error of a scenario that did not end as it must.
var errExpectation = errors.New("not as expected")

func simScenarios(a *app) *cobra.Command {
	type item struct {
		Scenario string `json:"scenario"`
		Devices  int    `json:"devices"`
		Summary  string `json:"summary"`
	}
	return &cobra.Command{Use: "scenarios [SCENARIO]", Short: "List the library of scenarios, or print one as a file to start from", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				text, ok := scenario.Source(args[0])
				if !ok {
					return unknownScenario(args[0])
				}
				return a.printText(strings.TrimSuffix(string(text), "\n"))
			}
			items := func(yield func(item, error) bool) {
				for _, name := range scenario.Names() {
					s, _, err := readScenario(name)
					if !yield(item{name, s.Devices(), s.Summary}, err) {
						return
					}
				}
			}
			return printList(a, items, column[item]{"scenario", func(i item) string { return i.Scenario }},
				column[item]{"devices", func(i item) string { return fmt.Sprint(i.Devices) }},
				column[item]{"summary", func(i item) string { return i.Summary }})
		}}
}

func unknownScenario(name string) error {
	return &failure{code: exitUsage, err: fmt.Errorf("no scenario and no file %q", name),
		hint: "the library has " + strings.Join(scenario.Names(), ", ")}
}

// readScenario reads one of the library by its name, else a file.
func readScenario(name string) (scenario.Scenario, string, error) {
	short := name
	text, ok := scenario.Source(name)
	if !ok {
		var err error
		if text, err = os.ReadFile(name); errors.Is(err, os.ErrNotExist) {
			return scenario.Scenario{}, "", unknownScenario(name)
		} else if err != nil {
			return scenario.Scenario{}, "", fmt.Errorf("read scenario: %w", err)
		}
		short = "scenario"
	}
	s, doc, err := scenario.Parse(name, text)
	if err != nil {
		return s, "", err
	}
	for i, action := range s.Actions {
		if action.When == "" {
			continue
		}
		if _, err := parseGoal(action.When); err != nil {
			return s, "", spec.Errors{doc.At(fmt.Sprintf("/action/%d/when", i), err.Error())}
		}
	}
	file := &specFile{doc: doc}
	for i, c := range s.Updates { // what the contract says of a campaign's members, before anything is made
		file.prefix = fmt.Sprintf("/campaign/%d", i)
		id, err := ident.ParseCampaign(c.Name)
		if err != nil {
			return s, "", err
		}
		if err := file.locate(topics.CampaignUpdate{Campaign: id, Selection: &c.Selection, Policy: &c.Policy}.Validate()); err != nil {
			return s, "", err
		}
	}
	return s, short, nil
}

// playResult is what a scenario came to; -o json prints it.
type playResult struct {
	Scenario  string            `json:"scenario"`
	Passed    bool              `json:"passed"`
	Elapsed   float64           `json:"elapsed_s"`
	Checks    []scenario.Check  `json:"checks"`
	Campaigns []topics.Progress `json:"campaigns"`
}

// playScenario runs a scenario and prints how it ended; exit 7 if anything is not as expected.
func (a *app) playScenario(ctx context.Context, cl *client.Client, op client.Context, name, prefix string) error {
	s, short, err := readScenario(name)
	if err != nil {
		return err
	}
	if prefix == "" {
		prefix = short
	}
	a.say("▸ scenario   %s: %s", short, s.Summary)
	p := &play{a: a, cl: cl, op: op, name: prefix, script: s}
	start := time.Now()
	unmet, err := p.run(ctx)
	if err != nil {
		return err
	}
	r, err := p.judge(ctx, unmet)
	if err != nil {
		return err
	}
	r.Scenario, r.Elapsed = short, seconds(time.Since(start))
	if err := a.printPlay(r); err != nil {
		return err
	}
	if !r.Passed {
		return &failure{code: exitCampaign, err: fmt.Errorf("scenario %s: %w", short, errExpectation)}
	}
	return nil
}

func (a *app) printPlay(r playResult) error {
	if a.output != "table" {
		return a.printJSON(r)
	}
	lines := []string{""}
	bad := 0
	for _, c := range r.Checks {
		sign, want := a.mark("✔", true), ""
		if !c.OK {
			sign, want = a.mark("✖", false), ", want "+c.Want
			bad++
		} else if c.Want != c.Got {
			want = " (" + c.Want + ")"
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s %s%s", sign, c.Campaign, c.What, c.Got, want))
	}
	verdict := fmt.Sprintf("%s as expected, in %.1f s", r.Scenario, r.Elapsed)
	if bad > 0 {
		verdict = fmt.Sprintf("%s: %d of %d expectations not met, in %.1f s", r.Scenario, bad, len(r.Checks), r.Elapsed)
	}
	return a.printText(strings.Join(append(lines, "", verdict), "\n"))
}
