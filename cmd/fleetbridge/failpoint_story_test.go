package main

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// story is a small fleet, and campaigns that between them stand in every state: one in two waves that is scheduled, waits
// for its release, is paused and resumed, soaks and succeeds, under a quota, a rate, a window and permits, and tries
// failures again; one that is rejected, approved, stopped while its devices are absent, and archived; and one that is
// made of what failed, and deleted.
type story struct {
	t       *testing.T
	d       *doomed
	log     string // of places, "" for none
	setup   *fleetSetup
	fleet   *simulator.Fleet
	here    []ident.Device
	absent  []ident.Device
	waves   ident.Campaign
	stopped ident.Campaign
	again   ident.Campaign
}

// storyUpdates are those of the tenant's quota.
const storyUpdates = 40

// storySeed gives each kind of fault to some device (checked below).
const storySeed = 117

var storyMix = simulator.Mix{simulator.PowerLoss: 12, simulator.BadFlash: 10, simulator.BadSignature: 8, simulator.Duplicate: 12,
	simulator.Late: 12, simulator.Absent: 14, simulator.Rollback: 10, simulator.Current: 10}

// tell runs the story on a server that ends itself at place. struck says whether it did.
func tell(t *testing.T, place, log string) (_ tale, struck bool) {
	s := &story{t: t, d: doom(t, place, log), log: log}
	s.set()
	s.grant()
	off := powerOn(t, s.fleet)
	defer off()
	if err := waitReady(t.Context(), s.fleet); err != nil {
		t.Fatal(err)
	}
	s.inWaves()
	s.approveAndStop()
	s.retryAndDelete()
	out := s.end()
	off()
	s.d.end()
	s.audit(&out)
	select {
	case <-s.d.struck:
		struck = true
	default:
	}
	return out, struck
}

