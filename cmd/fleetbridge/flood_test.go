package main

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fleetbridge/ident"
	"fleetbridge/simulator"
	"fleetbridge/simulator/lean"
	"fleetbridge/topics"
)

// flooder is a device that reports as fast as it can, with several reports without PUBACK.
type flooder struct {
	*manifestReader
	id    simulator.Identity
	seq   uint64
	acked uint64 // the newest report with a PUBACK
}

// flood sends reports until the connection breaks. total counts the PUBACKs of all devices.
func (f *flooder) flood(manifest ident.Digest, total *atomic.Uint64) {
	const window = 8
	words := []topics.Word{topics.WordReceived, topics.WordDownloading, topics.WordDownloading, topics.WordDownloading}
	topic := topics.ReportTopic(f.id.Tenant, f.id.Device)
	var waiting []uint64 // in the order of their PUBACKs [MQTT-4.6.0-2]
	for {
		for len(waiting) < window {
			f.seq++
			r := topics.Report{Seq: f.seq, Manifest: manifest, State: words[f.seq%uint64(len(words))], Progress: f.seq}
			body, err := topics.Encode(r, topics.CBOR)
			if err != nil {
				f.t.Error(err)
				return
			}
			if _, err := f.cl.Publish(topic, body, 1); err != nil {
				return
			}
			waiting = append(waiting, f.seq)
		}
		e, err := f.cl.Next(time.Now().Add(30 * time.Second))
		if err != nil {
			return
		}
		if e.Kind == lean.Ack {
			f.acked, waiting = waiting[0], waiting[1:]
			total.Add(1)
		}
	}
}

// TestKilledUnderFullLoad kills the server while devices report as fast as it takes reports, eight of each under way, so that
// large batches are being applied, synced and acknowledged at once. Each report with a PUBACK is there after the start.
func TestKilledUnderFullLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	const devices, rounds, enough = 100, 3, 10_000
	v := newVictim(t)
	v.start()
	s := &fleetSetup{cl: v.dial(), name: "flood", devices: devices, seed: 1, size: 4 << 10}
	if err := s.publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	ids, err := s.provision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list := make([]*flooder, devices)
	for i, id := range ids {
		list[i] = &flooder{manifestReader: readManifest(t, v.addr, id, s), id: id, seq: uint64(time.Now().UnixNano())}
	}
	campaign, err := s.campaign(t.Context(), topics.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		f.await()
	}
	for round := range rounds {
		var total atomic.Uint64
		var floods sync.WaitGroup
		for _, f := range list {
			floods.Go(func() { f.flood(s.manifest.Digest, &total) })
		}
		for until := time.Now().Add(time.Minute); total.Load() < enough; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("%d reports were acknowledged in a minute", total.Load())
			}
		}
		v.kill()
		floods.Wait()
		v.start()
		s.cl = v.dial()
		var page topics.List[topics.AssignmentView]
		if err := s.cl.Do(t.Context(), "campaign", "devices", topics.CampaignDevices{Campaign: campaign, Page: topics.Page{Limit: devices}}, &page); err != nil {
			t.Fatal(err)
		}
		recorded := map[ident.Device]uint64{}
		for _, a := range page.Items {
			recorded[a.Device] = a.Seq
		}
		for _, f := range list {
			if f.acked == 0 || recorded[f.id.Device] < f.acked {
				t.Errorf("round %d: %s saw report %d acknowledged, recorded is %d", round, f.id.Device, f.acked, recorded[f.id.Device])
			}
		}
		for i, f := range list {
			list[i].manifestReader = readManifest(t, v.addr, f.id, s)
			list[i].seq = uint64(time.Now().UnixNano())
		}
	}
}
