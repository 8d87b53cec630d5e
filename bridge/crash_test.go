package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"fleetbridge/bridge"
	"fleetbridge/campaign"
	"fleetbridge/campaign/store/storetest"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// trap is a store whose n-th Update from when it is armed fails: before anything of it is there, or after all is.
type trap struct {
	campaign.Store
	mu      sync.Mutex
	left    int // Updates until the one that fails; negative: none
	after   bool
	sprung  chan struct{} // closed when it fails
	updates int
}

var errTrap = errors.New("the store failed")

func (s *trap) arm(n int, after bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left, s.after, s.sprung, s.updates = n, after, make(chan struct{}), 0
}

func (s *trap) Update(ctx context.Context, fn func(campaign.Tx) error) error {
	s.mu.Lock()
	s.updates++
	s.left--
	fail, after, sprung := s.left == 0, s.after, s.sprung
	s.mu.Unlock()
	if !fail {
		return s.Store.Update(ctx, fn)
	}
	if after {
		if err := s.Store.Update(ctx, fn); err != nil {
			return err
		}
	}
	close(sprung)
	return fmt.Errorf("%w: %w", campaign.ErrUnavailable, errTrap)
}

func (s *trap) Submit(ctx context.Context, fn func(campaign.Tx) error, done func(error)) {
	done(s.Update(ctx, fn))
}

func trapped(t *testing.T) (*fixture, *trap) {
	s := &trap{}
	f := start(t, func(inner campaign.Store) campaign.Store { s.Store = inner; return s })
	return f, s
}

func (f *fixture) audit() {
	f.t.Helper()
	if err := f.store.View(context.Background(), storetest.Audit); err != nil {
		f.t.Error(err)
	}
}

func TestReportIsRefusedWhenItsCommitFails(t *testing.T) {
	f, s := trapped(t)
	m := f.published([]byte("new firmware"))
	f.fleet(1)
	f.launch("c1", m.Digest, topics.Policy{})
	f.offered("dev-000", 0)
	rep := topics.Report{Seq: 2, Manifest: m.Digest, State: topics.WordReceived}
	for _, after := range []bool{false, true} {
		// The engine commits too: arm until it is the report's commit that failed.
		for refused := false; !refused; rep.Seq++ {
			s.arm(1, after)
			out := f.report("dev-000", rep)
			if refused = out.refused; refused && !errors.Is(out.err, errTrap) {
				t.Errorf("refused for another reason: %v", out.err)
			}
			if out.done && out.refused {
				t.Error("a report whose commit failed was done")
			}
		}
		rep.Seq--
		s.arm(-1, false)
		if out := f.report("dev-000", rep); !out.done || out.code != link.Success {
			t.Errorf("the report sent again: %+v", out)
		}
	}
	if f.bridge.Stats().Refused < 2 {
		t.Error("refusals are not counted")
	}
	f.audit()
}

func TestHelloIsRefusedWhenItsCommitFails(t *testing.T) {
	f, s := trapped(t)
	f.fleet(1)
	h := topics.Hello{Seq: 2, Boot: 2}
	for _, after := range []bool{false, true} {
		refusals := f.bridge.Stats().Refused
		s.arm(1, after)
		out := f.hello("dev-000", h)
		if out.done || !out.refused || !errors.Is(out.err, errTrap) {
			t.Errorf("a hello whose commit failed (after: %v): %+v", after, out)
		}
		if got := f.bridge.Stats().Refused; got != refusals+1 {
			t.Errorf("%d refusals counted, want %d", got, refusals+1)
		}
		s.arm(-1, false)
		if out := f.hello("dev-000", h); !out.done || out.code != link.Success {
			t.Errorf("the hello sent again: %+v", out)
		}
		h.Seq++
	}
	f.audit()
}

