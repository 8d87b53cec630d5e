package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

func quotaCommand(a *app) *cobra.Command {
	return group("quota", "What a tenant may have, and what it has used", quotaShow(a), quotaSet(a), quotaLedger(a))
}

// tenantArg is the tenant that an argument names; zero without one.
func tenantArg(args []string) (t ident.Tenant, err error) {
	if len(args) == 0 {
		return t, nil
	}
	err = t.UnmarshalText([]byte(args[0]))
	return t, err
}

func (a *app) printQuota(v topics.QuotaView) error {
	limit := func(n int64) string {
		if n == 0 {
			return "no limit"
		}
		return fmt.Sprintf("at most %d", n)
	}
	rows := []row{{"tenant", v.Tenant.String()}, {"campaigns at once", limit(int64(v.Campaigns))}, {"payload bytes", limit(v.Bytes)}}
	if v.Counted {
		rows = append(rows, row{"updates free", fmt.Sprint(v.Free)})
	} else {
		rows = append(rows, row{"updates free", "no limit"})
	}
	rows = append(rows, row{"reserved", fmt.Sprint(v.Reserved)}, row{"used", fmt.Sprint(v.Used)},
		row{"devices", fmt.Sprintf("%d, %s", v.Registered, limit(int64(v.Devices)))})
	if v.TurnedAway > 0 {
		rows = append(rows, row{"turned away", fmt.Sprintf("%d hellos of devices that had no room", v.TurnedAway)})
	}
	for _, d := range v.Waiting {
		rows = append(rows, row{"not registered", fmt.Sprintf("%s, last seen %s", d.Device, when(d.At))})
	}
	return a.printOne(v, rows...)
}

func quotaShow(a *app) *cobra.Command {
	return &cobra.Command{Use: "show [TENANT]", Short: "Show the quota of a tenant; only an admin names one", Args: cobra.MaximumNArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			t, err := tenantArg(args)
			if err != nil {
				return err
			}
			var v topics.QuotaView
			if err := cl.Do(ctx, "quota", "get", topics.QuotaGet{Tenant: t}, &v); err != nil {
				return err
			}
			return a.printQuota(v)
		})}
}

func quotaSet(a *app) *cobra.Command {
	var campaigns, devices int
	var bytes int64
	req := topics.QuotaSet{}
	c := &cobra.Command{Use: "set TENANT", Short: "Change the quota of a tenant, as an admin; what no flag names stays", Args: cobra.ExactArgs(1)}
	c.Flags().IntVar(&campaigns, "campaigns", 0, "campaigns that run at once (0: no limit)")
	c.Flags().Int64Var(&bytes, "bytes", 0, "bytes of all payloads (0: no limit)")
	c.Flags().IntVar(&devices, "devices", 0, "devices that are registered (0: no limit); those that are stay, whatever it is")
	c.Flags().Int64Var(&req.Grant, "grant", 0, "updates to add; below 0 to take away; from the first on they are counted")
	c.Flags().BoolVar(&req.Unlimited, "unlimited", false, "count updates no longer")
	c.Flags().StringVar(&req.Reason, "reason", "", "why, for the ledger")
	run := func(ctx context.Context, cl *client.Client, args []string) (err error) {
		if req.Tenant, err = tenantArg(args); err != nil {
			return err
		}
		var v topics.QuotaView
		if err := cl.Do(ctx, "quota", "set", req, &v); err != nil {
			return err
		}
		return a.printQuota(v)
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("campaigns") {
			req.Campaigns = &campaigns
		}
		if cmd.Flags().Changed("devices") {
			req.Devices = &devices
		}
		if cmd.Flags().Changed("bytes") {
			req.Bytes = &bytes
		}
		return a.withClient(run)(cmd, args)
	}
	return c
}

func quotaLedger(a *app) *cobra.Command {
	type view = topics.LedgerView
	return &cobra.Command{Use: "ledger [TENANT]", Short: "List what was granted, reserved, used and released; only an admin names a tenant", Args: cobra.MaximumNArgs(1),
		RunE: a.withClient(func(ctx context.Context, cl *client.Client, args []string) error {
			t, err := tenantArg(args)
			if err != nil {
				return err
			}
			items := client.List[view](ctx, cl, "quota", "ledger", func(p topics.Page) any { return topics.QuotaLedger{Page: p, Tenant: t} })
			return printList(a, items,
				column[view]{"number", func(v view) string { return fmt.Sprint(v.Number) }},
				column[view]{"at", func(v view) string { return when(v.At) }},
				column[view]{"kind", func(v view) string { return v.Kind }},
				column[view]{"amount", func(v view) string { return fmt.Sprint(v.Amount) }},
				column[view]{"free", func(v view) string { return fmt.Sprint(v.Free) }},
				column[view]{"campaign", func(v view) string { return v.Campaign.String() }},
				column[view]{"by", func(v view) string { return v.By }},
				column[view]{"reason", func(v view) string { return v.Reason }})
		})}
}
