package campaign

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"fleetbridge/ident"
)

// Agreement is on what a campaign does.
type Agreement struct {
	Plan       ident.Digest // what must run, see Plan.Digest; zero: whatever is selected
	ApprovedBy string
	ApprovedAt time.Time
	EditedBy   []string // who changed the draft, at most MaxEditors
}

// MaxEditors bounds Agreement.EditedBy. A draft with as many takes no change from anybody else.
const MaxEditors = 16

// Errors of plans and approvals.
var (
	// ErrPlanChanged means that the plan is not the one that was named.
	ErrPlanChanged = errors.New("the plan has changed")
	// ErrOwnCampaign means that who approves had a hand in the campaign.
	ErrOwnCampaign = errors.New("who made, edited or started a campaign can't approve it")
)

// StartPlanned is Start for a campaign whose devices, when it runs, must be those of a plan: else it is refused. plan is
// the digest of what MakePlan found just before. Under Policy.Approval the campaign waits for Approve, or Reject.
func StartPlanned(tx Tx, now time.Time, t ident.Tenant, id ident.Campaign, ifRevision uint64, by string, plan ident.Digest) (Campaign, Result, error) {
	return command(tx, t, id, ifRevision, func(c *Campaign) error {
		if err := c.Policy.Rollout.current(now); err != nil {
			return err
		}
		if err := mayRun(tx, t); err != nil {
			return err
		}
		c.StartedBy, c.Started, c.Plan, c.Reason = by, now, plan, ""
		if !c.Policy.Approval {
			return c.enter(Scheduled, "")
		}
		if plan.IsZero() {
			var bad InvalidError
			bad.add("/if_plan", "the policy wants an approval, so there must be a plan")
			return bad.err()
		}
		return c.enter(AwaitingApproval, "")
	})
}

// Approve lets a campaign run whose plan is the one named. Who made, edited or started it can't (ErrOwnCampaign).
func Approve(tx Tx, now time.Time, t ident.Tenant, id ident.Campaign, ifRevision uint64, by string, plan ident.Digest) (Campaign, Result, error) {
	return command(tx, t, id, ifRevision, func(c *Campaign) error {
		switch {
		case c.Phase != AwaitingApproval:
			return fmt.Errorf("campaign %s is %s: %w", id, c.Phase, ErrPhase)
		case by == c.CreatedBy || by == c.StartedBy || slices.Contains(c.EditedBy, by):
			return fmt.Errorf("campaign %s: %w", id, ErrOwnCampaign)
		case plan != c.Plan:
			return fmt.Errorf("campaign %s waits for the approval of %s: %w", id, c.Plan, ErrPlanChanged)
		}
		if err := c.Policy.Rollout.current(now); err != nil {
			return err
		}
		if err := mayRun(tx, t); err != nil {
			return err
		}
		c.ApprovedBy, c.ApprovedAt, c.Started = by, now, now
		return c.enter(Scheduled, "")
	})
}

// Reject makes a campaign that waits for an approval a draft again. Everybody may, its author too.
func Reject(tx Tx, t ident.Tenant, id ident.Campaign, ifRevision uint64, by, reason string) (Campaign, Result, error) {
	return command(tx, t, id, ifRevision, func(c *Campaign) error {
		if c.Phase != AwaitingApproval {
			return fmt.Errorf("campaign %s is %s: %w", id, c.Phase, ErrPhase)
		}
		c.StartedBy, c.Started, c.Plan = "", time.Time{}, ident.Digest{}
		c.Reason = said("rejected by "+by, reason)
		return c.enter(Draft, "")
	})
}

// edited notes who changed the draft. The error is an *InvalidError: so many have that one more could not be remembered.
func (c *Campaign) edited(by string) error {
	switch {
	case by == "" || by == c.CreatedBy || slices.Contains(c.EditedBy, by):
		return nil
	case len(c.EditedBy) == MaxEditors:
		var bad InvalidError
		bad.add("/campaign", "%d others have changed this draft, make a new campaign", MaxEditors)
		return bad.err()
	}
	c.EditedBy = append(slices.Clone(c.EditedBy), by)
	return nil
}
