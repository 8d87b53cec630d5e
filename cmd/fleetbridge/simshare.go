package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"fleetbridge/internal/bench"
	"fleetbridge/internal/client"
	"fleetbridge/simulator"
)

// fleetRole is the name of the process that runs a part of a fleet.
const fleetRole = "fleet"

// fleetShare is a part of a fleet, as the process that runs it needs it. Credentials go over its pipe, where nobody else sees
// them. Devices that decrypt can't be sent: their keys stay in one process.
type fleetShare struct {
	Config simulator.Config
	CA     string // as of a context file, absolute
}

// share is the whole fleet, to be divided.
func (s *fleetSetup) share(server client.Context, devices []simulator.Identity) (fleetShare, error) {
	share := fleetShare{Config: s.config(server.Server, devices)}
	if server.CA == "" {
		return share, nil
	}
	var err error
	if share.CA, err = filepath.Abs(server.CA); err != nil { // processes have a folder of their own
		return share, fmt.Errorf("find authorities: %w", err)
	}
	return share, nil
}

// divide cuts a fleet in n parts that differ by one device at most.
func (s fleetShare) divide(n int) []fleetShare {
	all := s.Config.Devices
	parts := make([]fleetShare, n)
	for i := range parts {
		from, to := len(all)*i/n, len(all)*(i+1)/n
		parts[i] = s
		parts[i].Config.Devices, parts[i].Config.First = all[from:to], s.Config.First+from
	}
	return parts
}

// sharedPower is the power of a fleet that several processes share.
type sharedPower struct {
	bench *bench.Bench
	parts []*bench.Proc
}

// shareOut starts a process for each part and gives all of them power.
func shareOut(ctx context.Context, parts []fleetShare) (_ *sharedPower, err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	p := &sharedPower{}
	if p.bench, err = bench.New(exe); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.off()
		}
	}()
	for _, part := range parts {
		proc, err := p.bench.Role(ctx, fleetRole, part, nil, readyWithin)
		if err != nil {
			return nil, err
		}
		p.parts = append(p.parts, proc)
	}
	for _, part := range p.parts {
		if err := part.Begin(ctx); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *sharedPower) look(ctx context.Context) (fleetLook, error) {
	all := fleetLook{Ready: true}
	for _, part := range p.parts {
		var l fleetLook
		if err := part.Mark(ctx, &l); err != nil {
			return all, err
		}
		all.Stats, all.Ready = all.Stats.Add(l.Stats), all.Ready && l.Ready
	}
	return all, nil
}

func (p *sharedPower) off() {
	_ = p.bench.Close() // what is left of a temporary folder is not the fleet's business
}

// runFleet is the role: a part of a fleet, until its pipe ends.
func runFleet(ctx context.Context, w *bench.Worker) (err error) {
	var s fleetShare
	if err := w.Params(&s); err != nil {
		return err
	}
	c := s.Config
	if c.TLS, err = (client.Context{Server: c.Server, CA: s.CA}).TLS(); err != nil {
		return err
	}
	f, err := simulator.New(c)
	if err != nil {
		return err
	}
	if err := w.Ready(struct{}{}); err != nil {
		return err
	}
	var p *ownPower
	defer func() {
		if p != nil {
			p.off()
		}
	}()
	return w.Serve(func() { p = switchOn(ctx, f) }, func() any {
		l, _ := (&ownPower{fleet: f}).look(ctx) // it never fails
		return l
	})
}
