package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func campaignUpdate(a *app) *cobra.Command {
	var m campaignFlags
	var revision uint64
	c := &cobra.Command{Use: "update CAMPAIGN", Short: "Edit a draft; after the start, its description", Args: cobra.ExactArgs(1),
		Long: "update changes what its flags name and leaves the rest. With -f the file is the whole draft: what it does not\n" +
			"name becomes the default, which is how to unset something. An update that crosses another one is refused (exit 5)."}
	m.flags(c)
	c.Flags().Uint64Var(&revision, "if-revision", 0, "only if the campaign is at this revision (default: the one that was read)")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
		now, err := campaignDo(ctx, cl, "get", args[0], "")
		if err != nil {
			return err
		}
		if revision == 0 {
			revision = now.Revision
		}
		req, file, err := m.change(c, a.stdin, now)
		if err != nil {
			return err
		}
		req.IfRevision = revision
		var v topics.CampaignView
		if err := cl.Do(ctx, "campaign", "update", req, &v); err != nil {
			return file.locate(err)
		}
		return a.printCampaign(v)
	})
	return c
}

// change is what the given flags, or the file, make of a campaign.
func (m campaignFlags) change(c *cobra.Command, stdin io.Reader, now topics.CampaignView) (topics.CampaignUpdate, *specFile, error) {
	req := topics.CampaignUpdate{Campaign: now.Campaign}
	if m.file != "" {
		whole, file, err := readCampaign(m.file, stdin, []string{now.Campaign.String()})
		req.Description, req.Manifest, req.Selection, req.Policy = &whole.Description, whole.Manifest, &whole.Selection, &whole.Policy
		return req, file, err
	}
	if err := unsets(c); err != nil {
		return req, nil, err
	}
	if c.Flags().Changed("description") {
		req.Description = &m.description
	}
	var err error
	if m.manifest != "" {
		if req.Manifest, err = ident.ParseDigest(m.manifest); err != nil {
			return req, nil, err
		}
	}
	selection, err := m.selection()
	if err != nil {
		return req, nil, err
	}
	if !reflect.ValueOf(selection).IsZero() {
		req.Selection = &selection
	}
	policy, err := m.policy()
	if err != nil {
		return req, nil, err
	}
	if !reflect.ValueOf(policy).IsZero() {
		both := now.Policy
		if err := overlay(&both, policy); err != nil {
			return req, nil, err
		}
		req.Policy = &both
	}
	if reflect.DeepEqual(req, topics.CampaignUpdate{Campaign: now.Campaign}) {
		return req, nil, usagef("nothing to change: name it by flags or -f")
	}
	return req, nil, nil
}

// unsets refuses flags that would do nothing: those with the value that means that they are absent.
func unsets(c *cobra.Command) error {
	var err error
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Changed && f.Name != "description" && f.Value.String() == f.DefValue {
			err = usagef("--%s %s: flags set and can't unset; give the whole draft by -f", f.Name, f.Value)
		}
	})
	return err
}

// overlay sets in *base what over has: the members that its JSON form names.
func overlay(base *topics.Policy, over topics.Policy) error {
	b, err := json.Marshal(over)
	if err != nil {
		return fmt.Errorf("lay over policy: %w", err)
	}
	if over.Waves != nil { // elements would be merged one by one
		base.Waves = nil
	}
	if err := json.Unmarshal(b, base); err != nil {
		return fmt.Errorf("lay over policy: %w", err)
	}
	return nil
}
