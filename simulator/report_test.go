package simulator_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"fleetbridge/ident"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// A server that can't store a report gives no PUBACK and closes; the device comes back and sends it again.
func TestReportIsSentAgainUntilPuback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		refuse := 3
		b.ack = func(c *session, topic string, _ []byte) bool {
			if refuse == 0 || !strings.HasSuffix(topic, "/report") {
				return true
			}
			refuse--
			c.conn.Close()
			return false
		}
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		if got := b.words(); got != happy {
			t.Errorf("reported %q, want %q", got, happy)
		}
		if st := f.Stats(); st.Lost != 3 || st.Resent == 0 || st.Acknowledged != 8 || st.LastError == "" {
			t.Errorf("stats %+v", st)
		}
	})
}

// A PUBACK that never comes ends the connection: MQTT resends on the next one only.
func TestMissingPubackEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.ack = func(c *session, topic string, _ []byte) bool {
			return c.n > 0 || !strings.HasSuffix(topic, "/report")
		}
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		// Unacknowledged reports don't keep the device from installing; it reboots after its grace.
		if got := f.Ledger()[0].Installed.Digest; got != ident.SumDigest(b.payload) {
			t.Errorf("installed %s", got)
		}
		if got := b.last().State; got != topics.WordInstalled {
			t.Errorf("the last report says %s", got)
		}
	})
}

func TestHelloWithoutPubackEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.manifest = nil
		b.ack = func(c *session, _ string, _ []byte) bool { return c.n > 0 }
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) {
			start := time.Now()
			<-f.Ready()
			if w := time.Since(start); w < 20*time.Second || w > 25*time.Second {
				t.Errorf("ready after %v, want the PUBACK timeout of 20 s and a bit", w)
			}
		})
		if e := f.Ledger()[0]; e.Helloed != 2 {
			t.Errorf("hello %d was acknowledged, want 2", e.Helloed)
		}
	})
}

// What was reported but not acknowledged survives a loss of power: here the whole fleet's, between two runs.
func TestOutboxSurvivesPowerLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		var deaf atomic.Bool
		deaf.Store(true)
		b.ack = func(_ *session, topic string, _ []byte) bool {
			return !deaf.Load() || !strings.HasSuffix(topic, "/report")
		}
		b.fetch = func(*session, topics.Fetch) bool { return true }
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, 10*time.Second) })
		if st := f.Stats(); st.Acknowledged != 0 || st.Reports != 2 || b.words() != "" {
			t.Fatalf("before the power loss: %+v", st)
		}
		b.setManifest(nil)
		deaf.Store(false)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, time.Second) })
		if got, want := b.words(), "received downloading"; got != want {
			t.Errorf("after the power loss it sent %q, want %q", got, want)
		}
	})
}

// A device acknowledged as being somewhere is never acknowledged less later, and every PUBACK is of a report that the
// server got: what a crash test of a real server relies on.
func TestLedgerHoldsOnlyWhatTheServerHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.config.Devices = identities(t, 100)
		b.config.Faults = simulator.Mix{simulator.Late: 30, simulator.Duplicate: 30, simulator.PowerLoss: 30}
		var n atomic.Int64
		b.ack = func(c *session, _ string, _ []byte) bool {
			if n.Add(1)%17 == 0 {
				c.conn.Close()
				return false
			}
			return true
		}
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		got := make(map[uint64]int)
		for _, r := range b.reports {
			got[r.Seq]++
		}
		acked := int64(0)
		for _, e := range f.Ledger() {
			for _, a := range e.Manifests {
				acked += int64(a.Count)
				if got[a.MaxSeq] == 0 {
					t.Errorf("%s: report %d was acknowledged and never taken", e.Device, a.MaxSeq)
				}
				if a.MaxState != topics.WordInstalled || a.Count > a.Made {
					t.Errorf("%s: %+v", e.Device, a)
				}
			}
		}
		if st := f.Stats(); st.Acknowledged != acked || acked > int64(len(b.reports)) || st.Lost == 0 {
			t.Errorf("%d acknowledged in the ledger, %d at the server, stats %+v", acked, len(b.reports), st)
		}
	})
}

func TestDuplicateReportsAreTheSameBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.config.Faults = only(simulator.Duplicate)
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		if len(b.reports) != 16 || f.Stats().Acknowledged != 8 {
			t.Errorf("%d reports, %d acknowledged, want 16 and 8", len(b.reports), f.Stats().Acknowledged)
		}
	})
}

func TestLateReportsComeOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.config.Faults, b.config.Devices = only(simulator.Late), identities(t, 1)
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		disorder, newest := false, topics.Report{}
		for _, r := range b.reports {
			disorder = disorder || r.Seq < newest.Seq
			if r.Seq > newest.Seq {
				newest = r
			}
		}
		if !disorder || newest.State != topics.WordInstalled || len(b.reports) != 8 {
			t.Errorf("order %q", b.words())
		}
	})
}

// With an external broker a PUBACK proves nothing: a report stays until its receipt.
func TestReceiptsEndReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.config.Receipts = true
		asked, swallow := 0, true
		b.ack = func(c *session, topic string, body []byte) bool {
			r, _, err := topics.DecodeReport(body)
			if err != nil || !strings.HasSuffix(topic, "/report") {
				return true
			}
			if asked++; r.State == topics.WordInstalled && swallow {
				swallow = false
				return true
			}
			body, err = topics.Encode(topics.Receipt{Seq: r.Seq, Verdict: topics.VerdictRecorded}, topics.CBOR)
			b.must(err)
			c.publish(c.base+"receipt", body, false)
			return r.Receipt
		}
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		if asked != 9 || f.Stats().Acknowledged != 8 || f.Stats().Lost != 0 {
			t.Errorf("%d reports, stats %+v, want the last one twice", asked, f.Stats())
		}
	})
}

func TestReofferIsAnsweredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.fetch = func(*session, topics.Fetch) bool { return true } // it stays in downloading
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) {
			wait(ctx, 2*time.Second)
			b.conns[0].offer(b.manifest)
			wait(ctx, time.Second)
		})
		if got, want := b.words(), "received downloading downloading"; got != want {
			t.Errorf("reported %q, want %q", got, want)
		}
	})
}

// A final report that the server lost is given again when the manifest is still there; nothing is done twice.
func TestFinishedManifestIsAnsweredNotDoneAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.config.Faults = only(simulator.BadFlash)
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) {
			wait(ctx, settle)
			b.conns[0].offer(b.manifest)
			wait(ctx, time.Second)
			if got, want := b.words(), "received downloading downloading downloading failed:flash-error failed:flash-error"; got != want {
				t.Errorf("reported %q, want %q", got, want)
			}
			b.conns[0].offer(nil) // taken back; what comes now is a new offer
			b.conns[0].offer(b.manifest)
			wait(ctx, settle)
		})
		if got := b.words(); strings.Count(got, "received") != 2 {
			t.Errorf("reported %q, want a second try", got)
		}
	})
}

func TestWithdrawStopsTheDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.fetch = func(c *session, f topics.Fetch) bool {
			if f.First > 0 {
				c.offer(nil)
				return true
			}
			return false
		}
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		if len(b.fetches) != 2 || b.last().State != topics.WordDownloading {
			t.Errorf("%d fetches, reported %q", len(b.fetches), b.words())
		}
	})
}

func TestNewerManifestReplacesTheOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		next := image(20_000)[5_000:]
		s := spec(next)
		s.Sequence = 2000
		newer := b.author.sign(s)
		replaced := false
		b.fetch = func(c *session, f topics.Fetch) bool {
			if f.First > 0 && !replaced {
				replaced = true
				b.server.payload = next
				c.offer(newer)
				return true
			}
			return false
		}
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		e := f.Ledger()[0]
		if e.Installed.Digest != ident.SumDigest(next) || e.Installed.Sequence != 2000 || len(e.Manifests) != 2 {
			t.Errorf("ledger %+v", e)
		}
	})
}

func TestRefusedFetch(t *testing.T) {
	tests := []struct{ problem, want string }{
		{topics.ProblemFetchNotAssigned, "received downloading"}, // the offer is gone: nothing to add
		{topics.ProblemChunkTooLarge, "received downloading failed:install-error"},
		{topics.ProblemStoreUnavailable, happy}, // asked again later
	}
	for _, tt := range tests {
		t.Run(tt.problem, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 10_000)
				b.fetch = func(c *session, f topics.Fetch) bool {
					if len(b.fetches) > 1 {
						return false
					}
					body, err := topics.Encode(topics.NewProblem(tt.problem, "no"), topics.JSON)
					b.must(err)
					c.publish(c.base+"chunk/"+f.Token.String()+"/error", body, false)
					return true
				}
				f := b.fleet(t)
				run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
				if got := b.words(); got != tt.want {
					t.Errorf("reported %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// No PUBACK at all, for a device that has no other reason to reconnect.
func TestReportWithoutPubackEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 10_000)
		b.fetch = func(*session, topics.Fetch) bool { return true }
		b.config.Timing.ChunkTimeout = time.Hour
		b.ack = func(c *session, topic string, _ []byte) bool { return c.n > 0 || !strings.HasSuffix(topic, "/report") }
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) {
			wait(ctx, 19*time.Second)
			if len(b.conns) != 1 || b.words() != "" {
				t.Errorf("%d connections before the timeout of 20 s", len(b.conns))
			}
			wait(ctx, 5*time.Second)
		})
		if got, want := b.words(), "received downloading"; got != want || len(b.conns) != 2 {
			t.Errorf("reported %q on connection %d, want %q on the second", got, len(b.conns), want)
		}
	})
}

// A connection lost in the middle of a download is not a loss of power: stored chunks count, no boot happens.
func TestLostConnectionResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 50_000)
		b.config.Timing.ChunkTimeout = time.Hour // it goes on because the manifest is there, not by a timeout
		b.chunk = func(c *session, i uint32) bool {
			if c.n == 0 && i == 21 {
				c.conn.Close()
				return false
			}
			return true
		}
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		if got := b.words(); got != happy {
			t.Errorf("reported %q, want %q", got, happy)
		}
		if e := f.Ledger()[0]; e.Boot != 2 || !e.Resumed {
			t.Errorf("ledger %+v", e)
		}
		for i := range uint32(16) {
			if b.chunks[i] != 1 {
				t.Errorf("stored chunk %d was sent %d times", i, b.chunks[i])
			}
		}
	})
}

// Without the retained manifest (the network lost it) the device goes on by itself.
func TestDownloadGoesOnWithoutTheManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 50_000)
		b.chunk = func(c *session, i uint32) bool {
			if c.n == 0 && i == 21 {
				b.setManifest(nil)
				c.conn.Close()
				return false
			}
			return true
		}
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
		if got := b.words(); got != happy {
			t.Errorf("reported %q, want %q", got, happy)
		}
	})
}

func TestSlowLinkTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 100_000)
		b.config.Faults = only(simulator.SlowLink)
		b.config.Timing.SlowRate = 10_000
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) {
			wait(ctx, 8*time.Second)
			if got := b.last().State; got != topics.WordDownloading {
				t.Errorf("after 8 s of 10 s: %s", got)
			}
			wait(ctx, settle)
		})
		if got := b.words(); got != happy || f.Stats().FetchesAgain != 0 {
			t.Errorf("reported %q, stats %+v", got, f.Stats())
		}
	})
}