// persist calls a command until it does not end in store-unavailable, as a client with an idempotency key does.
func (f *fixture) persist(noun, verb string, req any) {
	f.t.Helper()
	for range 5 {
		p := f.do(command{p: operator, noun: noun, verb: verb, key: noun + verb}, req, nil)
		if p == nil {
			return
		}
		if p.Type != topics.ProblemStoreUnavailable {
			f.t.Fatalf("%s/%s: %v", noun, verb, p)
		}
	}
	f.t.Fatalf("%s/%s never succeeded", noun, verb)
}

// insist sends a report until it is done, as a device does.
func (f *fixture) insist(id string, r topics.Report) {
	f.t.Helper()
	for range 5 {
		if f.report(id, r).done {
			return
		}
	}
	f.t.Fatalf("report %d of %s was never done", r.Seq, id)
}

// story takes two devices through a campaign; whatever fails on the way is sent again.
func (f *fixture) story(m topics.ManifestView, between func()) {
	f.persist("campaign", "create", topics.CampaignCreate{Campaign: campaignID("c1"), Manifest: m.Digest,
		Policy: topics.Policy{Waves: []topics.Wave{{Count: 1}, {Percent: 100}}}})
	between()
	f.persist("campaign", "start", topics.CampaignRef{Campaign: campaignID("c1")})
	between()
	done := map[string]bool{}
	for len(done) < 2 {
		id := f.nextOffered(done)
		for i, w := range []topics.Word{topics.WordReceived, topics.WordDownloaded, topics.WordInstalled} {
			r := topics.Report{Seq: uint64(2 + i), Manifest: m.Digest, State: w, Boot: 2}
			if w == topics.WordInstalled {
				r.Installed = []topics.Installed{{Component: m.Component, Digest: m.Payload}}
			}
			f.insist(id, r)
			between()
		}
		done[id] = true
	}
	p := f.progress("c1", "end of the campaign", stopped)
	if p.Outcome != string(campaign.Succeeded) || p.Counts["confirmed"] != 2 || p.Total != 2 {
		f.t.Errorf("progress at the end: %+v", p)
	}
	for id := range done {
		if on := f.link.on(topics.ManifestTopic(acme, device(id))); len(on) > 0 && len(on[len(on)-1].Payload) > 0 {
			f.t.Errorf("the last word on the manifest topic of %s is not that it is empty", id)
		}
	}
	f.audit()
}

// nextOffered waits until a device that is not in done has a manifest on its topic, seen as a subscriber sees it: by what
// is published, or by the state at subscribe.
func (f *fixture) nextOffered(done map[string]bool) string {
	f.t.Helper()
	late, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		f.link.mu.Lock()
		changed := f.link.changed
		f.link.mu.Unlock()
		for _, topic := range f.retained(operator, "fleet/v1/acme/device/+/manifest") {
			if id := must(topics.Parse(topic)).Device.String(); !done[id] {
				return id
			}
		}
		select {
		case <-changed:
		case <-late.Done():
			f.t.Fatal("no device is offered anything")
		}
	}
}

// TestEveryCommitMayFail fails each commit of a campaign in turn: lost, and done but said to be lost.
func TestEveryCommitMayFail(t *testing.T) {
	everyCommit(t, func(*fixture, *trap) func() { return func() {} })
}

// TestCrashAtEveryCommit ends the bridge after each commit of a campaign in turn, before it could say anything of it, and
// starts a new one over the store.
func TestCrashAtEveryCommit(t *testing.T) {
	everyCommit(t, func(f *fixture, s *trap) func() {
		sprung := s.sprung
		return func() {
			select {
			case <-sprung:
				f.stop()
				f.run()
				sprung = nil // once
			default:
			}
		}
	})
}

func everyCommit(t *testing.T, between func(*fixture, *trap) func()) {
	for _, after := range []bool{false, true} {
		failed := 0
		for n := 1; ; n++ {
			reached := false
			t.Run(fmt.Sprintf("commit %d, kept %v", n, after), func(t *testing.T) {
				f, s := trapped(t)
				m := f.published([]byte("new firmware"))
				f.fleet(2)
				s.arm(n, after)
				sprung := s.sprung
				f.story(m, between(f, s))
				select {
				case <-sprung:
					reached = true
				default:
				}
			})
			if t.Failed() || !reached {
				break
			}
			failed++
		}
		if failed < 10 && !t.Failed() {
			t.Errorf("only %d commits were made to fail: the story is too short", failed)
		}
	}
}

