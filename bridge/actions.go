package bridge

import (
	"fmt"
	"strings"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// maxActions bounds the actions of a report; `campaign events` has them all.
const maxActions = 200

// actionNames are the words of a report for commands; what the engine did has its own.
var actionNames = map[string]string{
	"create": "created", "update": "edited", "start": "started", "approve": "approved", "reject": "rejected", "pause": "paused",
	"resume": "resumed", "next": "released", "stop": "stopping", "archive": "archived", "delete": "deleting", "retry": "retried",
}

// actionsOf is what happened to c as a whole, who did it and why, in the order of time: what the audit log says of it, and
// of a campaign that is older than the log what its record says.
func actionsOf(r campaign.Reader, t ident.Tenant, c campaign.Campaign) (list []topics.ActionView, err error) {
	for after, more := uint64(0), true; more && len(list) <= maxActions; {
		page, err := r.CampaignAudits(t, c.ID, after, maxActions+1)
		if err != nil {
			return nil, fmt.Errorf("read audit log: %w", err)
		}
		for _, e := range page {
			if after = e.Number; !e.At.Before(c.Created) { // else of a campaign of this name that was deleted
				list = append(list, actionOf(e))
			}
		}
		more = len(page) > maxActions
	}
	switch known := recorded(c); {
	case len(list) == 0:
		return known, nil
	case list[0].Action != known[0].Action: // made by the retry of another one
		list = append(known[:1], list...)
	}
	if len(list) > maxActions {
		list = append(list[:maxActions], topics.ActionView{Action: "more", At: list[maxActions].At, Detail: "the rest is in the campaign's events"})
	}
	return list, nil
}

func actionOf(e campaign.AuditEntry) topics.ActionView {
	_, verb, _ := strings.Cut(e.Command, "/")
	name, ok := actionNames[verb]
	if !ok || e.By == "" {
		name = verb
	}
	detail := e.Outcome
	if rest, ok := strings.CutPrefix(detail, done); ok && (rest == "" || rest[0] == ':') {
		detail = strings.TrimPrefix(rest, ": ")
	}
	return topics.ActionView{Action: name, By: e.By, At: e.At, Detail: detail}
}

// recorded is what c's own record says of what happened to it.
func recorded(c campaign.Campaign) []topics.ActionView {
	list := []topics.ActionView{{Action: "created", By: c.CreatedBy, At: c.Created}}
	for _, a := range []topics.ActionView{
		{Action: "started", By: c.StartedBy, At: c.Started},
		{Action: "approved", By: c.ApprovedBy, At: c.ApprovedAt, Detail: c.Plan.String()},
		{Action: "active", At: c.ActiveAt},
		{Action: "stopping", By: c.StoppedBy, At: c.StoppingAt, Detail: strings.TrimSuffix(string(c.Outcome)+": "+c.Reason, ": ")},
		{Action: "stopped", At: c.StoppedAt},
		{Action: "archived", By: c.ArchivedBy, At: c.ArchivedAt},
	} {
		if !a.At.IsZero() {
			list = append(list, a)
		}
	}
	return list
}
