package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/topics"
)

// benchResult is what `bench campaign` measured. Durations are in seconds.
type benchResult struct {
	Devices      int     `json:"devices"`
	CPUs         int     `json:"cpus"`
	Fill         float64 `json:"fill_seconds"`
	Plan         float64 `json:"plan_seconds"`
	Start        float64 `json:"start_seconds"` // from the command until every device has its place
	Canary       float64 `json:"canary_percent"`
	Offers       uint64  `json:"offers"` // until all were made, or within the time that was watched
	OffersFor    float64 `json:"offers_seconds"`
	StatusCalls  int     `json:"status_calls"` // while it started and ran
	StatusMedian float64 `json:"status_median_seconds"`
	StatusP99    float64 `json:"status_p99_seconds"`
	StatusMax    float64 `json:"status_max_seconds"`
	PeakRSS      int64   `json:"peak_rss_bytes"` // of the whole process; 0: not known here
	Disk         int64   `json:"disk_bytes"`
}

func benchCampaign(a *app) *cobra.Command {
	var devices int
	var canary float64
	var watch time.Duration
	c := &cobra.Command{Use: "campaign", Args: cobra.NoArgs,
		Short: "Plan and start a campaign for a large registry, on a server of its own",
		Long: "bench campaign starts a server with fresh data in a temporary folder and free ports, fills its registry, and measures\n" +
			"by the public commands: the plan, the start until every device has its place, and how long campaign/get takes\n" +
			"meanwhile and while offers go out. No device connects. Nothing is left behind."}
	c.Flags().IntVar(&devices, "devices", 1_000_000, "devices in the registry")
	c.Flags().Float64Var(&canary, "canary", 1, "percent of the devices in the first wave, which is the only one that is offered; 100: all of them are")
	c.Flags().DurationVar(&watch, "watch", 10*time.Second, "how long to watch it run")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if devices < 1 {
			return usagef("--devices must be at least 1")
		}
		ctx, cancel := a.untilInterrupted(cmd.Context())
		defer cancel()
		r, err := a.bench(ctx, benchResult{Devices: devices, Canary: canary}, watch)
		if err != nil {
			return orInterrupted(ctx, err)
		}
		return a.printBench(r)
	}
	return c
}