func TestStoreFailureIsAProblemOfCommands(t *testing.T) {
	f, s := trapped(t)
	f.ok("server", "info", topics.None{}, nil) // the start is over
	s.arm(1, false)
	p := f.fails(topics.ProblemStoreUnavailable, "device", "add", topics.DeviceAdd{Device: device("d1")})
	if strings.Contains(p.Detail, errTrap.Error()) {
		t.Errorf("the problem tells of our insides: %q", p.Detail)
	}
	f.fails(topics.ProblemDeviceNotFound, "device", "get", topics.DeviceGet{Device: device("d1")})
	f.ok("device", "add", topics.DeviceAdd{Device: device("d1")}, nil)
}

func TestRunEndsWhenItsStartFails(t *testing.T) {
	s := &trap{}
	f := start(t, func(inner campaign.Store) campaign.Store { s.Store = inner; return s })
	f.fleet(1)
	f.stop()
	f.edit(func(tx campaign.Tx) error { // so that the start has something to mend
		l := campaign.Live{Component: "a", Manifest: ident.SumDigest([]byte("gone")), Campaign: campaignID("gone")}
		return tx.PutWork(acme, device("dev-000"), campaign.Work{Live: []campaign.Live{l}, Recent: []campaign.Live{l}})
	})
	s.arm(1, false)
	b, err := bridge.New(bridge.Options{Store: s, Link: newFakeLink(), Catalogue: f.catalogue})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Run(t.Context()); !errors.Is(err, errTrap) {
		t.Errorf("Run returned %v", err)
	}
}

// tardy is a store whose Updates wait, once it is late, until their context ends.
type tardy struct {
	campaign.Store
	late bool
}

func (s *tardy) Update(ctx context.Context, fn func(campaign.Tx) error) error {
	if !s.late {
		return s.Store.Update(ctx, fn)
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestMessageExpiryIsTheDeadline(t *testing.T) {
	f := start(t, func(s campaign.Store) campaign.Store { return &tardy{Store: s} })
	f.ok("server", "info", topics.None{}, nil) // the start is over
	f.store.(*tardy).late = true
	p := f.do(command{p: operator, noun: "device", verb: "add", in: link.Inbound{Props: link.Properties{Expiry: 1}}}, topics.DeviceAdd{Device: device("d1")}, nil)
	if p == nil || p.Type != topics.ProblemDeadlinePassed {
		t.Errorf("problem %v, want deadline-passed", p)
	}
}

func TestSweepClearsStaleSlots(t *testing.T) {
	f := start(t, nil)
	m := f.published([]byte("new firmware"))
	f.fleet(1)
	f.stop()
	err := f.store.Update(t.Context(), func(tx campaign.Tx) error {
		l := campaign.Live{Component: m.Component, Manifest: m.Digest, Campaign: campaignID("gone")}
		return tx.PutWork(acme, device("dev-000"), campaign.Work{Live: []campaign.Live{l}, Recent: []campaign.Live{l}})
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.retained(operator, "fleet/v1/acme/#"); len(got) != 1 {
		t.Fatalf("the stale slot is not there: %v", got)
	}
	f.run()
	f.link.await(t, "cleared topic", 0, func(m link.Message) bool {
		return m.Topic == topics.ManifestTopic(acme, device("dev-000")) && len(m.Payload) == 0 && m.Retain
	})
	if got := f.retained(operator, "fleet/v1/acme/#"); got != nil {
		t.Errorf("after the start %v is still there", got)
	}
	var w campaign.Work
	err = f.store.View(t.Context(), func(r campaign.Reader) (err error) {
		w, err = r.Work(acme, device("dev-000"))
		return err
	})
	if err != nil || len(w.Live) != 0 {
		t.Errorf("work after the start: %+v, %v", w, err)
	}
}
