package bridge_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// The tests of this file are named for what hurts in other systems; docs/traceability.md says which rule answers each.

// TestPain05DownloadResumesAfterReboot: a device that lost its power, and a server that was started again, go on with the
// chunks that are missing; that it begins to download again is no failure, and it needs no new offer.
func TestPain05DownloadResumesAfterReboot(t *testing.T) {
	const size, chunk = 64_000, 1000
	f, m, data := served(t, size)
	dev := deviceOf(acme, "dev-000")
	say := func(seq, boot, bytes uint64, w topics.Word) {
		t.Helper()
		if out := f.report("dev-000", topics.Report{Seq: seq, Manifest: m.Digest, State: w, Boot: boot, Progress: bytes}); !out.done || out.code != link.Success {
			t.Fatalf("report %s: %+v", w, out)
		}
	}
	say(2, 1, 0, topics.WordReceived)
	say(3, 1, 40*chunk, topics.WordDownloading)
	if out := f.fetch(dev, topics.Fetch{Digest: m.Payload, Size: chunk, First: 0, Count: 40}, 0, nil); len(out.sent) != 40 {
		t.Fatalf("%d chunks before the loss of power", len(out.sent))
	}
	f.stop()
	f.run()
	f.device("dev-000", topics.HelloTopic(acme, device("dev-000")), topics.Hello{Seq: 4, Boot: 2, Vendor: vendor, Class: class})
	if got := f.retained(dev, topics.ManifestTopic(acme, device("dev-000"))); len(got) != 1 {
		t.Fatal("a device that connects again does not find its manifest")
	}
	say(5, 2, 40*chunk, topics.WordReceived) // it is back at the beginning, with what its flash holds
	out := f.fetch(dev, topics.Fetch{Digest: m.Payload, Size: chunk, First: 3, Count: 61, Bitmap: bitmap(61, 0, 37, 60)}, 0, nil)
	want := []uint32{3, 40, 63}
	if len(out.sent) != len(want) {
		t.Fatalf("%d chunks sent, %d are missing", len(out.sent), len(want))
	}
	for i, sent := range out.sent {
		at := want[i] * chunk
		if sent.Topic != topics.ChunkTopic(acme, device("dev-000"), must(ident.ParseToken("t1")), want[i]) || string(sent.Payload) != string(data[at:at+chunk]) {
			t.Errorf("chunk %d is not what was missing: %s", want[i], sent.Topic)
		}
	}
	var list topics.List[topics.AssignmentView]
	f.ok("campaign", "devices", topics.CampaignDevices{Campaign: campaignID("c1")}, &list)
	if len(list.Items) != 1 || list.Items[0].State != string(campaign.Received) {
		t.Fatalf("assignments: %+v", list.Items)
	}
	f.update("dev-000", m, 6)
	if p := f.progress("c1", "end of the campaign", stopped); p.Outcome != string(campaign.Succeeded) {
		t.Errorf("%s: %s", p.Outcome, p.Reason)
	}
}

// bitmap has the given bits of n set.
func bitmap(n int, bits ...int) []byte {
	b := make([]byte, (n+7)/8)
	for _, i := range bits {
		b[i/8] |= 1 << (i % 8)
	}
	return b
}

// sparing is a store that counts, once it is on, the records of devices and assignments that are read.
type sparing struct {
	campaign.Store
	on   atomic.Bool
	read atomic.Int64
}

func (s *sparing) View(ctx context.Context, fn func(campaign.Reader) error) error {
	return s.Store.View(ctx, func(r campaign.Reader) error { return fn(&sparingReader{r, s}) })
}

// sparingReader counts for its store.
type sparingReader struct {
	campaign.Reader
	s *sparing
}

func (r *sparingReader) add(n int) {
	if r.s.on.Load() {
		r.s.read.Add(int64(n))
	}
}

func (r *sparingReader) Device(t ident.Tenant, d ident.Device) (campaign.Device, error) {
	r.add(1)
	return r.Reader.Device(t, d)
}

func (r *sparingReader) Devices(t ident.Tenant, after ident.Device, limit int) ([]campaign.Device, error) {
	l, err := r.Reader.Devices(t, after, limit)
	r.add(len(l))
	return l, err
}

func (r *sparingReader) Assignment(t ident.Tenant, c ident.Campaign, d ident.Device) (campaign.Assignment, error) {
	r.add(1)
	return r.Reader.Assignment(t, c, d)
}

func (r *sparingReader) Assignments(t ident.Tenant, c ident.Campaign, after ident.Device, limit int) ([]campaign.Assignment, error) {
	l, err := r.Reader.Assignments(t, c, after, limit)
	r.add(len(l))
	return l, err
}

func (r *sparingReader) InState(t ident.Tenant, c ident.Campaign, s campaign.State, after campaign.Place, limit int) ([]campaign.Assignment, error) {
	l, err := r.Reader.InState(t, c, s, after, limit)
	r.add(len(l))
	return l, err
}

func (r *sparingReader) DueBy(t ident.Tenant, c ident.Campaign, until time.Time, limit int) ([]campaign.Assignment, error) {
	l, err := r.Reader.DueBy(t, c, until, limit)
	r.add(len(l))
	return l, err
}

// TestPain08StatusReadsNoDeviceRecord: how a campaign stands is known without looking at one of its devices, however many
// there are; a list of devices is read a page at a time.
func TestPain08StatusReadsNoDeviceRecord(t *testing.T) {
	f := start(t, func(s campaign.Store) campaign.Store { return &sparing{Store: s} })
	m := f.published([]byte("new firmware"))
	ids := f.fleet(60)
	f.launch("c1", m.Digest, topics.Policy{})
	p := f.progress("c1", "all offered", func(p topics.Progress) bool { return p.Counts["offered"] == 60 })
	for _, id := range ids {
		f.offered(id, 0) // who publishes the offers reads the devices
	}
	s := f.store.(*sparing)
	s.on.Store(true)
	var v topics.CampaignView
	f.ok("campaign", "get", topics.CampaignRef{Campaign: campaignID("c1")}, &v)
	var all topics.List[topics.CampaignView]
	f.ok("campaign", "list", topics.Page{}, &all)
	again := f.progress("c1", "progress", func(topics.Progress) bool { return true })
	if fmt.Sprint(v.Progress.Counts) != fmt.Sprint(p.Counts) || len(all.Items) != 1 || again.Total != 60 {
		t.Errorf("progress %v, want %v; %d campaigns, %d devices", v.Progress.Counts, p.Counts, len(all.Items), again.Total)
	}
	if n := s.read.Load(); n != 0 {
		t.Errorf("%d records of devices were read for the status of a campaign", n)
	}
	var page topics.List[topics.AssignmentView]
	f.ok("campaign", "devices", topics.CampaignDevices{Campaign: campaignID("c1"), Page: topics.Page{Limit: 10}}, &page)
	if n := s.read.Load(); len(page.Items) != 10 || n < 10 || n > 11 {
		t.Errorf("%d records were read for a page of %d", n, len(page.Items))
	}
}
