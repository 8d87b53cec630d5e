package campaign_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func TestCreate(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	list := []ident.Device{device("b"), device("a"), device("b")}
	spec := campaign.Spec{ID: campaignID("c"), Description: "x", Manifest: m.Digest, Policy: policy(), Seed: [16]byte{7},
		Selection: campaign.Selection{Devices: list}, By: "op"}
	c, err := campaign.Create(w.m, w.now, acme, spec)
	if err != nil {
		t.Fatal(err)
	}
	want := campaign.Campaign{ID: spec.ID, Description: "x", Manifest: m.Digest, Sequence: m.Sequence, Vendor: vendor, Class: class,
		Component: component, Image: m.Image, Size: m.Download(), Policy: policy(), Phase: campaign.Draft, Revision: 1,
		Selection: campaign.Selection{Devices: []ident.Device{device("a"), device("b")}},
		Seed:      spec.Seed, CreatedBy: "op", Created: start}
	if diff := gocmp.Diff(want, c, equate); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff(want, w.campaign(spec.ID), equate); diff != "" {
		t.Error(diff)
	}
	if list[0] != device("b") {
		t.Error("the caller's list was sorted in place")
	}
	if _, err := campaign.Create(w.m, w.now, acme, spec); !errors.Is(err, campaign.ErrExists) {
		t.Errorf("again: %v", err)
	}
	spec.ID, spec.Manifest = campaignID("c2"), ident.SumDigest([]byte("nothing"))
	_, err = campaign.Create(w.m, w.now, acme, spec)
	if missing, ok := errors.AsType[*campaign.NotFoundError](err); !ok || missing.Kind != "manifest" || !errors.Is(err, campaign.ErrNotFound) {
		t.Errorf("unknown manifest: %v", err)
	}
}

// TestCommandsInEveryPhase holds start and stop against every phase.
func TestCommandsInEveryPhase(t *testing.T) {
	all := []campaign.Phase{campaign.Draft, campaign.AwaitingApproval, campaign.Scheduled, campaign.Starting, campaign.Active,
		campaign.Paused, campaign.Stopping, campaign.Stopped, campaign.Archived}
	mayStart := []campaign.Phase{campaign.Draft, campaign.AwaitingApproval}
	mayStop := []campaign.Phase{campaign.Scheduled, campaign.Starting, campaign.Active, campaign.Paused}
	for _, p := range all {
		w := newWorld(t)
		id := campaignID("c")
		w.m.campaigns[id] = campaign.Campaign{ID: id, Phase: p, Revision: 4}
		_, _, err := campaign.Start(w.m.clone(), w.now, acme, id, 0, "op")
		checkPhase(t, "start", p, slices.Contains(mayStart, p), err)
		stopped, res, err := campaign.Stop(w.m.clone(), w.now, acme, id, 4, "op", "smells")
		checkPhase(t, "stop", p, slices.Contains(mayStop, p), err)
		if err == nil && (stopped.Phase != campaign.Stopping || stopped.Outcome != campaign.UserStopped ||
			stopped.Reason != "stopped by op: smells" || stopped.Revision != 5 || len(res.Campaigns) != 1) {
			t.Errorf("stop in %s: %+v, %+v", p, stopped, res)
		}
		if _, _, err := campaign.Stop(w.m.clone(), w.now, acme, id, 3, "op", ""); !errors.Is(err, campaign.ErrConflict) {
			t.Errorf("stop in %s at an old revision: %v", p, err)
		}
		if _, _, err := campaign.Start(w.m.clone(), w.now, acme, id, 5, "op"); !errors.Is(err, campaign.ErrConflict) {
			t.Errorf("start in %s at another revision: %v", p, err)
		}
	}
	w := newWorld(t)
	for name, err := range map[string]error{
		"start":   third(campaign.Start(w.m, w.now, acme, campaignID("no"), 0, "op")),
		"stop":    third(campaign.Stop(w.m, w.now, acme, campaignID("no"), 0, "op", "")),
		"advance": third(campaign.Advance(w.m, w.now, acme, campaignID("no"), w.outside(), 1)),
	} {
		if missing, ok := errors.AsType[*campaign.NotFoundError](err); !ok || missing.Kind != "campaign" || missing.ID != "no" {
			t.Errorf("%s of an unknown campaign: %v", name, err)
		}
	}
}

