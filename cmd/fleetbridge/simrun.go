package main

import (
	"context"
	"errors"
	"time"

	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// simulation is a scenario under measurement.
type simulation struct {
	*fleetSetup
	server    client.Context
	processes int
	local     bool
	pid       int // of the server; 0: not to be measured
	policy    topics.Policy
	existing  ident.Campaign // zero: make one
	hold      time.Duration  // no campaign, stay connected
	begun     time.Time
}

// simulate connects the fleet, runs the campaign, and measures both.
func (a *app) simulate(ctx context.Context, s *simulation) (simResult, error) {
	r := simResult{Processes: s.processes, local: s.local}
	ids, err := s.provision(ctx)
	if err != nil {
		return r, err
	}
	a.say("▸ fleet      %d devices; %s", s.devices, faultsText(s.faults(ids)))
	m := newSimMeter(s.pid)
	s.begun = time.Now()
	p, err := s.power(ctx, ids)
	if err != nil {
		return r, err
	}
	defer p.off()
	stats, err := awaitReady(ctx, p)
	if err != nil {
		return r, err
	}
	r.ConnectSeconds = seconds(time.Since(s.begun))
	n := max(1, stats.Connected)
	m.connected()
	a.say("▸ connected  %d devices in %.1f s", n, r.ConnectSeconds)
	err = a.drive(ctx, s, p, &r)
	r.Client, r.Server = m.client.usage(n, r.Campaign != ""), m.server.usage(n, r.Campaign != "")
	return r, err
}

// power switches the devices on, in as many processes as are to share them.
func (s *simulation) power(ctx context.Context, ids []simulator.Identity) (power, error) {
	if s.processes > 1 {
		share, err := s.share(s.server, ids)
		if err != nil {
			return nil, err
		}
		return shareOut(ctx, share.divide(s.processes))
	}
	f, err := s.fleet(s.server.Server, ids)
	if err != nil {
		return nil, err
	}
	return switchOn(ctx, f), nil
}

// drive runs the campaign, or waits where there is none.
func (a *app) drive(ctx context.Context, s *simulation, p power, r *simResult) error {
	if s.hold > 0 {
		select {
		case <-time.After(s.hold):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	started := time.Now()
	id, err := s.existing, error(nil)
	if id.IsZero() {
		id, err = s.campaign(ctx, s.policy)
	} else {
		err = s.startDraft(ctx, id)
	}
	if err != nil {
		return err
	}
	track := a.newTrack()
	if _, err := watch(ctx, s.cl, id, track.at); err != nil {
		return err
	}
	track.end()
	took := time.Since(started)
	l, err := p.look(ctx)
	if err != nil {
		return err
	}
	if r.result, err = s.result(ctx, l.Stats, id, started); err != nil {
		return err
	}
	r.Elapsed, r.CampaignSeconds = seconds(time.Since(s.begun)), seconds(took)
	r.DevicesPerSec = float64(r.Confirmed) / took.Seconds()
	r.BytesPerSec = float64(r.ChunkBytes) / took.Seconds()
	r.ReportsPerSec = float64(r.Recorded) / took.Seconds()
	r.PubackP50, r.PubackP99 = milliseconds(r.stats.Puback.Quantile(0.5)), milliseconds(r.stats.Puback.Quantile(0.99))
	return nil
}

func (s *simulation) startDraft(ctx context.Context, id ident.Campaign) error {
	err := s.cl.Do(ctx, "campaign", "start", topics.CampaignRef{Campaign: id}, nil)
	var p *topics.Problem
	if errors.As(err, &p) && p.Type == topics.ProblemWrongPhase {
		return nil // it runs already
	}
	return err
}
