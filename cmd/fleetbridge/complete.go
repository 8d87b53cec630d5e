package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/campaign"
	"fleetbridge/internal/client"
	"fleetbridge/simulator/scenario"
	"fleetbridge/topics"
)

// Completion by the shell: `fleetbridge completion bash --help` says how to load it. Names of campaigns and devices come
// from the server of the context; one that does not answer soon completes nothing.
const (
	completeWithin = 2 * time.Second
	completeMost   = 50
)

// completer lists the words that begin with what is typed.
type completer = cobra.CompletionFunc

// complete gives each command's arguments and flags their completer, by the words in their usage lines.
func (a *app) complete(root *cobra.Command) {
	named := map[string]completer{"CAMPAIGN": a.names("campaign"), "DEVICE": a.names("device"), "[SCENARIO]": words(scenario.Names()...)}
	flags := map[string]completer{
		"campaign": named["CAMPAIGN"], "device": named["DEVICE"], "scenario": orFile(scenario.Names()), "state": words(stateWords()...),
		"for": words("succeeded", "stopped", "active", "paused", "wave:", "confirmed:"), "output": words("table", "json", "jsonl"),
		"role": words(string(topics.RoleOperator), string(topics.RoleViewer), string(topics.RoleDevice), string(topics.RoleAdmin)),
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		use := strings.Fields(c.Use)
		if len(use) > 1 && named[use[1]] != nil && c.Name() != "add" {
			c.ValidArgsFunction = first(named[use[1]])
		}
		for name, f := range flags {
			if c.LocalNonPersistentFlags().Lookup(name) != nil || c == root && c.PersistentFlags().Lookup(name) != nil {
				// An error says that there is one already.
				_ = c.RegisterFlagCompletionFunc(name, f)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// first completes the first argument and no other.
func first(f completer) completer {
	return func(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f(c, args, typed)
	}
}

func words(list ...string) completer {
	return func(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return begun(list, typed), cobra.ShellCompDirectiveNoFileComp
	}
}

// orFile completes words, and files where none fits.
func orFile(list []string) completer {
	return func(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if fit := begun(list, typed); len(fit) > 0 {
			return fit, cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
}

func begun(list []string, typed string) []cobra.Completion {
	var out []cobra.Completion
	for _, s := range list {
		if strings.HasPrefix(s, typed) {
			out = append(out, s)
		}
	}
	return out
}

func stateWords() []string {
	var out []string
	for _, s := range campaign.States {
		out = append(out, string(s))
	}
	return out
}

// names asks the server for the objects of a kind. Lists are in the order of names and start after their cursor, so those
// that begin with what is typed are the next ones after it.
func (a *app) names(noun string) completer {
	return func(c *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(c.Context(), completeWithin)
		defer cancel()
		to, err := a.readContext()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		to.Timeout = completeWithin
		cl, err := client.Dial(ctx, to)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer cl.Close()
		return begun(namesAfter(ctx, cl, noun, typed), typed), cobra.ShellCompDirectiveNoFileComp
	}
}

// namesAfter reads one page; what can't be read completes nothing. A name that is typed whole is left as it is.
func namesAfter(ctx context.Context, cl *client.Client, noun, typed string) []string {
	page := topics.Page{Limit: completeMost, Cursor: typed}
	var out []string
	var err error
	if noun == "campaign" {
		var list topics.List[topics.CampaignView]
		err = cl.Do(ctx, noun, "list", page, &list)
		for _, v := range list.Items {
			out = append(out, v.Campaign.String())
		}
	} else {
		var list topics.List[topics.DeviceView]
		err = cl.Do(ctx, noun, "list", page, &list)
		for _, v := range list.Items {
			out = append(out, v.Device.String())
		}
	}
	if err != nil {
		return nil
	}
	return out
}
