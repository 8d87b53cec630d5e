package main

import (
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/topics"
)

// retryFlags are the flags of a policy that are about failures.
type retryFlags struct {
	max, poison int
	reasons     []string
	after, stop time.Duration
	permit      topics.PermitRule
	permitTTL   time.Duration
}

func (m *retryFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.IntVar(&m.max, "retry", 0, "how often a device's failure is tried again, 0 to 10")
	f.StringSliceVar(&m.reasons, "retry-reason", nil, "reasons of failures that are tried again (default: the server's, download-timeout,battery-low)")
	f.DurationVar(&m.after, "retry-after", 0, "wait from a failure to the next try (0: the server's default, 5m)")
	f.IntVar(&m.poison, "poison", 0, "failures of the payload on a device after which it is not offered there (0: the server's default, 3)")
	f.BoolVar(&m.permit.Required, "permit", false, "devices ask before they install")
	f.DurationVar(&m.permitTTL, "permit-ttl", 0, "for how long a permit is good (0: the server's default, 5m)")
	f.IntVar(&m.permit.Max, "permit-max", 0, "devices that may be between permit and proof at once (0: no cap)")
	f.StringVar(&m.permit.Label, "permit-label", "", "count --permit-max per value of this label, such as site")
	f.DurationVar(&m.stop, "stop-within", 0, "after how long a stop passes over devices that it can't withdraw from (0: the server's default, 10m)")
}

func (m *retryFlags) into(p *topics.Policy) {
	p.Poison, p.StopWithin = m.poison, topics.Duration(m.stop)
	p.Permit = m.permit
	p.Permit.TTL = topics.Duration(m.permitTTL)
	p.Retry = topics.Retry{Max: m.max, After: topics.Duration(m.after)}
	for _, r := range m.reasons {
		p.Retry.Reasons = append(p.Retry.Reasons, topics.Reason(r))
	}
}
