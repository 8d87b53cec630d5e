package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/load"
	"fleetbridge/internal/bench/peer"
)

// chunkCase is one form of fetching, and the peers that it is compared with.
type chunkCase struct {
	name          string
	chunk, window int
	tls           bool
	goals         []chunkGoal
}

// chunkGoal is what our CPU per byte may be of a peer's, at most.
type chunkGoal struct {
	peer string
	most float64
}

// The peers of `bench chunks`.
const (
	floorPeer     = "floor"     // a bare socket server in Go
	nginxPeer     = "nginx"     // Range requests of one chunk each
	mosquittoPeer = "mosquitto" // with a responder
)

var chunkCases = []chunkCase{
	{"16KiB-w1", 16 << 10, 1, false, []chunkGoal{{floorPeer, 1.2}, {nginxPeer, 1.1}}},
	{"4KiB-w8", 4 << 10, 8, false, []chunkGoal{{nginxPeer, 0.7}, {mosquittoPeer, 0.3}}},
	{"16KiB-w8", 16 << 10, 8, false, []chunkGoal{{floorPeer, 1.3}, {nginxPeer, 0.8}, {mosquittoPeer, 0.3}}},
	{"64KiB-w8", 64 << 10, 8, false, []chunkGoal{{nginxPeer, 0.95}, {mosquittoPeer, 0.2}}},
	{"tls-16KiB-w8", 16 << 10, 8, true, []chunkGoal{{nginxPeer, 0.7}}},
}

// chunkResult compares us with one peer in one case. CPU is that of the serving processes alone; a GB is 10^9 bytes of payload.
type chunkResult struct {
	Bench    string  `json:"bench"`
	Case     string  `json:"case"`
	Ours     float64 `json:"ours_cpu_s_per_gb"`
	OursMin  float64 `json:"ours_cpu_s_per_gb_min"`
	OursMax  float64 `json:"ours_cpu_s_per_gb_max"`
	Peer     string  `json:"peer"`
	Theirs   float64 `json:"peer_cpu_s_per_gb"`
	PeerMin  float64 `json:"peer_cpu_s_per_gb_min"`
	PeerMax  float64 `json:"peer_cpu_s_per_gb_max"`
	Ratio    float64 `json:"ratio"` // of the medians
	RatioMin float64 `json:"ratio_min"`
	RatioMax float64 `json:"ratio_max"`
	Goal     float64 `json:"goal"` // the most that ratio may be
	Met      bool    `json:"met"`
	Devices  int     `json:"devices"`
	Runs     int     `json:"runs"`

	OursRate    float64 `json:"ours_gb_per_s"`
	PeerRate    float64 `json:"peer_gb_per_s"`
	OursP99     float64 `json:"ours_p99_ms"` // of a request, all its chunks
	PeerP99     float64 `json:"peer_p99_ms"`
	OursLoad    float64 `json:"ours_load_cpu_s_per_gb"` // the CPU of the devices' process
	PeerLoad    float64 `json:"peer_load_cpu_s_per_gb"`
	OursRSS     int64   `json:"ours_rss_bytes"` // at the end of a run
	PeerRSS     int64   `json:"peer_rss_bytes"`
	OursPeak    int64   `json:"ours_peak_bytes"` // the most so far, since the process began
	PeerPeak    int64   `json:"peer_peak_bytes"`
	OursStarved int     `json:"ours_starved"` // devices that completed no request in a run, at worst
	PeerStarved int     `json:"peer_starved"`
	Others      float64 `json:"others_cores"` // that processes which are no part of the bench took, at worst
}

var chunkSheet = bench.Sheet{Bench: "chunks", Columns: []bench.Column{
	bench.Text("case", "case"), bench.Text("peer", "peer"),
	bench.Figure("ours, CPU s/GB", "ours_cpu_s_per_gb"), bench.Figure("peer, CPU s/GB", "peer_cpu_s_per_gb"),
	bench.Figure("ratio", "ratio"), bench.Verdict("goal: at most", "goal"),
	bench.Figure("ours, GB/s", "ours_gb_per_s"), bench.Figure("peer, GB/s", "peer_gb_per_s"),
	bench.Figure("ours, p99 ms", "ours_p99_ms"), bench.Figure("peer, p99 ms", "peer_p99_ms"), bench.Figure("others, cores", "others_cores"),
}}

