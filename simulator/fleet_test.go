package simulator_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"fleetbridge/simulator"
	"fleetbridge/topics"
)

func TestConfigIsChecked(t *testing.T) {
	good := simulator.Config{Server: "mqtt://127.0.0.1:1883", Devices: identities(t, 2)}
	if _, err := simulator.New(good); err != nil {
		t.Fatalf("a good configuration: %v", err)
	}
	tests := []struct {
		name  string
		spoil func(*simulator.Config)
		want  error
	}{
		{"no devices", func(c *simulator.Config) { c.Devices = nil }, simulator.ErrConfig},
		{"no server", func(c *simulator.Config) { c.Server = "" }, simulator.ErrConfig},
		{"unknown scheme", func(c *simulator.Config) { c.Server = "http://127.0.0.1" }, simulator.ErrConfig},
		{"no host", func(c *simulator.Config) { c.Server = "127.0.0.1:1883" }, simulator.ErrConfig},
		{"small chunks", func(c *simulator.Config) { c.ChunkSize = topics.MinChunk - 1 }, simulator.ErrConfig},
		{"large chunks", func(c *simulator.Config) { c.ChunkSize = topics.MaxChunk + 1 }, simulator.ErrConfig},
		{"large window", func(c *simulator.Config) { c.Window = topics.MaxWindow + 1 }, simulator.ErrConfig},
		{"large fetch", func(c *simulator.Config) { c.Window, c.ChunkSize = 1024, 4097 }, simulator.ErrConfig},
		{"negative rate", func(c *simulator.Config) { c.Timing.SlowRate = -1 }, simulator.ErrConfig},
		{"a device twice", func(c *simulator.Config) { c.Devices = append(c.Devices, c.Devices[0]) }, simulator.ErrConfig},
		{"a nameless device", func(c *simulator.Config) { c.Devices[0] = simulator.Identity{} }, simulator.ErrConfig},
		{"more than all", func(c *simulator.Config) { c.Faults = simulator.Mix{simulator.Late: 60, simulator.Mute: 60} }, simulator.ErrMix},
		{"unknown fault", func(c *simulator.Config) { c.Faults = simulator.Mix{"fire": 1} }, simulator.ErrMix},
	}
	for _, tt := range tests {
		c := good
		c.Devices = slices.Clone(good.Devices)
		tt.spoil(&c)
		if f, err := simulator.New(c); f != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// A fleet that lost its server comes back with growing, jittered waits; no two devices in step.
func TestBackoffGrowsWithJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1000)
		var dials []time.Duration
		start := time.Now()
		b.config.Dial = func(context.Context) (net.Conn, error) {
			dials = append(dials, time.Since(start))
			return nil, errors.New("connection refused")
		}
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, 5*time.Minute) })
		if dials[0] > 500*time.Millisecond {
			t.Errorf("first connect after %v", dials[0])
		}
		for i := 1; i < len(dials); i++ {
			w := dials[i] - dials[i-1]
			most := min(200*time.Millisecond<<min(i-1, 10), 10*time.Second)
			if w < most/2 || w > most {
				t.Errorf("wait %d was %v, want %v to %v", i, w, most/2, most)
			}
		}
		if n := len(dials); n < 30 || n > 70 {
			t.Errorf("%d connects in 5 minutes", n)
		}
		if st := f.Stats(); st.Lost != int64(len(dials)) || st.LastError == "" {
			t.Errorf("stats %+v", st)
		}
	})
}

// A server that lets devices in and then fails to store their hello must not be stormed either.
func TestBackoffGrowsWhileHellosFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1000)
		b.ack = func(c *session, _ string, _ []byte) bool {
			c.conn.Close()
			return false
		}
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, 5*time.Minute) })
		if n := len(b.conns); n < 30 || n > 70 {
			t.Errorf("%d connections in 5 minutes", n)
		}
	})
}

func TestFirstConnectsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1000)
		b.manifest = nil
		b.config.Devices, b.config.Timing.Spread = identities(t, 100), 10*time.Second
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) {
			wait(ctx, 5*time.Second)
			if n := f.Stats().Connected; n < 30 || n > 70 {
				t.Errorf("%d of 100 connected after half of the spread", n)
			}
			<-f.Ready()
			if st := f.Stats(); st.Connected != 100 || st.Ready != 100 {
				t.Errorf("stats %+v", st)
			}
		})
		if n := f.Stats().Connected; n != 0 {
			t.Errorf("%d connected after Run", n)
		}
	})
}

// Devices that never connect don't keep Ready waiting.
func TestReadyWithoutAbsentDevices(t *testing.T) {
	b := newBench(t, 1000)
	b.config.Faults = only(simulator.Absent)
	f := b.fleet(t)
	select {
	case <-f.Ready():
	default:
		t.Error("a fleet of absent devices is not ready")
	}
}

func TestMuteDeviceSaysHelloOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1000)
		b.config.Faults = only(simulator.Mute)
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) {
			<-f.Ready()
			b.conns[0].conn.Close()
			wait(ctx, time.Minute)
		})
		if len(b.hellos) != 1 || len(b.conns) != 2 || len(b.reports) != 0 {
			t.Errorf("%d hellos on %d connections, %d reports", len(b.hellos), len(b.conns), len(b.reports))
		}
	})
}

// The same seed gives every device the same end, whatever the order of things.
func TestSameSeedSameOutcomes(t *testing.T) {
	outcomes := func() (m map[string]topics.Word) {
		m = make(map[string]topics.Word)
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 5_000)
			b.config.Devices, b.config.Seed = identities(t, 200), 7
			b.config.Faults = simulator.Mix{simulator.PowerLoss: 20, simulator.BadFlash: 20, simulator.Rollback: 20, simulator.BadSignature: 20}
			f := b.fleet(t)
			run(t, b.server, f, func(ctx context.Context) { wait(ctx, settle) })
			for _, e := range f.Ledger() {
				m[e.Device.String()] = e.Manifests[0].State
				if want := (map[simulator.Outcome]topics.Word{simulator.Confirmed: topics.WordInstalled, simulator.Failed: topics.WordFailed,
					simulator.Rejected: topics.WordRejected})[e.Fault.Expect()]; e.Manifests[0].State != want {
					t.Errorf("%s with %s ended as %s, want %s", e.Device, e.Fault.Kind, e.Manifests[0].State, want)
				}
			}
			total := 0
			for _, n := range f.Stats().States {
				total += n
			}
			if total != 200 {
				t.Errorf("states %v", f.Stats().States)
			}
		})
		return m
	}
	a, b := outcomes(), outcomes()
	if len(a) != 200 {
		t.Fatalf("%d outcomes", len(a))
	}
	for id, w := range a {
		if b[id] != w {
			t.Errorf("%s ended as %s and %s", id, w, b[id])
		}
	}
}

func TestRunOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1000)
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) {
			<-f.Ready()
			if err := f.Run(ctx); !errors.Is(err, simulator.ErrRunning) {
				t.Errorf("a second Run: %v", err)
			}
		})
	})
}

func TestKeepAliveHoldsAnIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1000)
		b.manifest = nil
		f := b.fleet(t)
		run(t, b.server, f, func(ctx context.Context) { wait(ctx, time.Hour) })
		if st := f.Stats(); st.Connects != 1 || st.Lost != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}