// set makes keys, payload, manifest, credentials and devices.
func (s *story) set() {
	ctx := s.t.Context()
	s.setup = &fleetSetup{cl: s.d.insist(s.d.tryDial), name: "story", devices: 14, seed: storySeed, mix: storyMix, size: 24 << 10}
	if err := s.setup.publish(ctx); err != nil {
		s.t.Fatal(err)
	}
	s.throwAway(ctx)
	ids, err := s.setup.provision(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	kinds := map[simulator.Kind]bool{}
	for _, id := range ids {
		kind := simulator.Plan(storySeed, id.Tenant.String()+"/"+id.Device.String(), storyMix).Kind
		if kinds[kind] = true; kind == simulator.Absent {
			s.absent = append(s.absent, id.Device)
		} else {
			s.here = append(s.here, id.Device)
		}
	}
	if len(kinds) != len(storyMix)+1 {
		s.t.Fatalf("seed %d gives only %v: choose another", storySeed, slices.Collect(maps.Keys(kinds)))
	}
	s.fleet, err = simulator.New(simulator.Config{
		Server: "mqtt://" + s.d.addr, Devices: ids, Seed: storySeed, Faults: storyMix, PahoEvery: 5, ChunkSize: 2048, Window: 4, Permits: true,
		Model:  simulator.Model{Vendor: s.setup.vendor, Class: s.setup.class, Anchors: []firmware.Anchor{s.setup.anchor}},
		Target: topics.Installed{Digest: s.setup.manifest.Payload, Sequence: s.setup.manifest.Sequence, Version: simVersion},
		Timing: simulator.Timing{Spread: 20 * time.Millisecond, BackoffMin: 20 * time.Millisecond, BackoffMax: 200 * time.Millisecond,
			Install: 20 * time.Millisecond, Reboot: 20 * time.Millisecond, Late: 50 * time.Millisecond},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// throwAway uploads a payload that nobody needs and deletes it.
func (s *story) throwAway(ctx context.Context) {
	data := []byte("nobody needs this payload")
	d := ident.SumDigest(data)
	_, err := pushPayload(ctx, s.setup.cl, bytes.NewReader(data), topics.PayloadBegin{Digest: d, Size: int64(len(data))}, func(int64) {})
	if err == nil {
		err = s.setup.cl.Do(ctx, "payload", "delete", topics.PayloadRef{Digest: d}, nil)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// grant gives the tenant more updates than it needs.
func (s *story) grant() {
	admin := s.d.insist(func() (*client.Client, error) { return s.d.tryContext("admin.toml") })
	req := topics.QuotaSet{Tenant: s.setup.cl.Tenant(), Grant: storyUpdates, Reason: "story"}
	if err := admin.Do(s.t.Context(), "quota", "set", req, nil); err != nil {
		s.t.Fatal(err)
	}
}

// do sends a command on a campaign; the client sends it again while the server is away.
func (s *story) do(verb string, c ident.Campaign, req any) {
	s.t.Helper()
	if req == nil {
		req = topics.CampaignRef{Campaign: c}
	}
	if err := s.setup.cl.Do(s.t.Context(), "campaign", verb, req, nil); err != nil {
		s.t.Fatalf("%s: %v", verb, err)
	}
}

// await polls: a server that dies can't tell of itself.
func (s *story) await(c ident.Campaign, what string, ok func(topics.CampaignView) bool) topics.CampaignView {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		v, err := campaignDo(s.t.Context(), s.setup.cl, "get", c.String(), "")
		if err != nil {
			s.t.Fatalf("get: %v", err)
		}
		if ok(v) {
			return v
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not %s in a minute: %s %s, %s", c, what, v.State, v.Step, countsText(v.Progress))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func hasStopped(v topics.CampaignView) bool { return v.State == string(campaign.Stopped) }

func (s *story) inWaves() {
	s.waves = mustCampaign(s.t, "waves")
	never, always, rest := 0.0, 100.0, topics.Duration(10*time.Minute)
	p := topics.Policy{Waves: []topics.Wave{{Count: 4}, {Percent: 100}}, InFlight: 3, Manual: true,
		StartAt: time.Now().Add(300 * time.Millisecond), Soak: topics.Duration(100 * time.Millisecond),
		SuccessPercent: &never, FailurePercent: &always, SilentPercent: &always,
		Retry:   topics.Retry{Max: 1, Reasons: []topics.Reason{topics.ReasonFlashError}, After: topics.Duration(50 * time.Millisecond)},
		Permit:  topics.PermitRule{Required: true, Max: 2, TTL: topics.Duration(time.Minute)},
		Windows: []topics.Window{{Cron: "* * * * *", Duration: topics.Duration(2 * time.Minute)}}, Rate: topics.Rate{PerMinute: 6000},
		Deadlines: topics.Deadlines{Offered: rest, Received: rest, Downloading: rest, Downloaded: rest, Installing: rest, Rebooting: rest}}
	s.do("create", s.waves, topics.CampaignCreate{Campaign: s.waves, Manifest: s.setup.manifest.Digest, Policy: p,
		Selection: topics.Selection{Devices: s.here}})
	s.do("start", s.waves, nil)
	s.await(s.waves, "waiting for its release", func(v topics.CampaignView) bool { return v.Step == string(campaign.AwaitingRelease) })
	s.do("pause", s.waves, nil)
	s.letEngineLook()
	s.do("next", s.waves, nil)
	s.do("resume", s.waves, nil)
	s.await(s.waves, "stopped", hasStopped)
}

// letEngineLook waits until the engine has looked at the paused campaign, which changes nothing that one could ask for: the
// log of an unbroken run shows it, and in the others it takes about as long.
func (s *story) letEngineLook() {
	deadline := time.Now().Add(20 * time.Second)
	for {
		time.Sleep(100 * time.Millisecond)
		if s.log == "" || time.Now().After(deadline) {
			return
		}
		for place := range places(s.t, s.log) {
			if strings.HasPrefix(place, "advance: after publish@paused/") {
				return
			}
		}
	}
}

func (s *story) approveAndStop() {
	s.stopped = mustCampaign(s.t, "stopped")
	s.do("create", s.stopped, topics.CampaignCreate{Campaign: s.stopped, Manifest: s.setup.manifest.Digest,
		Selection: topics.Selection{Devices: s.absent}, Policy: topics.Policy{Approval: true}})
	s.do("start", s.stopped, nil)
	s.do("reject", s.stopped, nil)
	s.do("start", s.stopped, nil)
	waits := s.await(s.stopped, "waiting for its approval", func(v topics.CampaignView) bool { return v.State == string(campaign.AwaitingApproval) })
	approve := topics.CampaignApprove{Campaign: s.stopped, Plan: waits.Plan}
	if err := s.approver().Do(s.t.Context(), "campaign", "approve", approve, nil); err != nil {
		s.t.Fatalf("approve: %v", err)
	}
	s.await(s.stopped, "offered", func(v topics.CampaignView) bool {
		return v.Progress.Counts[string(campaign.Offered)] == uint64(len(s.absent))
	})
	s.do("stop", s.stopped, nil)
	s.await(s.stopped, "stopped", hasStopped)
	s.do("archive", s.stopped, nil)
}

// approver is another principal than the one who makes and starts campaigns.
func (s *story) approver() *client.Client {
	name, err := ident.ParseName("approver")
	if err != nil {
		s.t.Fatal(err)
	}
	var issued topics.CredentialIssued
	add := topics.CredentialAdd{Role: topics.RoleOperator, Names: []ident.Name{name}}
	if err := s.setup.cl.Do(s.t.Context(), "credential", "add", add, &issued); err != nil {
		s.t.Fatal(err)
	}
	return s.d.insist(func() (*client.Client, error) {
		return s.d.tryUser("mqtt://"+s.d.addr, issued.Items[0].User, issued.Items[0].Token)
	})
}

// retryAndDelete makes a campaign of the devices that failed, and takes it back.
func (s *story) retryAndDelete() {
	s.again = mustCampaign(s.t, "again")
	s.do("retry", s.waves, topics.CampaignRetry{Campaign: s.waves, New: s.again})
	s.do("delete", s.again, nil)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		_, err := campaignDo(s.t.Context(), s.setup.cl, "get", s.again.String(), "")
		if exitCode(err) == exitNotFound {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("a deleted campaign is there for a minute: %v", err)
		}
	}
}

func mustCampaign(t *testing.T, name string) ident.Campaign {
	t.Helper()
	c, err := ident.ParseCampaign(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
