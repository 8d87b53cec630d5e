package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/simulator"
	"fleetbridge/simulator/scenario"
	"fleetbridge/topics"
)

// play is a scenario of the library under way.
type play struct {
	a        *app
	cl       *client.Client
	op       client.Context
	name     string // prefix of everything that is made
	script   scenario.Scenario
	base     fleetSetup
	releases map[string]topics.ManifestView // by version
	groups   map[string]*powered
	windows  map[string][]topics.Window // of the campaigns that have some, by name
	others   int                        // further operators that were made
	begun    time.Time
}

// powered is a group of devices whose power can be cut and restored; their flash stays.
type powered struct {
	fleet *simulator.Fleet
	cut   context.CancelFunc
	off   chan struct{}
}

func (p *powered) on(ctx context.Context) {
	if p.cut != nil {
		return
	}
	ctx, p.cut = context.WithCancel(ctx)
	p.off = make(chan struct{})
	go func() {
		defer close(p.off)
		// Run refuses only while it runs already, which cut rules out.
		_ = p.fleet.Run(ctx)
	}()
}

func (p *powered) cutPower() {
	if p.cut != nil {
		p.cut()
		<-p.off
		p.cut = nil
	}
}

// run takes the scenario from nothing to its end. A run that takes too long, or an action whose moment can't come any
// more, is no error: unmet then says so.
func (p *play) run(ctx context.Context) (unmet string, err error) {
	if err := p.set(ctx); err != nil {
		return "", err
	}
	defer func() {
		for _, g := range p.groups {
			g.cutPower()
		}
	}()
	for _, g := range p.script.Groups {
		if !g.Off {
			p.groups[g.Name].on(ctx)
			if err := waitReady(ctx, p.groups[g.Name].fleet); err != nil {
				return "", err
			}
		}
	}
	p.begun = time.Now()
	bounded, cancel := context.WithTimeout(ctx, time.Duration(p.script.Within))
	defer cancel()
	err = p.act(bounded)
	switch {
	case err != nil && ctx.Err() == nil && bounded.Err() != nil:
		unmet = fmt.Sprintf("time was up after %v", time.Duration(p.script.Within))
	case errors.Is(err, errCampaign):
		unmet = err.Error()
	default:
		return "", err
	}
	p.say("%s", unmet)
	return unmet, nil
}

func (p *play) say(format string, args ...any) {
	p.a.say("  %5.1f s   %s", time.Since(p.begun).Seconds(), fmt.Sprintf(format, args...))
}

// set makes the key, the releases and the devices.
func (p *play) set(ctx context.Context) error {
	p.base = fleetSetup{cl: p.cl, name: p.name, seed: p.script.Seed, size: int64(p.script.Payload)}
	key, err := p.base.trustKey(ctx)
	if err != nil {
		return err
	}
	p.releases = map[string]topics.ManifestView{}
	first := uint64(time.Now().Unix())
	for i, version := range p.script.Versions() {
		if p.releases[version], err = p.base.release(ctx, key, version, p.script.Seed+uint64(i), first+uint64(i)); err != nil {
			return err
		}
	}
	p.base.manifest = p.releases[p.script.Versions()[0]]
	p.groups, p.windows = map[string]*powered{}, map[string][]topics.Window{}
	for _, g := range p.script.Groups {
		f, err := p.group(ctx, g)
		if err != nil {
			return fmt.Errorf("make group %s: %w", g.Name, err)
		}
		p.groups[g.Name] = &powered{fleet: f}
		p.a.say("▸ group      %s: %d devices; %s", g.Name, g.Devices, faultsText(f.Faults()))
	}
	return nil
}

// group makes credentials and devices, switched off.
func (p *play) group(ctx context.Context, g scenario.Group) (*simulator.Fleet, error) {
	s := p.base
	s.name, s.devices = p.name+"-"+g.Name, g.Devices
	var err error
	if s.mix, err = simulator.ParseMix(g.Faults); err != nil {
		return nil, err
	}
	ids, err := s.provision(ctx)
	if err != nil {
		return nil, err
	}
	for i := range ids {
		ids[i].Labels = g.Labels
		if !g.Off && len(g.OperatorLabels) == 0 {
			continue
		}
		labels := g.OperatorLabels
		if g.Off { // their hello comes later
			labels = maps.Clone(g.Labels)
			if labels == nil {
				labels = map[string]string{}
			}
			maps.Copy(labels, g.OperatorLabels)
		}
		req := topics.DeviceAdd{Device: ids[i].Device, Vendor: s.vendor, Class: s.class, Labels: labels}
		if err := p.cl.Do(ctx, "device", "add", req, nil); err != nil {
			return nil, fmt.Errorf("register %s: %w", ids[i].Device, err)
		}
	}
	timing := g.Timing()
	timing.BackoffMax = 2 * time.Second
	return simulator.New(simulator.Config{
		Server: p.op.Server, TLS: p.cl.TLS(), Devices: ids, Seed: s.seed, Faults: s.mix, PahoEvery: 10, Permits: g.Permits,
		Model:  simulator.Model{Vendor: s.vendor, Class: s.class, Anchors: []firmware.Anchor{s.anchor}},
		Target: topics.Installed{Digest: s.manifest.Payload, Sequence: s.manifest.Sequence, Version: s.manifest.Version},
		Timing: timing,
	})
}

func (p *play) campaign(name string) (ident.Campaign, error) {
	return ident.ParseCampaign(p.name + "-" + name)
}

func (p *play) draft(ctx context.Context, c scenario.Campaign) error {
	id, err := p.campaign(c.Name)
	if err != nil {
		return err
	}
	req := topics.CampaignCreate{Campaign: id, Manifest: p.releases[c.Version].Digest, Description: c.Description,
		Selection: c.Selection, Policy: patient(c.Policy)}
	req.Policy.Windows = append(slices.Clone(c.Policy.Windows), c.Windows(time.Now())...)
	p.windows[c.Name] = req.Policy.Windows
	if err := p.cl.Do(ctx, "campaign", "create", req, nil); err != nil {
		return fmt.Errorf("create campaign %s: %w", c.Name, err)
	}
	return nil
}

// patient sets deadlines that suit devices which take seconds where the scenario names none.
func patient(policy topics.Policy) topics.Policy {
	d := &policy.Deadlines
	for _, t := range []struct {
		into *topics.Duration
		def  time.Duration
	}{{&d.Offered, 5 * time.Second}, {&d.Received, time.Minute}, {&d.Downloading, time.Minute}, {&d.Downloaded, time.Minute},
		{&d.Installing, time.Minute}, {&d.Rebooting, time.Minute}} {
		if *t.into == 0 {
			*t.into = topics.Duration(t.def)
		}
	}
	return policy
}
