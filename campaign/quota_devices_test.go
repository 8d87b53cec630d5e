package campaign_test

import (
	"errors"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

func TestQuotaOfDevices(t *testing.T) {
	w := newWorld(t)
	w.register("a")
	two := 2
	w.grant(campaign.QuotaChange{Devices: &two})
	add := func(d string) error {
		_, err := campaign.Register(w.m, w.now, acme, campaign.Device{ID: device(d), Created: w.now})
		return err
	}
	if err := add("b"); err != nil {
		t.Fatalf("a device with room: %v", err)
	}
	if err := add("c"); !errors.Is(err, campaign.ErrQuota) {
		t.Errorf("a device too many: %v", err)
	}
	if err := add("b"); err != nil {
		t.Errorf("a device that is there is changed: %v", err)
	}
	one := 1
	w.grant(campaign.QuotaChange{Devices: &one})
	if err := add("b"); err != nil || len(w.m.devices) != 2 {
		t.Errorf("a limit below what is there takes nothing away: %v", err)
	}
	if res := w.hello("b", ident.Digest{}, 1); res.Verdict != campaign.Recorded {
		t.Errorf("a registered device's hello: %s", res.Verdict)
	}
	none := 0
	w.grant(campaign.QuotaChange{Devices: &none})
	if err := add("c"); err != nil {
		t.Errorf("no limit: %v", err)
	}
}

// TestHelloWithoutRoom: it registers nothing, joins nothing, and is told of until the device has room.
func TestHelloWithoutRoom(t *testing.T) {
	w := newWorld(t)
	m := w.manifest("v2")
	w.register("a")
	one, two := 1, 2
	w.grant(campaign.QuotaChange{Devices: &one})
	c := w.create("c", m, policy(func(p *campaign.Policy) { p.Membership = campaign.Continuous }))
	w.run(c)
	for range 2 {
		w.now = w.now.Add(time.Minute)
		if res := w.hello("b", factory, 1); res.Verdict != campaign.NoRoom || len(res.Campaigns) != 0 {
			t.Fatalf("%+v", res)
		}
	}
	if _, there := w.m.devices[device("b")]; there || len(w.m.works) != 1 {
		t.Fatal("it was registered")
	}
	if y := w.m.turned; y.Hellos != 2 || len(y.Latest) != 1 || y.Latest[0] != (campaign.TurnedDevice{Device: device("b"), At: w.now}) {
		t.Errorf("%+v", y)
	}
	for _, name := range names(campaign.MaxTurnedAway) {
		w.hello(name, factory, 1)
	}
	if y := w.m.turned; y.Hellos != 2+campaign.MaxTurnedAway || len(y.Latest) != campaign.MaxTurnedAway || y.Latest[0].Device != device("d031") {
		t.Errorf("not bounded: %d, %+v", y.Hellos, y.Latest)
	}
	w.grant(campaign.QuotaChange{Devices: &two})
	if res := w.hello("d030", factory, 1); res.Verdict != campaign.Recorded || len(w.m.turned.Latest) != campaign.MaxTurnedAway-1 {
		t.Errorf("there is room: %s, %d still told of", res.Verdict, len(w.m.turned.Latest))
	}
	w.run(c)
	w.want(c, "d030", campaign.Offered)
}

func TestCheckDevices(t *testing.T) {
	w := newWorld(t)
	w.register(names(1500)...)
	if n, bad, err := campaign.CheckDevices(w.m, acme); n != 1500 || len(bad) != 0 || err != nil {
		t.Errorf("%d, %v, %v", n, bad, err)
	}
	if n, bad, err := campaign.CheckDevices(lostCount{w.m}, acme); n != 1500 || len(bad) != 1 || err != nil {
		t.Errorf("%d, %v, %v", n, bad, err)
	}
}

// lostCount is a store that has lost count.
type lostCount struct{ *memory }

func (lostCount) DeviceCount(ident.Tenant) (uint64, error) { return 1499, nil }
