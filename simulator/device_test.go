package simulator_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// settle is far longer than any of a device's waits in these tests; the bubble's clock jumps over it.
const settle = 2 * time.Minute

// wait lets the bubble's clock go on by d, and what then happens come to rest.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	synctest.Wait()
}

const happy = "received downloading downloading downloading downloaded installing rebooting installed"

func TestDeviceTakesAnUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		if got := b.words(); got != happy {
			t.Errorf("reported %q, want %q", got, happy)
		}
		last := b.last()
		if len(last.Installed) != 1 || last.Installed[0].Digest != ident.SumDigest(b.payload) || last.Installed[0].Sequence != 1000 {
			t.Errorf("the last report proves %+v", last.Installed)
		}
		if len(b.hellos) != 2 || b.hellos[0].Boot != 1 || b.hellos[1].Boot != 2 {
			t.Fatalf("hellos %+v, want one per boot", b.hellos)
		}
		if b.hellos[1].Installed[0].Digest != ident.SumDigest(b.payload) {
			t.Errorf("the hello after the reboot says %v", b.hellos[1].Installed)
		}
		for i, n := range b.chunks {
			if n != 1 {
				t.Errorf("chunk %d was sent %d times", i, n)
			}
		}
		st := f.Stats()
		if st.Chunks != 10 || st.ChunkBytes != 10_000 || st.Acknowledged != 8 || st.Reports != 8 || st.Hellos != 2 || st.Lost != 0 || st.Fetches != 3 {
			t.Errorf("stats %+v", st)
		}
		e := f.Ledger()[0]
		if len(e.Manifests) != 1 || e.Manifests[0].Count != 8 || e.Manifests[0].MaxState != topics.WordInstalled || e.Manifests[0].MaxSeq != last.Seq {
			t.Errorf("ledger %+v", e)
		}
	})
}

// Every kind of fault ends at the device as Expect says it must end at the server.
func TestFaultsEndAsExpected(t *testing.T) {
	want := map[simulator.Kind]string{
		simulator.None:         happy,
		simulator.PowerLoss:    happy,
		simulator.SlowLink:     happy,
		simulator.Duplicate:    happy,
		simulator.BadFlash:     "received downloading downloading downloading failed:flash-error",
		simulator.BadSignature: "received rejected:signature-invalid",
		simulator.Rollback:     "received downloading downloading downloading downloaded installing rebooting failed:rolled-back",
		simulator.Current:      "received installed",
		simulator.Mute:         "",
		simulator.Absent:       "",
		simulator.FlakyLink:    "received downloading downloading failed:download-timeout",
	}
	for _, k := range append(simulator.Kinds, simulator.None) {
		t.Run(string(k), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 10_000)
				b.config.Faults = only(k)
				b.config.Target = topics.Installed{Digest: ident.SumDigest(b.payload), Sequence: 900}
				if k == simulator.FlakyLink { // it gives up after 95 timeouts
					b.config.Timing.ChunkTimeout = time.Second
				}
				f := b.fleet(t)
				run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
				if got, listed := b.words(), want[k]; got != listed && k != simulator.Late {
					t.Errorf("reported %q, want %q", got, listed)
				}
				if e := f.Ledger()[0].Fault.Expect(); outcome(k, b.server) != e {
					t.Errorf("ended as %s, want %s", outcome(k, b.server), e)
				}
			})
		})
	}
}

// outcome is what a server makes of what it got from a device.
func outcome(k simulator.Kind, s *server) simulator.Outcome {
	var newest topics.Report
	for _, r := range s.reports {
		if r.Seq > newest.Seq {
			newest = r
		}
	}
	switch newest.State {
	case topics.WordInstalled:
		if k == simulator.Current { // the hello said so before any offer
			return simulator.Skipped
		}
		return simulator.Confirmed
	case topics.WordFailed:
		return simulator.Failed
	case topics.WordRejected:
		return simulator.Rejected
	}
	return simulator.Silent
}

func TestPowerLossResumesWithoutStoredChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 50_000)
		b.config.Faults = only(simulator.PowerLoss)
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		e := f.Ledger()[0]
		cut := uint32(e.Fault.At*50_000) / 1024 // the chunk that was torn
		for i, n := range b.chunks {
			switch {
			case i < cut && n != 1:
				t.Errorf("stored chunk %d was sent %d times", i, n)
			case i == cut && n != 2:
				t.Errorf("torn chunk %d was sent %d times", i, n)
			}
		}
		if st := f.Stats(); st.PowerLosses != 1 || st.Resumed != 1 || st.ChunksAgain != 0 || !e.Resumed {
			t.Errorf("stats %+v", st)
		}
		if e.Boot != 3 {
			t.Errorf("%d boots, want 3: power on, power loss, install", e.Boot)
		}
	})
}

// At any byte: the device ends up with the right image wherever the power goes.
func TestPowerLossAtAnyByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 5_000
		b := newBench(t, size)
		b.config.Faults, b.config.Devices = only(simulator.PowerLoss), identities(t, 200)
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		chunks := make(map[int]int)
		for _, e := range f.Ledger() {
			chunks[int(e.Fault.At*size)/1024]++
			if e.Installed.Digest != ident.SumDigest(b.payload) || e.Boot != 3 {
				t.Errorf("power lost at byte %d: installed %s after %d boots", int(e.Fault.At*size), e.Installed.Digest, e.Boot)
			}
		}
		if len(chunks) != 5 {
			t.Errorf("power was lost in chunks %v, want all 5", chunks)
		}
	})
}

func TestLostChunksAreFetchedAgainByBitmap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		lost := map[uint32]bool{1: true, 2: true, 5: true, 7: true, 9: true}
		b.chunk = func(_ *session, i uint32) bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			drop := lost[i]
			delete(lost, i)
			return !drop
		}
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		if got := b.words(); got != happy {
			t.Errorf("reported %q, want %q", got, happy)
		}
		for i, n := range b.chunks {
			if n != 1 {
				t.Errorf("chunk %d arrived %d times", i, n)
			}
		}
		first := b.fetches[1]
		if first.First != 1 || first.Count != 4 || len(first.Bitmap) != 1 || first.Bitmap[0] != 0b1011 {
			t.Errorf("after chunks 0 and 3 of the first window: %+v, want 1, 2 and on, without 3", first)
		}
		if n := f.Stats().FetchesAgain; n != 1 {
			t.Errorf("%d timeouts, want one: for chunk 9, which was the last of its window", n)
		}
	})
}

func TestSilentServerEndsTheDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.chunk = func(*session, uint32) bool { return false }
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, time.Hour) })
		if got, want := b.words(), "received downloading failed:download-timeout"; got != want {
			t.Errorf("reported %q, want %q", got, want)
		}
		if len(b.fetches) != 9 {
			t.Errorf("%d fetches, want 9", len(b.fetches))
		}
	})
}

func TestDeviceRejects(t *testing.T) {
	tests := []struct {
		name   string
		spec   func(*firmware.Spec)
		config func(*simulator.Config)
		want   string
	}{
		{name: "wrong vendor", spec: func(s *firmware.Spec) { s.Vendor = firmware.VendorID("example.org") }, want: "wrong-vendor"},
		{name: "wrong class", spec: func(s *firmware.Spec) { s.Class = firmware.ClassID(vendor, "th-3") }, want: "wrong-class"},
		{name: "other component", spec: func(s *firmware.Spec) { s.Component = [][]byte{{1}} }, want: "unsupported-manifest"},
		{name: "downgrade", spec: func(s *firmware.Spec) { s.Sequence = 499 }, want: "version-not-newer"},
		{name: "same sequence number, other payload", spec: func(s *firmware.Spec) { s.Sequence = 500 }, want: "version-not-newer"},
		{name: "payload elsewhere", spec: func(s *firmware.Spec) { s.URI = "https://example.com/fw.bin" }, want: "unsupported-manifest"},
		{name: "no space", config: func(c *simulator.Config) { c.Model.Space = 9_999 }, want: "no-space"},
		{name: "no trust", config: func(c *simulator.Config) { c.Model.Anchors = nil }, want: "signature-invalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 10_000)
				b.config.Image.Sequence = 500
				s := spec(b.payload)
				if tt.spec != nil {
					tt.spec(&s)
				}
				if tt.config != nil {
					tt.config(&b.config)
				}
				b.manifest = b.author.sign(s)
				f := b.fleet(t)
				run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
				if got, want := b.words(), "received rejected:"+tt.want; got != want {
					t.Errorf("reported %q, want %q", got, want)
				}
				if len(b.fetches) != 0 {
					t.Errorf("the device fetched %d times", len(b.fetches))
				}
			})
		})
	}
}

