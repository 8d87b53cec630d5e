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

// sharedPower is the power of a fleet that other processes run.
type sharedPower struct {
	parts []*bench.Proc
	ended func() // after off; may be nil
}

// shareOut runs the parts of a fleet in processes of their own.
func shareOut(ctx context.Context, parts []fleetShare) (*sharedPower, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	b, err := bench.New(exe)
	if err != nil {
		return nil, err
	}
	ended := func() { _ = b.Close() } // what is left of a temporary folder is not the fleet's business
	p, err := powerParts(ctx, b, parts)
	if err != nil {
		ended()
		return nil, err
	}
	p.ended = ended
	return p, nil
}

// powerParts starts a process of b for each part, and then gives all of them power.
func powerParts(ctx context.Context, b *bench.Bench, parts []fleetShare) (*sharedPower, error) {
	p := &sharedPower{}
	for _, part := range parts {
		proc, err := b.Role(ctx, fleetRole, part, nil, readyWithin)
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
	for _, part := range p.parts {
		part.Stop()
	}
	if p.ended != nil {
		p.ended()
	}
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
