package campaign_test

import (
	"errors"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func TestUpdateOfADraft(t *testing.T) {
	w := newWorld(t)
	first, second := w.manifest("v2"), w.manifest("v3")
	id := campaignID("c")
	want, err := campaign.Create(w.m, w.now, acme, campaign.Spec{ID: id, Manifest: first.Digest, Description: "x", Policy: policy(), By: "op"})
	if err != nil {
		t.Fatal(err)
	}
	words, p := "y", policy()
	p.Waves, p.InFlight = []campaign.Wave{{Count: 3}, {Percent: 100}}, 9
	s := campaign.Selection{Devices: []ident.Device{device("b"), device("a"), device("b")}}
	got, res, err := campaign.Update(w.m, acme, id, 1, campaign.Change{Description: &words, Manifest: &second.Digest, Selection: &s, Policy: &p})
	if err != nil || len(res.Campaigns) != 1 {
		t.Fatalf("%v, %+v", err, res)
	}
	want.Description, want.Policy, want.Revision = "y", p, 2
	want.Manifest, want.Image, want.Size = second.Digest, second.Image, second.Download()
	want.Selection.Devices = []ident.Device{device("a"), device("b")}
	if diff := gocmp.Diff(want, got, equate); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff(want, w.campaign(id), equate); diff != "" {
		t.Error(diff)
	}
	none, bad := ident.SumDigest([]byte("nothing")), campaign.Policy{SuccessPercent: 101}
	for name, tt := range map[string]struct {
		e    campaign.Change
		at   uint64
		want error
	}{
		"another revision": {campaign.Change{}, 1, campaign.ErrConflict},
		"no such manifest": {campaign.Change{Manifest: &none}, 0, campaign.ErrNotFound},
	} {
		if _, _, err := campaign.Update(w.m, acme, id, tt.at, tt.e); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, err = campaign.Update(w.m, acme, id, 0, campaign.Change{Policy: &bad})
	if invalid, ok := errors.AsType[*campaign.InvalidError](err); !ok || invalid.Fields[0].Pointer != "/policy/success_percent" {
		t.Errorf("bad policy: %v", err)
	}
	if w.campaign(id).Revision != 2 {
		t.Error("a refused update was written")
	}
}

// TestUpdateAfterTheStart: only the description, whatever the phase; of an archived campaign nothing.
func TestUpdateAfterTheStart(t *testing.T) {
	words, long, p := "y", strings.Repeat("x", campaign.MaxDescription+1), policy()
	for _, phase := range []campaign.Phase{campaign.AwaitingApproval, campaign.Scheduled, campaign.Starting, campaign.Active,
		campaign.Paused, campaign.Stopping, campaign.Stopped, campaign.Archived} {
		w := newWorld(t)
		id, m := campaignID("c"), w.manifest("v2")
		w.m.campaigns[id] = campaign.Campaign{ID: id, Manifest: m.Digest, Phase: phase, Revision: 4}
		for name, e := range map[string]campaign.Change{
			"policy": {Policy: &p, Description: &words}, "selection": {Selection: &campaign.Selection{}}, "manifest": {Manifest: &m.Digest},
		} {
			if _, _, err := campaign.Update(w.m, acme, id, 0, e); !errors.Is(err, campaign.ErrPhase) {
				t.Errorf("%s in %s: %v", name, phase, err)
			}
		}
		got, _, err := campaign.Update(w.m, acme, id, 4, campaign.Change{Description: &words})
		if phase == campaign.Archived {
			if !errors.Is(err, campaign.ErrPhase) || strings.Contains(err.Error(), "draft") {
				t.Errorf("description in %s: %v", phase, err)
			}
			continue
		}
		if err != nil || got.Description != "y" || got.Revision != 5 || got.Phase != phase {
			t.Errorf("description in %s: %+v, %v", phase, got, err)
		}
		_, _, err = campaign.Update(w.m, acme, id, 0, campaign.Change{Description: &long})
		if invalid, ok := errors.AsType[*campaign.InvalidError](err); !ok || invalid.Fields[0].Pointer != "/description" {
			t.Errorf("a long description in %s: %v", phase, err)
		}
	}
	w := newWorld(t)
	if _, _, err := campaign.Update(w.m, acme, campaignID("no"), 0, campaign.Change{}); !errors.Is(err, campaign.ErrNotFound) {
		t.Errorf("an unknown campaign: %v", err)
	}
}