// A manifest that was tampered with after signing is refused: the digest is recomputed.
func TestTamperedManifestIsRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.manifest[len(b.manifest)-1] ^= 1
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		if got, want := b.words(), "received rejected:signature-invalid"; got != want {
			t.Errorf("reported %q, want %q", got, want)
		}
	})
}

func TestGarbageIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		good := b.manifest
		b.manifest = []byte("not an envelope")
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) {
			wait(ctx, 10*time.Second)
			c := b.conns[0]
			for _, topic := range []string{"chunk/x-1/0", "chunk/x/error", "chunk/x", "permit", "receipt", "nonsense"} {
				c.publish(c.base+topic, []byte("\xff\x00garbage"), false)
			}
			c.publish("fleet/v1/acme/device/other/manifest", good, false)
			wait(ctx, 10*time.Second)
			if got := b.words(); got != "" {
				t.Errorf("reported %q on garbage", got)
			}
			c.offer(good)
			wait(ctx, settle)
		})
		if got := b.words(); got != happy {
			t.Errorf("reported %q, want %q", got, happy)
		}
	})
}

func TestWrongPayloadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.server.payload = image(10_001)[1:]
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		if got, want := b.words(), "received downloading downloading downloading failed:digest-mismatch"; got != want {
			t.Errorf("reported %q, want %q", got, want)
		}
		if got := b.last().Installed; len(got) != 1 || got[0].Digest == ident.SumDigest(b.payload) {
			t.Errorf("the failed device holds %v", got)
		}
	})
}

// A chunk under a token of another update, or of nobody, is not stored.
func TestForeignTokenIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.fetch = func(c *session, f topics.Fetch) bool {
			c.publish(fmt.Sprintf("%schunk/other-1/%d", c.base, f.First), image(20_000)[9_000:10_024], false)
			return false
		}
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		if got := b.words(); got != happy || f.Stats().Chunks != 10 {
			t.Errorf("reported %q, stats %+v", got, f.Stats())
		}
	})
}

// The device reboots as soon as its reports are acknowledged, not after its grace.
func TestRebootWaitsForPubacksOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.config.Timing = simulator.Timing{Spread: time.Millisecond, Install: time.Millisecond, Reboot: time.Millisecond}
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, time.Second) })
		if got := b.words(); got != happy {
			t.Errorf("reported %q, want %q", got, happy)
		}
	})
}

// Past the point of no return the device finishes; what the topic says by then is taken after the boot.
func TestInstallIsNotInterrupted(t *testing.T) {
	for _, empty := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 10_000)
			next := spec(b.payload)
			next.Sequence = 2000 // the same payload again: nothing to fetch
			var newer []byte
			if !empty {
				newer = b.author.sign(next)
			}
			b.ack = func(c *session, topic string, body []byte) bool {
				if r, _, err := topics.DecodeReport(body); err == nil && strings.HasSuffix(topic, "/report") && r.State == topics.WordInstalling {
					b.setManifest(newer)
					c.offer(newer)
				}
				return true
			}
			f := b.fleet(t)
			run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
			want := happy
			if !empty {
				want += " received installed"
			}
			if got := b.words(); got != want {
				t.Errorf("reported %q, want %q", got, want)
			}
		})
	}
}

// Chunks of the wrong length are no chunks.
func TestShortChunkIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.fetch = func(c *session, f topics.Fetch) bool {
			if len(b.fetches) == 1 {
				c.publish(c.base+"chunk/"+f.Token.String()+"/0", b.payload[:1000], false)
				return true
			}
			return false
		}
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		if got := b.words(); got != happy {
			t.Errorf("reported %q, want %q", got, happy)
		}
	})
}
