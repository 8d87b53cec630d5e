package main

import (
	"fmt"
	"testing"
	"time"

	"fleetbridge/topics"
)

// TestRevocationSurvivesTheCrash ends the server between the commit of a revocation and the withdrawal of what was signed
// by the key, at each place on the way. Started again it withdraws the rest by itself: the campaign is stopped with the
// reason, and no device's topic holds the manifest.
func TestRevocationSurvivesTheCrash(t *testing.T) {
	const devices = 3
	for _, place := range []string{
		"command: before commit@trust/revoke#1", // the client asks again
		"command: after commit@trust/revoke#1",
		"command: before reply@trust/revoke#1",
		fmt.Sprintf("topic: before publish#%d", devices+2), // the second of the withdrawals
	} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			d := doom(t, place, "")
			s := &fleetSetup{cl: d.insist(d.tryDial), name: "revoked", devices: devices, seed: 1, size: 4096}
			if err := s.publish(t.Context()); err != nil {
				t.Fatal(err)
			}
			ids, err := s.provision(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var list []*manifestReader
			for _, id := range ids {
				list = append(list, readManifest(t, d.addr, id, s))
			}
			c, err := s.campaign(t.Context(), topics.Policy{})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range list {
				r.await()
			}
			if err := s.cl.Do(t.Context(), "trust", "revoke", topics.TrustRevoke{ID: s.anchor.ID}, nil); err != nil {
				t.Fatal(err)
			}
			select {
			case <-d.struck:
			case <-time.After(30 * time.Second):
				t.Fatal("the server did not get there")
			}
			told := &story{t: t, d: d, setup: s}
			v := told.await(c, "its end", func(v topics.CampaignView) bool { return v.State == "stopped" })
			if v.Outcome != "autostopped" || v.Progress.Counts["withdrawn"] != devices {
				t.Errorf("it ended as %+v", v)
			}
			for _, id := range ids {
				if held := readManifest(t, d.addr, id, s).held; len(held) > 0 {
					t.Errorf("%s: the topic still holds %d bytes", id.Device, len(held))
				}
			}
			for req := (topics.ServerCheck{}); ; {
				var found topics.ServerChecked
				if err := s.cl.Do(t.Context(), "server", "check", req, &found); err != nil || len(found.Faults) > 0 {
					t.Fatalf("check: %v, %v", found.Faults, err)
				}
				if req.Cursor = found.Next; req.Cursor == "" {
					break
				}
			}
		})
	}
}
