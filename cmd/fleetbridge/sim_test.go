package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// TestSimRunDivided runs one fleet in one process and in three: the same devices come out the same.
func TestSimRunDivided(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("several processes are for Linux only")
	}
	run := func(args ...string) map[string]any {
		cmd := exec.CommandContext(t.Context(), builtBinary(t), append([]string{"sim", "run", "--local", "--devices", "30", "--payload-size", "8KiB",
			"--faults", "power=20,rollback=10,current=20", "--chunk-size", "1KiB", "--window", "3", "--paho", "7", "-o", "json", "--quiet"}, args...)...)
		tmp := t.TempDir()
		cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
		var problems strings.Builder
		cmd.Stderr = &problems
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, problems.String())
		}
		var got map[string]any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		return got
	}
	whole, divided := run(), run("--processes", "3")
	for _, name := range []string{"devices", "confirmed", "failed", "skipped", "silent", "outcome"} {
		if whole[name] != divided[name] {
			t.Errorf("%s: %v in one process, %v in three", name, whole[name], divided[name])
		}
	}
	if whole["devices"] != 30.0 || divided["processes"] != 3.0 {
		t.Errorf("%v devices, %v processes", whole["devices"], divided["processes"])
	}
	for _, r := range []map[string]any{whole, divided} {
		client, _ := r["client"].(map[string]any)
		if peak, _ := client["peak_bytes"].(float64); peak <= 0 || r["server"] != nil {
			t.Errorf("client %v, server %v", client, r["server"])
		}
		if acked, recorded := r["reports_acknowledged"].(float64), r["reports_recorded"].(float64); acked > recorded || acked == 0 {
			t.Errorf("%v reports acknowledged, %v recorded", acked, recorded)
		}
	}
}

// A fleet for which there are too few open files is refused with the number of processes that would do.
func TestSimFits(t *testing.T) {
	tests := []struct {
		devices, processes, files int
		local                     bool
		want                      string // "": it fits
	}{
		{19744, 1, 20000, false, ""},
		{19745, 1, 20000, false, "--processes 2"},
		{50000, 2, 20000, false, "--processes 3"},
		{50000, 3, 20000, false, ""},
		{100, 1, 200, false, "ulimit"},
		{9488, 1, 20000, true, ""},
		{9489, 1, 20000, true, "a server apart"},
		{18976, 2, 20000, true, ""},
		{18977, 2, 20000, true, "a server apart"},
	}
	for _, tt := range tests {
		m := simFlags{devices: tt.devices, processes: tt.processes, local: tt.local}
		err := m.fitsIn(tt.files)
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || exitCode(err) != exitUsage) {
			t.Errorf("%d devices in %d processes of %d files, local %v: %v, want %q", tt.devices, tt.processes, tt.files, tt.local, err, tt.want)
		}
	}
	for _, processes := range []int{0, -1, 11} {
		if err := (simFlags{devices: 10, processes: processes}).fits(); exitCode(err) != exitUsage {
			t.Errorf("10 devices in %d processes: %v", processes, err)
		}
	}
	keys := simFlags{devices: 10, processes: 2, flash: flashFlags{keys: []string{"key.pem"}}}
	if err := keys.fits(); exitCode(err) != exitUsage || !strings.Contains(err.Error(), "--device-key") {
		t.Errorf("keys in two processes: %v", err)
	}
}

// The parts of a fleet have each device once, and say how many come before.
func TestFleetShareDivides(t *testing.T) {
	var s fleetShare
	for i := range 10 {
		d, err := ident.ParseDevice(fmt.Sprintf("d-%d", i))
		if err != nil {
			t.Fatal(err)
		}
		s.Config.Devices = append(s.Config.Devices, simulator.Identity{Device: d})
	}
	for n := 1; n <= 10; n++ {
		next := 0
		for _, part := range s.divide(n) {
			if len(part.Config.Devices) < 10/n || len(part.Config.Devices) > 10/n+1 || part.Config.First != next {
				t.Errorf("%d parts: %d devices from %d on, %d were before", n, len(part.Config.Devices), part.Config.First, next)
			}
			for _, d := range part.Config.Devices {
				if d.Device != s.Config.Devices[next].Device {
					t.Errorf("%d parts: %s is at %d", n, d.Device, next)
				}
				next++
			}
		}
		if next != 10 {
			t.Errorf("%d parts have %d devices", n, next)
		}
	}
}

// A process gets all that its part of the fleet needs.
func TestFleetShareCrossesThePipe(t *testing.T) {
	key, err := cose.GeneratePrivateKey(cose.P256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	author, err := ident.ParseKey("author")
	if err != nil {
		t.Fatal(err)
	}
	device, err := ident.ParseDevice("d")
	if err != nil {
		t.Fatal(err)
	}
	anchor, err := firmware.NewAnchor(author, key.Public(), cose.ESP256, time.Unix(1, 0).UTC())
	if err != nil {
		t.Fatal(err)
	}
	vendor := firmware.VendorID("example.com")
	s := fleetShare{CA: "/ca.pem", Config: simulator.Config{
		Server:  "mqtt://127.0.0.1:1",
		Devices: []simulator.Identity{{Tenant: ident.MustTenant("acme"), Device: device, User: "u", Token: "t", Labels: map[string]string{"a": "b"}}},
		First:   7, Seed: 1 << 63, Faults: simulator.DefaultMix(), ChunkSize: 1, Window: 2, Progress: 3, PahoEvery: 4, Receipts: true, Permits: true,
		Image: topics.Installed{Component: "00", Digest: ident.SumDigest(nil), Sequence: 1, Version: "1"}, Images: [][]byte{{1}},
		Target: topics.Installed{Component: "00", Digest: ident.SumDigest([]byte{1}), Sequence: 2, Version: "2"},
		Model: simulator.Model{Vendor: vendor, Class: firmware.ClassID(vendor, "m"), Component: "00",
			Anchors: []firmware.Anchor{anchor}, Terse: true, Space: 9},
		Timing: simulator.Timing{Spread: 1, SlowRate: 5},
	}}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var got fleetShare
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s, got, cmpopts.EquateComparable(ident.Device{}, ident.Tenant{}, ident.Key{})); d != "" {
		t.Errorf("what arrives is not what was sent:\n%s", d)
	}
	got.Config.Image = topics.Installed{} // none is as good: the simulator has a default
	if b, err = json.Marshal(got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &got); err != nil || !got.Config.Image.Digest.IsZero() {
		t.Errorf("without an image: %v, %v", got.Config.Image, err)
	}
}