// bench runs a server, and measures it beside.
func (a *app) bench(ctx context.Context, r benchResult, watch time.Duration) (_ benchResult, err error) {
	r.CPUs = runtime.GOMAXPROCS(0) // before the server spreads them
	parent, err := os.MkdirTemp("", "fleetbridge-bench-")
	if err != nil {
		return r, fmt.Errorf("make folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(parent)) }()
	srv, op, err := openDemo(ctx, filepath.Join(parent, "fleetbridge"))
	if err != nil {
		return r, err
	}
	op.Timeout = 5 * time.Minute
	g, gctx := errgroup.WithContext(ctx)
	gctx, stop := context.WithCancel(gctx)
	defer stop()
	g.Go(func() error { return srv.run(gctx) })
	g.Go(func() error {
		defer stop()
		if err := a.measure(gctx, srv, op, watch, &r); err != nil {
			return err
		}
		r.PeakRSS = peakRSS()
		r.Disk, err = diskUse(parent)
		return err
	})
	return r, g.Wait()
}

func (a *app) measure(ctx context.Context, srv *server, op client.Context, watch time.Duration, r *benchResult) error {
	cl, err := client.Dial(ctx, op)
	if err != nil {
		return err
	}
	defer cl.Close()
	s := &fleetSetup{cl: cl, name: "bench", seed: 1, size: 64 << 10}
	if err := s.publish(ctx); err != nil {
		return err
	}
	a.say("▸ fill       %d devices", r.Devices)
	began := time.Now()
	if err := s.fill(ctx, srv.store, r.Devices); err != nil {
		return err
	}
	r.Fill = time.Since(began).Seconds()
	id, err := ident.ParseCampaign("bench")
	if err != nil {
		return err
	}
	req := topics.CampaignCreate{Campaign: id, Manifest: s.manifest.Digest, Policy: topics.Policy{
		Waves: []topics.Wave{{Percent: r.Canary}, {Percent: 100}}, Stratify: "site"}}
	if r.Canary == 100 {
		req.Policy.Waves = req.Policy.Waves[1:]
	}
	if err := cl.Do(ctx, "campaign", "create", req, nil); err != nil {
		return err
	}
	a.say("▸ plan")
	began = time.Now()
	var plan topics.PlanView
	if err := cl.Do(ctx, "campaign", "plan", topics.CampaignPlan{Campaign: id}, &plan); err != nil {
		return err
	}
	r.Plan = time.Since(began).Seconds()
	if plan.Devices != r.Devices {
		return fmt.Errorf("the plan has %d devices of %d", plan.Devices, r.Devices)
	}
	a.say("▸ start")
	return r.run(ctx, cl, id, watch)
}

// run starts the campaign and asks for its status until it has been active for so long as to be watched.
func (r *benchResult) run(ctx context.Context, cl *client.Client, id ident.Campaign, watch time.Duration) error {
	began := time.Now()
	if err := cl.Do(ctx, "campaign", "start", topics.CampaignRef{Campaign: id}, nil); err != nil {
		return err
	}
	var took []time.Duration
	var active, told time.Time // when all devices had their place, and when all had their offer
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for active.IsZero() || time.Since(active) < watch {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		asked := time.Now()
		var v topics.CampaignView
		if err := cl.Do(ctx, "campaign", "get", topics.CampaignRef{Campaign: id}, &v); err != nil {
			return err
		}
		took = append(took, time.Since(asked))
		switch {
		case v.State == string(campaign.Stopping) || v.State == string(campaign.Stopped):
			return fmt.Errorf("the campaign stopped: %s", v.Reason)
		case active.IsZero() && v.State == string(campaign.Active):
			active = time.Now()
			r.Start = active.Sub(began).Seconds()
		}
		if r.Offers = v.Progress.Counts[string(campaign.Offered)]; told.IsZero() && r.Offers == uint64(r.Devices) {
			told = time.Now()
		}
	}
	if told.IsZero() {
		told = time.Now()
	}
	r.OffersFor = told.Sub(active).Seconds()
	slices.Sort(took)
	r.StatusCalls = len(took)
	r.StatusMedian, r.StatusP99 = took[len(took)/2].Seconds(), took[len(took)*99/100].Seconds()
	r.StatusMax = took[len(took)-1].Seconds()
	return nil
}

// fillAtOnce is how many devices one transaction registers.
const fillAtOnce = 1000

// fill registers devices as they are after their first hello.
func (s *fleetSetup) fill(ctx context.Context, store campaign.Store, devices int) error {
	tenant, now := s.cl.Tenant(), time.Now()
	old := ident.SumDigest([]byte("1.4.0"))
	for from := 0; from < devices; from += fillAtOnce {
		err := store.Update(ctx, func(tx campaign.Tx) error {
			for i := from; i < min(from+fillAtOnce, devices); i++ {
				id, err := ident.ParseDevice(fmt.Sprintf("bench-%08d", i))
				if err != nil {
					return err
				}
				d := campaign.Device{ID: id, Vendor: s.vendor, Class: s.class, Boot: 3, MaxChunk: 4096, Algs: []int64{-7, -9}, HelloSeq: 1,
					Installed: []campaign.Image{{Component: s.manifest.Component, Digest: old, Sequence: 1, Version: "1.4.0"}},
					Facts:     map[string]string{"hw": "b2", "modem": "lte"},
					Labels:    map[string]string{"site": strconv.Itoa(i % 50)}, LastSeen: now, Created: now}
				if err := tx.PutDevice(tenant, d); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("fill registry: %w", err)
		}
	}
	return nil
}

func (a *app) printBench(r benchResult) error {
	sec := func(v float64) string {
		return time.Duration(v * float64(time.Second)).Round(100 * time.Microsecond).String()
	}
	return a.printOne(r, row{"devices", strconv.Itoa(r.Devices)}, row{"cpus", strconv.Itoa(r.CPUs)}, row{"fill", sec(r.Fill)},
		row{"plan", sec(r.Plan)}, row{"start", sec(r.Start)},
		row{"offers", fmt.Sprintf("%d in %s", r.Offers, sec(r.OffersFor))},
		row{"status", fmt.Sprintf("median %s, p99 %s, max %s of %d", sec(r.StatusMedian), sec(r.StatusP99), sec(r.StatusMax), r.StatusCalls)},
		row{"peak memory", bytesText(r.PeakRSS)}, row{"disk", bytesText(r.Disk)})
}

// peakRSS is the most memory that the process has had resident, where the system tells; else 0.
func peakRSS() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}

func diskUse(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil // compacted away meanwhile
		}
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