func third[A, B any](_ A, _ B, err error) error { return err }

func checkPhase(t *testing.T, command string, p campaign.Phase, may bool, err error) {
	t.Helper()
	if may && err != nil || !may && !errors.Is(err, campaign.ErrPhase) {
		t.Errorf("%s in %s: %v, allowed: %v", command, p, err, may)
	}
}

func TestEveryPhaseButTheLastLeadsOn(t *testing.T) {
	for from, list := range campaign.Phases {
		if len(list) == 0 || slices.Contains(list, from) {
			t.Errorf("%s leads to %v", from, list)
		}
		if from.Running() != (slices.Contains(list, campaign.Stopping) || from == campaign.Stopping) {
			t.Errorf("%s is running: %v, and leads to %v", from, from.Running(), list)
		}
	}
	if len(campaign.Phases[campaign.Deleting]) != 0 {
		t.Error("deleting leads on")
	}
}

func TestJudge(t *testing.T) {
	type counts map[campaign.State]uint64
	waves := func(list ...counts) campaign.Counts {
		var n campaign.Counts
		for w, c := range list {
			for s, v := range c {
				n.Add(w, s, int64(v))
			}
		}
		return n
	}
	tests := []struct {
		name      string
		change    func(*campaign.Policy)
		open      int
		n         campaign.Counts
		exhausted bool
		want      campaign.Decision
	}{
		{name: "no assignment at all", exhausted: true, want: campaign.Decision{Open: 1}},
		{name: "live ones: wait", n: waves(counts{campaign.Received: 1}), exhausted: true, want: campaign.Decision{}},
		{name: "pending ones: wait", n: waves(counts{campaign.Pending: 1}), want: campaign.Decision{}},
		{name: "gate met without the waiting ones: go on", n: waves(counts{campaign.Pending: 1, campaign.Confirmed: 9}), exhausted: true, want: campaign.Decision{Open: 1}},
		{name: "only waiting ones: hold", n: waves(counts{campaign.Pending: 5}), exhausted: true, want: campaign.Decision{}},
		{name: "the waiting ones can still meet the gate: hold", n: waves(counts{campaign.Pending: 4, campaign.Confirmed: 5, campaign.Failed: 1}), exhausted: true, want: campaign.Decision{}},
		{name: "the waiting ones can't meet the gate any more", n: waves(counts{campaign.Pending: 4, campaign.Confirmed: 4, campaign.Failed: 2}), exhausted: true,
			want: campaign.Decision{Outcome: campaign.AutoStopped, Reason: "wave 1: 40.0 % confirmed, 90 % needed"}},
		{name: "only waiting ones, last wave: stay", open: 1, n: waves(nil, counts{campaign.Pending: 1}), exhausted: true, want: campaign.Decision{Open: 1}},
		{name: "late ones of an earlier wave: stay", open: 1, n: waves(counts{campaign.Offered: 1}, counts{campaign.Confirmed: 1}), exhausted: true, want: campaign.Decision{Open: 1}},
		{name: "gate exactly met", n: waves(counts{campaign.Confirmed: 9, campaign.Failed: 1}), exhausted: true, want: campaign.Decision{Open: 1}},
		{name: "gate missed", n: waves(counts{campaign.Confirmed: 8, campaign.Silent: 2}), exhausted: true,
			want: campaign.Decision{Outcome: campaign.AutoStopped, Reason: "wave 1: 80.0 % confirmed, 90 % needed"}},
		{name: "skipped ones do not count", n: waves(counts{campaign.Confirmed: 9, campaign.Failed: 1, campaign.Skipped: 90}), exhausted: true, want: campaign.Decision{Open: 1}},
		{name: "wave of skipped ones passes", n: waves(counts{campaign.Skipped: 5}), exhausted: true, want: campaign.Decision{Open: 1}},
		{name: "threshold exactly reached is not passed", n: waves(counts{campaign.Confirmed: 18, campaign.Failed: 2}), want: campaign.Decision{}},
		{name: "threshold passed", n: waves(counts{campaign.Confirmed: 17, campaign.Failed: 1, campaign.Rejected: 1, campaign.Reverted: 1}),
			want: campaign.Decision{Outcome: campaign.AutoStopped, Reason: "15.0 % of 20 devices failed, at most 10 % allowed"}},
		{name: "below the sample", n: waves(counts{campaign.Failed: 19}), want: campaign.Decision{}},
		{name: "skipped ones are no sample", n: waves(counts{campaign.Failed: 19, campaign.Skipped: 50}), want: campaign.Decision{}},
		{name: "silent threshold", change: func(p *campaign.Policy) { p.SilentPercent = 20 }, n: waves(counts{campaign.Confirmed: 15, campaign.Silent: 5}),
			want: campaign.Decision{Outcome: campaign.AutoStopped, Reason: "25.0 % of 20 devices silent, at most 20 % allowed"}},
		{name: "all silent never stops by default", n: waves(counts{campaign.Silent: 50}), want: campaign.Decision{}},
		{name: "end: succeeded", open: 1, n: waves(counts{campaign.Confirmed: 9, campaign.Failed: 1}, counts{campaign.Confirmed: 10}), exhausted: true,
			want: campaign.Decision{Outcome: campaign.Succeeded}},
		{name: "end: an earlier wave was reverted since", open: 1, n: waves(counts{campaign.Confirmed: 8, campaign.Reverted: 2}, counts{campaign.Confirmed: 100}), exhausted: true,
			want: campaign.Decision{Outcome: campaign.AutoStopped, Reason: "wave 1: 80.0 % confirmed, 90 % needed"}},
		{name: "end: all had it before", open: 1, n: had(waves(counts{campaign.Skipped: 1}, counts{campaign.Skipped: 1}), campaign.ReasonAlreadyInstalled), exhausted: true,
			want: campaign.Decision{Outcome: campaign.Succeeded}},
		{name: "end: none could have it", open: 1, n: had(waves(counts{campaign.Skipped: 1}, counts{campaign.Skipped: 1}), campaign.ReasonNotRegistered), exhausted: true,
			want: campaign.Decision{Outcome: campaign.AutoStopped, Reason: "no device has the update"}},
		{name: "end: all deregistered", open: 1, change: func(p *campaign.Policy) { p.SuccessPercent = 0 }, n: waves(counts{campaign.Deregistered: 1}), exhausted: true,
			want: campaign.Decision{Outcome: campaign.AutoStopped, Reason: "no device has the update"}},
		{name: "expired", change: func(p *campaign.Policy) { p.Within = time.Hour }, n: waves(counts{campaign.Received: 1}),
			want: campaign.Decision{Outcome: campaign.Expired, Reason: "not finished within 1h0m0s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := campaign.PolicyDefaults()
			p.Waves = []campaign.Wave{{Percent: 50}, {Percent: 50}}
			if tt.change != nil {
				tt.change(&p)
			}
			c := campaign.Campaign{Policy: p, Open: tt.open, Started: start}
			if diff := gocmp.Diff(tt.want, campaign.Judge(c, tt.n, tt.exhausted, start.Add(time.Hour))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// had is n with all its skipped assignments for one reason.
func had(n campaign.Counts, reason string) campaign.Counts {
	n.AddReason(campaign.Skipped, reason, int64(n.Of(campaign.Skipped)))
	return n
}
