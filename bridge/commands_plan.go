package bridge

import (
	"context"
	"fmt"
	"sync"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// planKept is how long the last plan is kept, so that its pages need not read the registry again.
const planKept = 2 * time.Minute

// plans makes plans, one at a time because each may hold a fleet, and keeps the last.
type plans struct {
	busy   chan struct{} // holds a token while a plan is made
	mu     sync.Mutex
	tenant ident.Tenant
	last   campaign.Plan
}

func newPlans() *plans { return &plans{busy: make(chan struct{}, 1)} }

// kept is the last plan, if it is that of the campaign, has the digest and is not old.
func (p *plans) kept(t ident.Tenant, c ident.Campaign, digest ident.Digest, now time.Time) (campaign.Plan, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.last.At) > planKept {
		p.last = campaign.Plan{}
	}
	return p.last, !digest.IsZero() && p.tenant == t && p.last.Campaign.ID == c && p.last.Digest == digest
}

// makePlan reads what would run if the campaign started now.
func (c *call) makePlan(ctx context.Context, id ident.Campaign) (campaign.Plan, error) {
	all := c.b.plans
	select {
	case all.busy <- struct{}{}:
	case <-ctx.Done():
		return campaign.Plan{}, ctx.Err()
	}
	defer func() { <-all.busy }()
	defer c.b.o.Bulk()()
	var made campaign.Plan
	err := c.view(ctx, func(r campaign.Reader) (err error) {
		made, err = campaign.MakePlan(r, c.now, c.tenant, id)
		return err
	})
	if err == nil {
		all.mu.Lock()
		all.tenant, all.last = c.tenant, made
		all.mu.Unlock()
	}
	return made, err
}

func campaignPlan(ctx context.Context, c *call, req topics.CampaignPlan) (any, error) {
	var after campaign.Place
	var err error
	if req.Cursor != "" {
		if after, err = parsePlace(req.Cursor); err != nil {
			return nil, invalid("/cursor", "not a cursor of this plan")
		}
	}
	after.Wave = max(after.Wave, req.Wave-1)
	p, ok := c.b.plans.kept(c.tenant, req.Campaign, req.Plan, c.now)
	if !ok {
		if p, err = c.makePlan(ctx, req.Campaign); err != nil {
			return nil, err
		}
	}
	if err := samePlan(req.Plan, p); err != nil {
		return nil, err
	}
	limit := req.Limit
	if limit == 0 {
		limit = defaultPage
	}
	list := p.Page(after, limit+1)
	for n := min(limit, len(list)); ; n /= 2 {
		v := planView(p)
		for _, d := range list[:n] {
			v.Items = append(v.Items, topics.PlanDevice{Device: d.Device, Wave: d.Wave + 1, Note: d.Note})
		}
		if n < len(list) && n > 0 {
			last := list[n-1]
			v.Next = printPlace(campaign.Place{Wave: last.Wave, Order: last.Order, Device: last.Device})
		}
		body, err := c.encode(v)
		if err != nil {
			return nil, err
		}
		if len(body) <= c.maxReply || n <= 1 {
			return rawReply(body), nil
		}
	}
}

// samePlan says whether p is the plan that a request names, if it names one.
func samePlan(digest ident.Digest, p campaign.Plan) error {
	if digest.IsZero() || digest == p.Digest {
		return nil
	}
	return fmt.Errorf("campaign %s: its plan is now %s: %w", p.Campaign.ID, p.Digest, campaign.ErrPlanChanged)
}

// maxBusyShown bounds the campaigns that a plan's reply names.
const maxBusyShown = 64

func planView(p campaign.Plan) topics.PlanView {
	least, late := p.Forecast()
	v := topics.PlanView{
		Campaign: p.Campaign.ID, Plan: p.Digest, Revision: p.Campaign.Revision, At: p.At.UTC(), Devices: p.Devices, Bytes: p.Bytes(),
		Poisoned: p.Poisoned, Unseen: p.Unseen, Unjudged: p.Unjudged, Unjudgeable: p.Unjudgeable, Refused: p.Refused,
		Forecast: topics.Duration(least), Late: late, Items: []topics.PlanDevice{},
	}
	for i, n := range p.Waves {
		v.Waves = append(v.Waves, topics.PlanWave{Wave: i + 1, Devices: n, Filter: p.Campaign.Policy.Waves[i].Filter})
	}
	for _, e := range p.Excluded {
		v.Excluded = append(v.Excluded, topics.PlanExclusion{Reason: e.Reason, Devices: e.Devices, Examples: e.Examples})
	}
	for _, b := range p.Busy[:min(len(p.Busy), maxBusyShown)] {
		v.Busy = append(v.Busy, topics.PlanBusy{Campaign: b.Campaign, Devices: b.Devices})
	}
	return v
}

// pinned is the plan that a start of the campaign is held to, and the revision that it was made of; zero where neither
// the request nor the policy asks for one.
func (c *call) pinned(ctx context.Context, req topics.CampaignStart) (ident.Digest, uint64, error) {
	var found campaign.Campaign
	err := c.view(ctx, func(r campaign.Reader) (err error) {
		found, err = r.Campaign(c.tenant, req.Campaign)
		return orMissing(err, "campaign", req.Campaign)
	})
	if err != nil {
		return ident.Digest{}, 0, err
	}
	if found.Phase != campaign.Draft || req.IfPlan.IsZero() && !found.Policy.Approval {
		return ident.Digest{}, 0, nil // a start of another phase is refused, or is one that was carried out
	}
	p, err := c.makePlan(ctx, req.Campaign)
	if err != nil {
		return ident.Digest{}, 0, err
	}
	return p.Digest, p.Campaign.Revision, samePlan(req.IfPlan, p)
}

// stillPlanned says of a campaign that waits for the approval of the plan that a request names whether that is its plan
// now: approved, a campaign whose devices have changed could only be refused.
func (c *call) stillPlanned(ctx context.Context, req topics.CampaignApprove) error {
	var found campaign.Campaign
	err := c.view(ctx, func(r campaign.Reader) (err error) {
		found, err = r.Campaign(c.tenant, req.Campaign)
		return orMissing(err, "campaign", req.Campaign)
	})
	if err != nil || found.Phase != campaign.AwaitingApproval || found.Plan != req.Plan {
		return err // Approve says what is wrong
	}
	p, err := c.makePlan(ctx, req.Campaign)
	if err != nil {
		return err
	}
	if err := samePlan(req.Plan, p); err != nil {
		return fmt.Errorf("%w: reject it, and start it anew", err)
	}
	return nil
}

func campaignApprove(ctx context.Context, c *call, req topics.CampaignApprove) (any, error) {
	if err := c.stillPlanned(ctx, req); err != nil {
		return nil, err
	}
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		approved, res, err := campaign.Approve(tx, c.now, c.tenant, req.Campaign, req.IfRevision, c.by.Name.String(), req.Plan)
		if err != nil {
			return nil, campaign.Result{}, err
		}
		return c.moved(tx, approved, res)
	})
}

func campaignReject(ctx context.Context, c *call, req topics.CampaignRef) (any, error) {
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		rejected, res, err := campaign.Reject(tx, c.tenant, req.Campaign, req.IfRevision, c.by.Name.String(), req.Reason)
		if err != nil {
			return nil, campaign.Result{}, err
		}
		return c.moved(tx, rejected, res)
	})
}
