package load

import (
	"testing"
	"time"

	"fleetbridge/topics"
)

func crowdParams(t *testing.T, f *fake, n int) CrowdParams {
	return CrowdParams{Target: Target{Addr: f.addr}, Tenant: tenant, Devices: devices(t, n), KeepAlive: time.Minute}
}

func online(n uint64) func(CrowdCounts) bool {
	return func(c CrowdCounts) bool { return c.Units == n || c.Failed > 0 }
}

func TestCrowd(t *testing.T) {
	f := newFake(t)
	p := crowdParams(t, f, 20)
	p.Flight, p.Storm = 3, 5
	d := start(t, Crowd, p)
	var n CrowdCounts
	d.say("", &n)
	for range 3 {
		d.say("begin", &n)
		if n = until(d, online(20)); n.Failed > 0 || n.Retried > 0 {
			t.Errorf("%+v", n)
		}
	}
	if err := d.hangUp(); err != nil {
		t.Error(err)
	}
	if f.mu.Lock(); f.connects != 60 {
		t.Errorf("%d connects, want 60", f.connects)
	}
	f.mu.Unlock()
}

// TestCrowdReports: a device whose manifest waits for it reports it the first time, and fetches it each time.
func TestCrowdReports(t *testing.T) {
	f := newFake(t)
	f.retained = []byte("envelope")
	p := crowdParams(t, f, 5)
	p.Manifest, p.Answer = true, []byte("received")
	d := start(t, Crowd, p)
	var n CrowdCounts
	d.say("", &n)
	for range 2 {
		d.say("begin", &n)
		if n = until(d, online(5)); n.Failed > 0 || n.Manifest != len(f.retained) {
			t.Errorf("%+v", n)
		}
	}
	if err := d.hangUp(); err != nil {
		t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, dev := range p.Devices {
		if got := f.published[topics.ReportTopic(tenant, dev.ID)]; string(got) != "received" {
			t.Errorf("%s reported %q", dev.ID, got)
		}
	}
}

// TestCrowdRetains: where nobody offers a manifest the devices put it there the first time, and then wait for it.
func TestCrowdRetains(t *testing.T) {
	f := newFake(t)
	p := crowdParams(t, f, 5)
	p.Manifest, p.Retain = true, []byte("envelope")
	d := start(t, Crowd, p)
	var n CrowdCounts
	d.say("", &n)
	d.say("begin", &n)
	until(d, online(5))
	f.mu.Lock()
	for _, dev := range p.Devices {
		if got := f.published[topics.ManifestTopic(tenant, dev.ID)]; string(got) != "envelope" {
			t.Errorf("%s put %q on its topic", dev.ID, got)
		}
	}
	f.mu.Unlock()
	d.say("begin", &n)
	if d.say("mark", &n); n.Units > 0 {
		t.Errorf("%d are online without a manifest", n.Units)
	}
	if err := d.hangUp(); err != nil {
		t.Error(err)
	}
}

// TestWrongManifest: who is served less fails the benchmark.
func TestWrongManifest(t *testing.T) {
	f := newFake(t)
	f.retained = []byte("envelope")
	p := crowdParams(t, f, 2)
	p.Manifest = true
	d := start(t, Crowd, p)
	var n CrowdCounts
	d.say("", &n)
	d.say("begin", &n)
	until(d, online(2))
	f.mu.Lock()
	f.retained = []byte("short")
	f.mu.Unlock()
	d.say("begin", &n)
	if n = until(d, online(2)); n.Failed == 0 || n.Problem == "" {
		t.Errorf("%+v", n)
	}
	if err := d.hangUp(); err != nil {
		t.Error(err)
	}
}

// TestRefusedMember: a device that is refused comes back.
func TestRefusedMember(t *testing.T) {
	f := newFake(t)
	f.refuse = 2
	d := start(t, Crowd, crowdParams(t, f, 3))
	var n CrowdCounts
	d.say("", &n)
	d.say("begin", &n)
	if n = until(d, online(3)); n.Failed > 0 || n.Retried != 2 || n.RetriedFor == "" {
		t.Errorf("%+v", n)
	}
	if err := d.hangUp(); err != nil {
		t.Error(err)
	}
}
