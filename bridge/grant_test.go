package bridge_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// got fetches a chunk and says what came: "" for the chunk, else the type of the problem.
func (f *fixture) got(p topics.Principal, client string, q topics.Fetch) string {
	f.t.Helper()
	if q.Size == 0 {
		q.Size = 1000
	}
	q.Token, q.Count = must(ident.ParseToken("t")), 1
	topic := topics.FetchTopic(p.Tenant, must(ident.ParseDevice(p.Name.String())))
	out := f.link.publish(f.t, p, link.Inbound{Topic: topic, Payload: must(topics.Encode(q, topics.CBOR)), Client: client})
	if !out.done || len(out.sent) != 1 {
		f.t.Fatalf("%+v", out)
	}
	if p := topics.DecodeProblem(out.sent[0].Payload); p != nil {
		return p.Type
	}
	return ""
}

// cleared waits until a device's manifest topic was cleared.
func (f *fixture) cleared(id string) {
	f.t.Helper()
	f.link.await(f.t, "clear for "+id, 0, func(m link.Message) bool {
		return m.Topic == topics.ManifestTopic(acme, device(id)) && len(m.Payload) == 0
	})
}

// What a connection was granted a moment ago it is not granted any more when the commit that takes it away has returned; nor is
// the device by another connection.
func TestGrantsEndWithTheirReason(t *testing.T) {
	report := func(w topics.Word) func(*fixture, topics.ManifestView) {
		return func(f *fixture, m topics.ManifestView) {
			if out := f.report("dev-000", topics.Report{Seq: 9, Manifest: m.Digest, State: w, Reason: topics.ReasonNoSpace}); !out.done {
				f.t.Fatalf("report: %+v", out)
			}
		}
	}
	for what, c := range map[string]struct {
		happens func(*fixture, topics.ManifestView)
		want    string
	}{
		"nothing": {func(*fixture, topics.ManifestView) {}, ""},
		"news that change nothing": {func(f *fixture, m topics.ManifestView) {
			report(topics.WordDownloading)(f, m)
			f.hello("dev-000", topics.Hello{Seq: 12, Boot: 1})
		}, ""},
		"the campaign is stopped": {func(f *fixture, _ topics.ManifestView) {
			f.ok("campaign", "stop", topics.CampaignRef{Campaign: campaignID("c1")}, nil)
			f.cleared("dev-000")
		}, topics.ProblemFetchNotAssigned},
		"the signer is revoked": {func(f *fixture, _ topics.ManifestView) {
			f.ok("trust", "revoke", topics.TrustRevoke{ID: must(ident.ParseKey("author"))}, nil)
			f.cleared("dev-000")
		}, topics.ProblemFetchNotAssigned},
		"it is confirmed": {func(f *fixture, m topics.ManifestView) { f.update("dev-000", m, 2) }, topics.ProblemFetchNotAssigned},
		"it has failed":   {report(topics.WordFailed), topics.ProblemFetchNotAssigned},
		"it is rejected":  {report(topics.WordRejected), topics.ProblemFetchNotAssigned},
		"the device takes smaller chunks": {func(f *fixture, _ topics.ManifestView) {
			f.hello("dev-000", topics.Hello{Seq: 9, Boot: 1, MaxChunk: 512})
		}, topics.ProblemChunkTooLarge},
		"the file is removed": {func(f *fixture, m topics.ManifestView) {
			if err := f.catalogue.Remove(acme, m.Payload); err != nil {
				f.t.Fatal(err)
			}
		}, topics.ProblemPayloadNotFound},
	} {
		t.Run(what, func(t *testing.T) {
			f, m, _ := served(t, 10_000)
			f.link.takes = func(n int) int { return n }
			dev, q := deviceOf(acme, "dev-000"), topics.Fetch{Digest: m.Payload}
			for range 2 {
				if p := f.got(dev, "one", q); p != "" {
					t.Fatalf("before: %s", p)
				}
			}
			c.happens(f, m)
			for _, client := range []string{"one", "two", "one"} {
				if p := f.got(dev, client, q); p != c.want {
					t.Errorf("connection %s: %q, want %q", client, p, c.want)
				}
			}
		})
	}
}

