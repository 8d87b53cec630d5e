package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/simulator"
	"fleetbridge/simulator/scenario"
	"fleetbridge/topics"
)

// act makes the drafts, starts what is not held, does the actions in their order, and waits for the campaigns that must end.
func (p *play) act(ctx context.Context) error {
	for _, c := range p.script.Updates {
		if err := p.draft(ctx, c); err != nil {
			return err
		}
	}
	for _, c := range p.script.Updates {
		if !c.Hold {
			if err := p.order(ctx, scenario.Action{Do: "start", Campaign: c.Name}); err != nil {
				return err
			}
		}
	}
	for i, action := range p.script.Actions {
		if err := p.do(ctx, action); err != nil {
			return fmt.Errorf("action %d, %s %s: %w", i+1, action.Do, action.Campaign+action.Group, err)
		}
	}
	for _, e := range p.script.Expect {
		if e.State != "" && e.State != "stopped" {
			continue
		}
		id, err := p.campaign(e.Campaign)
		if err != nil {
			return err
		}
		last, err := watch(ctx, p.cl, id, func(topics.Progress) {})
		if err != nil {
			return err
		}
		p.say("%s: %s, %s", e.Campaign, strings.TrimSpace(last.Outcome+" "+last.Reason), countsText(last))
	}
	return p.rest(ctx)
}

// rest waits until no device with power is between what can't be undone and the server's word on the proof: after a stop
// they go on.
func (p *play) rest(ctx context.Context) error {
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		busy := false
		for _, g := range p.groups {
			busy = busy || g.cut != nil && slices.ContainsFunc(g.fleet.Ledger(), changing)
		}
		if !busy {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// changing says whether a device is down, or has not told all of the update that it went down for.
func changing(e simulator.Entry) bool {
	if n := len(e.Down); n == 0 {
		return false
	} else if e.Down[n-1].To.IsZero() {
		return true
	}
	last := e.Manifests[len(e.Manifests)-1]
	return last.State == topics.WordRebooting || last.MaxState != last.State
}

func (p *play) do(ctx context.Context, action scenario.Action) error {
	if action.When != "" {
		if err := p.reach(ctx, action); err != nil {
			return err
		}
	}
	if action.After > 0 {
		select {
		case <-time.After(time.Duration(action.After)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	switch {
	case action.Do == scenario.DoWait:
		return nil
	case slices.Contains(scenario.Powers, action.Do):
		p.say("power %s for %s", action.Do, action.Group)
		if action.Do == "on" {
			// Power outlives the time that actions have: it is cut at the end of the run.
			p.groups[action.Group].on(context.WithoutCancel(ctx))
		} else {
			p.groups[action.Group].cutPower()
		}
		return nil
	}
	return p.order(ctx, action)
}

// order gives a command as an action wants it.
func (p *play) order(ctx context.Context, action scenario.Action) error {
	cl, who := p.cl, ""
	if action.AsAnother {
		var err error
		if cl, err = p.another(ctx); err != nil {
			return err
		}
		defer cl.Close()
		who = ", by another operator"
	}
	id, err := p.campaign(action.Campaign)
	if err != nil {
		return err
	}
	v, err := p.give(ctx, cl, action.Do, id)
	var problem *topics.Problem
	switch {
	case action.Refused == "" && err == nil:
		p.say("%s: %s%s → %s", action.Campaign, action.Do, who, v.State)
	case action.Refused == "":
		return err
	case err == nil:
		return &failure{code: exitCampaign, err: fmt.Errorf("%s was not refused: %w", action.Do, errCampaign)}
	case errors.As(err, &problem) && problem.Type == action.Refused:
		p.say("%s: %s%s → refused, %s", action.Campaign, action.Do, who, problem.Type)
	default:
		return &failure{code: exitCampaign, err: fmt.Errorf("%s was refused, but not as %s: %w: %w", action.Do, action.Refused, err, errCampaign)}
	}
	return nil
}

// give sends one command. Who approves has looked at the plan.
func (p *play) give(ctx context.Context, cl *client.Client, verb string, id ident.Campaign) (topics.CampaignView, error) {
	if verb != "approve" {
		return campaignDo(ctx, cl, verb, id.String(), "")
	}
	v, err := campaignDo(ctx, cl, "get", id.String(), "")
	if err != nil {
		return v, err
	}
	err = cl.Do(ctx, "campaign", "approve", topics.CampaignApprove{Campaign: id, Plan: v.Plan}, &v)
	return v, err
}

// another connects as a second operator, who is made for it.
func (p *play) another(ctx context.Context) (*client.Client, error) {
	p.others++
	name, err := ident.ParseName(fmt.Sprintf("%s-operator-%d", p.name, p.others))
	if err != nil {
		return nil, err
	}
	var issued topics.CredentialIssued
	if err := p.cl.Do(ctx, "credential", "add", topics.CredentialAdd{Role: topics.RoleOperator, Names: []ident.Name{name}}, &issued); err != nil {
		return nil, fmt.Errorf("make another operator: %w", err)
	}
	if len(issued.Items) != 1 {
		return nil, fmt.Errorf("asked for 1 credential, got %d", len(issued.Items))
	}
	op := p.op
	op.User, op.Token = issued.Items[0].User, issued.Items[0].Token
	return client.Dial(ctx, op)
}

// reach waits for an action's moment.
func (p *play) reach(ctx context.Context, action scenario.Action) error {
	g, err := parseGoal(action.When)
	if err != nil {
		return err
	}
	id, err := p.campaign(action.Campaign)
	if err != nil {
		return err
	}
	last, err := await(ctx, p.cl, id, g, 0)
	if err == nil {
		p.say("%s: %s, %s", action.Campaign, action.When, countsText(last))
	}
	return err
}
