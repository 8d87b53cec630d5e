package simulator_test

import (
	"context"
	"reflect"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"fleetbridge/ident"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// fate is what must not depend on how a fleet is divided.
type fate struct {
	fault simulator.Fault
	paho  bool
	end   topics.Word
}

// A fleet that several processes share comes out as the whole one does, device by device, and its parts add up.
func TestSharedFleetComesOutAlike(t *testing.T) {
	const devices = 120
	run := func(sizes ...int) (fates map[ident.Device]fate, sum simulator.Stats) {
		fates = map[ident.Device]fate{}
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 5_000)
			b.config.Seed = 11
			b.config.Faults = simulator.Mix{simulator.PowerLoss: 20, simulator.BadFlash: 20, simulator.Rollback: 20, simulator.BadSignature: 20}
			all, first := identities(t, devices), 0
			for _, n := range sizes {
				b.config.Devices, b.config.First = all[first:first+n], first
				first += n
				f := b.fleet(t)
				power(t, b.server, f)
				sum = sum.Add(f.Stats())
				for _, e := range f.Ledger() {
					fates[e.Device] = fate{e.Fault, e.Paho, e.Manifests[0].State}
				}
			}
		})
		return fates, sum
	}
	whole, one := run(devices)
	parts, three := run(7, 50, 63)
	if d := cmp.Diff(whole, parts, cmp.AllowUnexported(fate{})); d != "" || len(whole) != devices {
		t.Errorf("%d devices; divided, the fleet came out differently:\n%s", len(whole), d)
	}
	if one.Devices != three.Devices || one.Reports != three.Reports || one.Acknowledged != three.Acknowledged || one.PowerLosses != three.PowerLosses {
		t.Errorf("whole %+v\nin parts %+v", one, three)
	}
	if d := cmp.Diff(one.States, three.States); d != "" {
		t.Errorf("states: %s", d)
	}
}

func power(t *testing.T, s *server, f *simulator.Fleet) {
	t.Helper()
	run(t, s, f, func(ctx context.Context) { wait(ctx, settle) })
}

// Which devices speak through paho does not depend on the division either.
func TestSharedFleetSpeaksAlike(t *testing.T) {
	b := newBench(t, 1000)
	b.config.PahoEvery = 3
	all := identities(t, 10)
	for first := range all {
		b.config.Devices, b.config.First = all[first:first+1], first
		if e := b.fleet(t).Ledger()[0]; e.Paho != (first%3 == 0) {
			t.Errorf("device %d alone: paho %v", first, e.Paho)
		}
	}
}

// Add counts every number that Stats has.
func TestStatsAdd(t *testing.T) {
	numbered := func(from int64) (s simulator.Stats) {
		v := reflect.ValueOf(&s).Elem()
		for i := range v.NumField() {
			if f := v.Field(i); f.CanInt() {
				f.SetInt(from + int64(i))
			}
		}
		s.States = map[topics.Word]int{topics.WordFailed: int(from), "": 1}
		s.Puback[3] = from
		return s
	}
	a, b := numbered(100), numbered(7000)
	b.LastError = "gone"
	sum := reflect.ValueOf(a.Add(b))
	for i := range sum.NumField() {
		if f := sum.Field(i); f.CanInt() && f.Int() != 7100+2*int64(i) {
			t.Errorf("%s is %d, want %d", sum.Type().Field(i).Name, f.Int(), 7100+2*i)
		}
	}
	got := a.Add(b)
	if got.States[topics.WordFailed] != 7100 || got.States[""] != 2 || got.Puback[3] != 7100 || got.LastError != "gone" {
		t.Errorf("states %v, latencies %v, error %q", got.States, got.Puback, got.LastError)
	}
	if a.States[topics.WordFailed] != 100 {
		t.Error("Add changed what it added to")
	}
}