// A grant is of one payload of one tenant's device, whatever else the connection was granted before.
func TestGrantsAreOfOnePayload(t *testing.T) {
	f, m, data := served(t, 10_000)
	f.link.takes = func(n int) int { return n }
	dev := deviceOf(acme, "dev-000")
	foreign := f.upload(stranger, []byte("of another tenant"))
	unassigned := f.upload(operator, []byte("of no assignment"))
	if d := f.upload(stranger, data); d != m.Payload {
		t.Fatal("the same bytes have two digests")
	}
	for range 2 {
		for d, want := range map[ident.Digest]string{m.Payload: "", foreign: topics.ProblemFetchNotAssigned, unassigned: topics.ProblemFetchNotAssigned, {1}: topics.ProblemFetchNotAssigned} {
			if p := f.got(dev, "one", topics.Fetch{Digest: d}); p != want {
				t.Errorf("payload %s: %q, want %q", d, p, want)
			}
		}
		if p := f.got(deviceOf(other, "dev-000"), "one", topics.Fetch{Digest: m.Payload}); p != topics.ProblemFetchNotAssigned {
			t.Errorf("the other tenant's device of that name: %q", p)
		}
	}
}

// counted counts the Views of a store that has versions.
type counted struct {
	campaign.Store
	campaign.Versioned
	views atomic.Int64
}

func (s *counted) View(ctx context.Context, fn func(campaign.Reader) error) error {
	s.views.Add(1)
	return s.Store.View(ctx, fn)
}

// plain hides a store's versions.
type plain struct{ campaign.Store }

// A connection asks the store once for as long as nothing of its device is committed; of a store without versions each time.
func TestGrantsAreKept(t *testing.T) {
	fetches := func(s *counted, wrap func(campaign.Store) campaign.Store) int64 {
		f, m, _ := servedBy(t, 10_000, wrap)
		f.link.takes = func(n int) int { return n }
		dev, q := deviceOf(acme, "dev-000"), topics.Fetch{Digest: m.Payload}
		f.got(dev, "one", q)
		f.stop() // nobody else looks
		before := s.views.Load()
		for range 20 {
			f.got(dev, "one", q)
		}
		return s.views.Load() - before
	}
	s := &counted{}
	if n := fetches(s, func(inner campaign.Store) campaign.Store {
		s.Store, s.Versioned = inner, inner.(campaign.Versioned)
		return s
	}); n != 0 {
		t.Errorf("%d looks at the store for 20 fetches", n)
	}
	s = &counted{}
	if n := fetches(s, func(inner campaign.Store) campaign.Store {
		s.Store = inner
		return plain{s}
	}); n != 20 {
		t.Errorf("%d looks at a store without versions for 20 fetches", n)
	}
}

// truncate cuts the file of a payload.
func truncate(f *fixture, d ident.Digest, size int64) error {
	return os.Truncate(filepath.Join(f.dir, acme.String(), d.Hex()), size)
}

// A file that is not as long as its manifest says is not served: what is missing would be somebody else's bytes.
func TestPayloadOfAnotherSize(t *testing.T) {
	eachWay(t, func(t *testing.T, how takes) {
		f, m, data := served(t, 10_000)
		f.link.takes = how
		if err := truncate(f, m.Payload, int64(len(data)-1)); err != nil {
			t.Fatal(err)
		}
		if p := f.got(deviceOf(acme, "dev-000"), "one", topics.Fetch{Digest: m.Payload}); p != topics.ProblemInternal {
			t.Errorf("the first chunk of a cut file: %q", p)
		}
	})
}

// A file that is cut while it is open ends the fetch, where its bytes are copied by us.
func TestPayloadCutWhileItIsOpen(t *testing.T) {
	f, m, _ := served(t, 100_000)
	h, err := f.catalogue.Handle(acme, m.Payload)
	if err != nil {
		t.Fatal(err)
	}
	defer func(h *firmware.Handle) {
		if err := h.Release(); err != nil {
			t.Error(err)
		}
	}(h)
	if err := truncate(f, m.Payload, 4096); err != nil {
		t.Fatal(err)
	}
	f.link.takes = func(int) int { return 0 }
	for first, want := range map[uint32]string{0: "", 4: topics.ProblemInternal, 90: topics.ProblemInternal} {
		if p := f.got(deviceOf(acme, "dev-000"), "one", topics.Fetch{Digest: m.Payload, First: first}); p != want {
			t.Errorf("chunk %d of a cut file: %q, want %q", first, p, want)
		}
	}
}
