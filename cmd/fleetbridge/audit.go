package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func serverCommand(a *app) *cobra.Command {
	return group("server", "The server that the context names: its limits, audit log and records", serverInfo(a),
		group("audit", "The audit log of the tenant", auditList(a), auditVerify(a)), serverCheck(a))
}

func auditColumns() []column[topics.AuditView] {
	type view = topics.AuditView
	revisions := func(v view) string {
		if v.After == 0 {
			return ""
		}
		return fmt.Sprintf("%d → %d", v.Before, v.After)
	}
	return []column[view]{
		{"number", func(v view) string { return fmt.Sprint(v.Number) }},
		{"at", func(v view) string { return when(v.At) }},
		{"by", func(v view) string { return v.By }},
		{"command", func(v view) string { return v.Command }},
		{"object", func(v view) string { return v.Object }},
		{"revision", revisions},
		{"outcome", func(v view) string { return v.Outcome }},
	}
}

func auditList(a *app) *cobra.Command {
	var in string
	c := &cobra.Command{Use: "ls", Short: "List the audit log, the oldest entry first", Args: cobra.NoArgs}
	c.Flags().StringVar(&in, "campaign", "", "only what is about this campaign")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, _ []string) error {
		var id ident.Campaign
		if in != "" {
			var err error
			if id, err = ident.ParseCampaign(in); err != nil {
				return err
			}
		}
		items := client.List[topics.AuditView](ctx, cl, "audit", "list", func(p topics.Page) any { return topics.AuditList{Page: p, Campaign: id} })
		return printList(a, items, auditColumns()...)
	})
	return c
}

func campaignEvents(a *app) *cobra.Command {
	return &cobra.Command{Use: "events CAMPAIGN", Short: "List what happened to a campaign: commands, and decisions of the server", Args: cobra.ExactArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			id, err := ident.ParseCampaign(args[0])
			if err != nil {
				return err
			}
			items := client.List[topics.AuditView](ctx, cl, "campaign", "events", func(p topics.Page) any { return topics.CampaignEvents{Page: p, Campaign: id} })
			return printList(a, items, auditColumns()...)
		})}
}

func auditVerify(a *app) *cobra.Command {
	var from uint64
	var hash string
	c := &cobra.Command{Use: "verify", Short: "Check the chain of the audit log; the exit code is 8 when it is broken", Args: cobra.NoArgs}
	c.Flags().Uint64Var(&from, "after", 0, "check what comes after this entry")
	c.Flags().StringVar(&hash, "hash", "", "the hash that this entry had when it was verified last")
	c.RunE = a.withClient(func(ctx context.Context, cl *client.Client, _ []string) error {
		req := topics.AuditVerify{After: from}
		var err error
		if hash != "" {
			if req.Hash, err = ident.ParseDigest(hash); err != nil {
				return err
			}
		}
		var sum topics.AuditVerified
		for !sum.Done && sum.Fault == "" {
			var v topics.AuditVerified
			if err := cl.Do(ctx, "audit", "verify", req, &v); err != nil {
				return err
			}
			v.Checked += sum.Checked
			sum, req = v, topics.AuditVerify{After: v.Through, Hash: v.Hash}
		}
		if err := a.printOne(sum, row{"checked", fmt.Sprint(sum.Checked)}, row{"good through", fmt.Sprint(sum.Through)},
			row{"hash", hashText(sum.Hash)}, row{"fault", sum.Fault}); err != nil {
			return err
		}
		if sum.Fault != "" {
			return &failure{code: exitVerify, err: fmt.Errorf("audit log is broken at entry %d: %s", sum.At, sum.Fault)}
		}
		return nil
	})
	return c
}

func hashText(d ident.Digest) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}
