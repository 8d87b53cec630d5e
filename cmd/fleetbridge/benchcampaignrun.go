package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/internal/bench"
	"fleetbridge/topics"
)

// campaignRun is one run: a server, and its campaign.
type campaignRun struct {
	*app
	o       benchCampaignFlags
	figures map[string][]float64 // by name, of all runs

	b      *bench.Bench
	server *benchServer
	id     ident.Campaign
	status []time.Duration // of each campaign/get
}

func (r *campaignRun) note(name string, v float64) { r.figures[name] = append(r.figures[name], v) }

func (r *campaignRun) noteSince(name string, began time.Time) {
	r.note(name, time.Since(began).Seconds())
}

// run does all of it; noise is how many cores other processes took.
func (r *campaignRun) run(ctx context.Context) (noise float64, err error) {
	exe, err := os.Executable()
	if err != nil {
		return 0, err
	}
	if r.b, err = bench.New(exe); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.b.Close()) }()
	if r.id, err = ident.ParseCampaign("bench"); err != nil {
		return 0, err
	}
	span, err := bench.StartSpan(nil)
	if err != nil {
		return 0, err
	}
	r.server, err = startBenchServer(ctx, r.b, exe, benchServerOptions{profile: r.o.profile, prepare: r.fill})
	if err != nil {
		return 0, err
	}
	defer func() { r.server.cl.Close() }()
	for _, step := range []func(context.Context) error{r.draft, r.plan, r.start, r.offers, r.took, r.restart} {
		if err := step(ctx); err != nil {
			return 0, err
		}
	}
	s, err := span.End()
	return s.Others, err
}

// fill registers the devices, before the server opens its store.
func (r *campaignRun) fill(ctx context.Context, data string) (err error) {
	r.say("▸ fill       %d devices", r.o.devices)
	began := time.Now()
	store, err := badger.Open(badger.Options{Dir: storeDir(data)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := fillRegistry(ctx, store, benchTenant, r.setup(), r.o.devices); err != nil {
		return err
	}
	r.noteSince("fill", began)
	return nil
}

// setup is the fleet's model and release.
func (r *campaignRun) setup() *fleetSetup {
	s := &fleetSetup{name: "bench", seed: 1, size: 64 << 10}
	s.vendor = firmware.VendorID(simVendor)
	s.class = firmware.ClassID(s.vendor, s.name)
	return s
}

func (r *campaignRun) draft(ctx context.Context) error {
	s := r.setup()
	s.cl = r.server.cl
	if err := s.publish(ctx); err != nil {
		return err
	}
	waves := []topics.Wave{{Percent: r.o.canary}, {Percent: 100}}
	if r.o.canary == 100 {
		waves = waves[1:]
	}
	return s.cl.Do(ctx, "campaign", "create", topics.CampaignCreate{Campaign: r.id, Manifest: s.manifest.Digest,
		Policy: topics.Policy{Waves: waves, Stratify: "site"}}, nil)
}

func (r *campaignRun) plan(ctx context.Context) error {
	r.say("▸ plan")
	began := time.Now()
	var plan topics.PlanView
	if err := r.server.cl.Do(ctx, "campaign", "plan", topics.CampaignPlan{Campaign: r.id}, &plan); err != nil {
		return err
	}
	r.noteSince("plan", began)
	if plan.Devices != r.o.devices {
		return fmt.Errorf("the plan has %d devices of %d", plan.Devices, r.o.devices)
	}
	return nil
}

// get is campaign/get, timed.
func (r *campaignRun) get(ctx context.Context) (v topics.CampaignView, err error) {
	asked := time.Now()
	if err := r.server.cl.Do(ctx, "campaign", "get", topics.CampaignRef{Campaign: r.id}, &v); err != nil {
		return v, err
	}
	r.status = append(r.status, time.Since(asked))
	if v.State == string(campaign.Stopping) || v.State == string(campaign.Stopped) {
		return v, fmt.Errorf("the campaign stopped: %s", v.Reason)
	}
	return v, nil
}

// statusEvery is how often the campaign is asked for.
const statusEvery = 20 * time.Millisecond

// until asks for the campaign until it is as wanted.
func (r *campaignRun) until(ctx context.Context, wanted func(topics.CampaignView) bool) error {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.server.Ended():
			return errors.New("the server ended")
		case <-tick.C:
		}
		v, err := r.get(ctx)
		if err != nil || wanted(v) {
			return err
		}
	}
}

func (r *campaignRun) start(ctx context.Context) error {
	r.say("▸ start")
	began := time.Now()
	if err := r.server.cl.Do(ctx, "campaign", "start", topics.CampaignRef{Campaign: r.id}, nil); err != nil {
		return err
	}
	err := r.until(ctx, func(v topics.CampaignView) bool { return v.State == string(campaign.Active) })
	r.noteSince("start", began)
	return err
}

// offers waits until the first wave has been told.
func (r *campaignRun) offers(ctx context.Context) error {
	wave := uint64(float64(r.o.devices) * r.o.canary / 100)
	r.say("▸ offers     to %d devices", wave)
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, r.o.watch)
	defer cancel()
	told := uint64(0)
	err := r.until(ctx, func(v topics.CampaignView) bool {
		told = v.Progress.Counts[string(campaign.Offered)]
		return told >= wave
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%d of %d devices were told in %v: %w", told, wave, r.o.watch, err)
	}
	r.noteSince("offers", began)
	return err
}

// took notes what the server took for all of it.
func (r *campaignRun) took(context.Context) error {
	u, err := r.server.Usage()
	if err != nil {
		return err
	}
	slices.Sort(r.status)
	n := len(r.status)
	r.note("status", milliseconds(r.status[n/2]))
	r.note("status-p99", milliseconds(r.status[n*99/100]))
	r.note("cpu", u.CPU.Seconds())
	r.note("memory", mib(u.Peak))
	return nil
}

// restart kills the server and starts it again on the same data.
func (r *campaignRun) restart(ctx context.Context) error {
	r.say("▸ restart")
	before, err := r.get(ctx)
	if err != nil {
		return err
	}
	if err := r.server.Signal(os.Kill); err != nil {
		return fmt.Errorf("kill the server: %w", err)
	}
	<-r.server.Ended()
	r.server.cl.Close()
	began := time.Now()
	if err := r.server.start(ctx, r.b); err != nil {
		return err
	}
	after, err := r.get(ctx)
	if err != nil {
		return err
	}
	r.noteSince("restart", began)
	was, is := before.Progress.Counts[string(campaign.Offered)], after.Progress.Counts[string(campaign.Offered)]
	if after.State != before.State || after.Progress.Total != before.Progress.Total || is < was {
		return fmt.Errorf("after the restart the campaign is %s with %d of %d offered, and was %s with %d of %d", after.State, is, after.Progress.Total,
			before.State, was, before.Progress.Total)
	}
	u, err := r.server.Usage()
	if err != nil {
		return err
	}
	disk, err := diskUse(r.b.Dir)
	r.note("restart-memory", mib(u.RSS))
	r.note("disk", mib(disk))
	return err
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
