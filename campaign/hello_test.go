package campaign_test

import (
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"fleetbridge/campaign"
)

func TestHelloRegistersAndUpdatesADevice(t *testing.T) {
	w := newWorld(t)
	img := []campaign.Image{{Component: component, Digest: factory, Sequence: 1, Version: "1.0"}}
	w.sayHello("d", campaign.Hello{Seq: 5, Vendor: vendor, Class: class, Installed: img, Boot: 3, MaxChunk: 512,
		Algs: []int64{-7}, Facts: map[string]string{"region": "eu"}})
	want := campaign.Device{ID: device("d"), Vendor: vendor, Class: class, Installed: img, Boot: 3, MaxChunk: 512,
		Algs: []int64{-7}, Facts: map[string]string{"region": "eu"}, HelloSeq: 5, LastSeen: start, Created: start}
	if diff := gocmp.Diff(want, w.m.devices[device("d")], equate); diff != "" {
		t.Fatal(diff)
	}
	w.now = w.now.Add(time.Hour)
	for seq, verdict := range map[uint64]campaign.Verdict{5: campaign.Duplicate, 4: campaign.Stale} {
		if res := w.sayHello("d", campaign.Hello{Seq: seq, Class: uuid.New(), Boot: 9}); res.Verdict != verdict {
			t.Errorf("seq %d: verdict %q, want %q", seq, res.Verdict, verdict)
		}
	}
	want.LastSeen = w.now
	if diff := gocmp.Diff(want, w.m.devices[device("d")], equate); diff != "" {
		t.Errorf("an old hello changed facts: %s", diff)
	}
	if res := w.sayHello("d", campaign.Hello{Seq: 6}); res.Verdict != campaign.Recorded {
		t.Errorf("verdict %q", res.Verdict)
	}
	want.HelloSeq = 6
	if diff := gocmp.Diff(want, w.m.devices[device("d")], equate); diff != "" {
		t.Errorf("what a hello leaves out must stay: %s", diff)
	}
}

func TestHelloWithThePayloadInOffered(t *testing.T) {
	t.Run("seen with another image before: the update was done", func(t *testing.T) {
		w, d, c := offered(t)
		w.hello(d, c.m.Image, 2)
		w.want(c.c, d, campaign.Confirmed)
	})
	t.Run("nothing was known: it had it all along", func(t *testing.T) {
		w := newWorld(t)
		m := w.manifest("v2")
		w.register("d")
		c := w.create("c", m, policy())
		w.run(c)
		w.want(c, "d", campaign.Offered)
		w.hello("d", m.Image, 1)
		w.want(c, "d", campaign.Skipped)
		if _, shown := w.topic[device("d")]; shown {
			t.Error("the topic still shows a manifest")
		}
	})
}

func TestHelloAsksAnUnansweredDeviceSoon(t *testing.T) {
	w, d, c := offered(t)
	for range 30 { // far up the back-off
		w.now = w.assignment(c.c, d).Due()
		w.run(c.c)
	}
	w.hello(d, factory, 1)
	if wait := w.assignment(c.c, d).NextOffer.Sub(w.now); wait < 5*time.Second || wait > 8*time.Second {
		t.Errorf("next offer after %v", wait)
	}
}

func TestSilentDeviceComesBack(t *testing.T) {
	// A second device keeps the campaign active while d is silent.
	open := func(t *testing.T) (*world, campaignAnd) {
		w := newWorld(t)
		m := w.manifest("v2")
		w.register("d", "e")
		w.hello("d", factory, 1)
		c := w.create("c", m, policy())
		w.run(c)
		w.report("e", m, "received")
		w.now = w.now.Add(71 * time.Hour)
		w.report("e", m, "downloading")
		w.now = w.now.Add(2 * time.Hour)
		w.run(c)
		w.want(c, "d", campaign.Silent)
		if _, shown := w.topic[device("d")]; shown {
			t.Fatal("the topic of a silent device shows a manifest")
		}
		return w, campaignAnd{c, m}
	}
	t.Run("with a word", func(t *testing.T) {
		w, c := open(t)
		w.report("d", c.m, "downloading")
		w.want(c.c, "d", campaign.Downloading)
	})
	t.Run("with a final word", func(t *testing.T) {
		w, c := open(t)
		w.report("d", c.m, "failed")
		w.want(c.c, "d", campaign.Failed)
	})
	t.Run("with a hello, and is offered again", func(t *testing.T) {
		w, c := open(t)
		w.hello("d", factory, 2)
		w.want(c.c, "d", campaign.Pending)
		w.run(c.c)
		w.want(c.c, "d", campaign.Offered)
	})
	t.Run("with proof", func(t *testing.T) {
		w, c := open(t)
		w.hello("d", c.m.Image, 2)
		w.want(c.c, "d", campaign.Confirmed)
	})
	t.Run("with a word while another campaign has its slot", func(t *testing.T) {
		w, c := open(t)
		other := w.manifest("v3")
		c2 := w.create("c2", other, policy(), "d")
		w.run(c2)
		w.want(c2, "d", campaign.Offered)
		if res := w.report("d", c.m, "downloading"); res.Verdict != campaign.Recorded {
			t.Errorf("verdict %q", res.Verdict)
		}
		w.want(c.c, "d", campaign.Silent)
		if w.topic[device("d")] != other.Digest {
			t.Error("the other campaign's manifest is no longer shown")
		}
	})
	t.Run("after its campaign has stopped: it stays silent", func(t *testing.T) {
		w, c := open(t)
		w.stop(c.c)
		w.run(c.c)
		w.report("d", c.m, "downloading")
		w.hello("d", factory, 2)
		w.want(c.c, "d", campaign.Silent)
	})
}

// TestADeviceThatOnlySaysHelloIsGivenUp says hello whenever it is silent, and never answers an offer; another device
// keeps the campaign active.
func TestADeviceThatOnlySaysHelloIsGivenUp(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d", "e")
	c := w.create("c", m, policy())
	fell := 0
	for range 80 {
		w.run(c)
		w.report("e", m, "downloading")
		if w.assignment(c, "d").State == campaign.Silent {
			if w.hello("d", factory, 1); w.assignment(c, "d").State == campaign.Pending {
				fell++
			}
		}
		w.now = w.now.Add(23 * time.Hour)
	}
	w.want(c, "d", campaign.Silent)
	if fell == 0 || fell > 3 {
		t.Errorf("came back %d times, want 1 to 3", fell)
	}
	w.report("d", m, "received") // its own word is another matter
	w.want(c, "d", campaign.Received)
}

// TestSilentDeviceThatDidItAnyway: its proof is in the registry by the time its turn comes again. It was updated by us,
// so it is not skipped.
func TestSilentDeviceThatDidItAnyway(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("d", "e")
	c := w.create("c", m, policy())
	w.run(c)
	w.report("e", m, "received")
	w.now = w.now.Add(72 * time.Hour)
	w.report("e", m, "received")
	w.run(c)
	w.want(c, "d", campaign.Silent)
	w.hello("d", [32]byte{}, 1)
	w.want(c, "d", campaign.Pending)
	d := w.m.devices[device("d")]
	d.Installed = []campaign.Image{{Component: component, Digest: m.Image}}
	w.m.devices[d.ID] = d
	w.run(c)
	w.want(c, "d", campaign.Confirmed)
}