func benchChunks(a *app) *cobra.Command {
	var names []string
	for _, c := range chunkCases {
		names = append(names, c.name)
	}
	o := benchFlags{devices: 1000, runs: 3, duration: 2 * time.Second, warmup: 500 * time.Millisecond, cases: names}
	size := "16MiB"
	c := &cobra.Command{Use: "chunks", Args: cobra.NoArgs,
		Short: "Serve a payload in chunks: server CPU per GB beside a bare socket server, nginx and mosquitto",
		Long: "bench chunks lets devices fetch a payload without end: each asks for a window of chunks, waits for all of it, and\n" +
			"asks for the next. Server, devices and peers are processes of their own, which take turns. HTTP has no window, so\n" +
			"nginx gets a Range request for each chunk. mosquitto's CPU is with that of the client that answers for it."}
	o.add(c.Flags())
	c.Flags().StringVar(&size, "payload-size", size, "size of the payload, a multiple of every window")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		n, err := parseSize(size)
		if err != nil {
			return err
		}
		for _, c := range chunkCases {
			if o.wants(c.name) && (n == 0 || n%int64(c.chunk*c.window) != 0) {
				return usagef("--payload-size %s: not a multiple of %d × %s, which %s fetches", size, c.window, bytesText(int64(c.chunk)), c.name)
			}
		}
		if err := o.check(names); err != nil {
			return err
		}
		return a.runBench(cmd.Context(), chunkSheet, func(ctx context.Context, out *benchOutput) error {
			for _, secure := range []bool{false, true} {
				if err := a.chunkCases(ctx, o, n, secure, out); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return c
}

// chunkCases measures the cases with TLS, or those without.
func (a *app) chunkCases(ctx context.Context, o benchFlags, size int64, secure bool, out *benchOutput) error {
	var cases []chunkCase
	for _, c := range chunkCases {
		if c.tls == secure && o.wants(c.name) {
			cases = append(cases, c)
		}
	}
	if len(cases) == 0 {
		return nil
	}
	return withBench(func(b *bench.Bench, exe string) error {
		arena, err := openChunkArena(ctx, b, exe, o, size, secure)
		if err != nil {
			return err
		}
		defer arena.ours.cl.Close()
		for _, c := range cases {
			a.say("▸ chunks     %s: %d devices, %d runs of %v", c.name, o.devices, o.runs, o.duration)
			if err := arena.measure(ctx, c, out); err != nil {
				return err
			}
		}
		return nil
	})
}

// chunkArena is our server and its peers, all waiting.
type chunkArena struct {
	b     *bench.Bench
	o     benchFlags
	ours  *benchServer
	fleet *benchFleet
	ca    string
	sides map[string]chunkSide // by peer, and oursSide
}

// chunkSide is one server, or several that serve together, and how it is asked.
type chunkSide struct {
	protocol load.Protocol
	addr     string
	procs    []*bench.Proc
}

// oursSide is our own server among the sides of a case.
const oursSide = "ours"

func openChunkArena(ctx context.Context, b *bench.Bench, exe string, o benchFlags, size int64, secure bool) (*chunkArena, error) {
	r := &chunkArena{b: b, o: o, sides: map[string]chunkSide{}}
	so := benchServerOptions{profile: o.profile}
	if secure {
		var err error
		if so.cert, so.key, err = bench.Certify(b.Dir); err != nil {
			return nil, err
		}
		r.ca = so.cert
		if so.profile != "" {
			so.profile += "-tls" // the other server's profiles count from 1 too
		}
	}
	var err error
	if r.ours, err = startBenchServer(ctx, b, exe, so); err != nil {
		return nil, err
	}
	if r.fleet, err = r.ours.fleet(ctx, b, o.devices, size); err != nil {
		return nil, err
	}
	if err := r.fleet.offer(ctx); err != nil {
		return nil, err
	}
	r.sides[oursSide] = chunkSide{load.Ours, r.ours.addr, []*bench.Proc{r.ours.Proc}}
	return r, r.openPeers(ctx, so)
}

// openPeers starts the peers that are installed.
func (r *chunkArena) openPeers(ctx context.Context, so benchServerOptions) error {
	web := peer.Web{Root: filepath.Dir(r.fleet.payload), Cert: so.cert, Key: so.key, Cipher: "TLS_AES_128_GCM_SHA256"}
	nginx, addr, err := peer.Nginx(ctx, r.b, web)
	switch {
	case err == nil:
		r.sides[nginxPeer] = chunkSide{load.Range, addr, []*bench.Proc{nginx}}
	case !errors.Is(err, peer.ErrMissing):
		return err
	}
	if r.ca != "" {
		return nil
	}
	var at peer.Listening
	floor, err := r.b.Role(ctx, "floor", peer.FloorParams{Payload: r.fleet.payload}, &at, time.Minute)
	if err != nil {
		return err
	}
	r.sides[floorPeer] = chunkSide{load.Raw, at.Addr, []*bench.Proc{floor}}
	broker, addr, err := peer.Mosquitto(ctx, r.b)
	if errors.Is(err, peer.ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	responder, err := r.b.Role(ctx, "responder", peer.ResponderParams{Addr: addr, Tenant: benchTenant, Payload: r.fleet.payload}, nil, time.Minute)
	r.sides[mosquittoPeer] = chunkSide{load.Broker, addr, []*bench.Proc{broker, responder}}
	return err
}

// measure takes the rounds of one case, and puts out a result for each peer.
func (r *chunkArena) measure(ctx context.Context, c chunkCase, out *benchOutput) error {
	var contenders []bench.Contender
	names := []string{oursSide}
	for _, g := range c.goals {
		if _, ok := r.sides[g.peer]; ok {
			names = append(names, g.peer)
		} else if err := out.put(bench.Missing("chunks", c.name, g.peer)); err != nil {
			return err
		}
	}
	var ciphers []string
	for _, name := range names {
		contenders = append(contenders, bench.Contender{Name: name, Run: func(ctx context.Context) (bench.Sample, error) {
			s, cipher, err := r.run(ctx, c, r.sides[name])
			if !slices.Contains(ciphers, cipher) {
				ciphers = append(ciphers, cipher)
			}
			return s, err
		}})
	}
	samples, err := bench.Rounds(ctx, r.o.runs, r.o.noisy, contenders...)
	if errors.Is(err, bench.ErrNoisy) {
		return out.put(bench.Refused("chunks", c.name, err))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	if len(ciphers) > 1 {
		return fmt.Errorf("%s: encrypted in different ways: %q", c.name, ciphers)
	}
	for _, g := range c.goals {
		if theirs, ok := samples[g.peer]; ok {
			if err := out.put(r.result(c, g, samples[oursSide], theirs)); err != nil {
				return err
			}
		}
	}
	return nil
}

// run connects the devices to one side and measures an interval.
func (r *chunkArena) run(ctx context.Context, c chunkCase, side chunkSide) (bench.Sample, string, error) {
	p := load.ChunkParams{Target: load.Target{Addr: side.addr, CA: r.ca}, Protocol: side.protocol, Tenant: benchTenant, Devices: r.fleet.ids,
		Payload: r.fleet.payload, Path: "/" + filepath.Base(r.fleet.payload), Digest: r.fleet.manifest.Payload, Chunk: c.chunk, Window: c.window}
	i := bench.Interval{Warmup: r.o.warmup, For: r.o.duration}
	if side.protocol == load.Ours {
		p.Manifest = r.fleet.manifest.Digest
		i.Around = r.ours.around()
	}
	var ready load.ChunksReady
	devices, err := r.b.Role(ctx, "chunk-load", p, &ready, 2*time.Minute)
	if err != nil {
		return bench.Sample{}, "", err
	}
	defer devices.Stop()
	s, err := r.b.Measure(ctx, i, devices, side.procs...)
	return s, ready.Cipher, err
}

// result compares the samples of both sides.
func (r *chunkArena) result(c chunkCase, g chunkGoal, ours, theirs []bench.Sample) chunkResult {
	serving := func(s bench.Sample) float64 { return s.Server.CPU.Seconds() / (float64(s.Bytes) / 1e9) }
	loading := func(s bench.Sample) float64 { return s.Load.CPU.Seconds() / (float64(s.Bytes) / 1e9) }
	rate := func(s bench.Sample) float64 { return float64(s.Bytes) / 1e9 / s.Seconds }
	p99 := func(s bench.Sample) float64 { return s.P99 }
	rss := func(s bench.Sample) float64 { return float64(s.Server.RSS) }
	peak := func(s bench.Sample) float64 { return float64(s.Server.Peak) }
	starved := func(s bench.Sample) float64 { return float64(s.Starved) }
	others := func(s bench.Sample) float64 { return s.Others }
	mine, peers, ratios := bench.Over(ours, serving), bench.Over(theirs, serving), bench.Ratios(ours, theirs, serving)
	ratio := mine.Median / peers.Median
	median := func(s []bench.Sample, f func(bench.Sample) float64) float64 {
		return bench.Round(bench.Over(s, f).Median)
	}
	return chunkResult{Bench: "chunks", Case: c.name, Peer: g.peer, Goal: g.most, Met: ratio <= g.most, Devices: r.o.devices, Runs: r.o.runs,
		Ours: bench.Round(mine.Median), OursMin: bench.Round(mine.Min), OursMax: bench.Round(mine.Max),
		Theirs: bench.Round(peers.Median), PeerMin: bench.Round(peers.Min), PeerMax: bench.Round(peers.Max),
		Ratio: bench.Round(ratio), RatioMin: bench.Round(ratios.Min), RatioMax: bench.Round(ratios.Max),
		OursRate: median(ours, rate), PeerRate: median(theirs, rate), OursP99: median(ours, p99), PeerP99: median(theirs, p99),
		OursLoad: median(ours, loading), PeerLoad: median(theirs, loading),
		OursPeak: int64(bench.Over(ours, peak).Max), PeerPeak: int64(bench.Over(theirs, peak).Max),
		OursRSS: int64(bench.Over(ours, rss).Median), PeerRSS: int64(bench.Over(theirs, rss).Median),
		OursStarved: int(bench.Over(ours, starved).Max), PeerStarved: int(bench.Over(theirs, starved).Max),
		Others: bench.Round(max(bench.Over(ours, others).Max, bench.Over(theirs, others).Max))}
}
