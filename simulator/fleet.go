// Package simulator is a fleet of devices, for tests, demos and load. Its devices are outsiders: they reach the server
// only over MQTT, with what any device has (an address, a user name, a token, the author's public key), and they verify
// signatures and digests themselves. The package imports the contract (topics) and the manifest codecs (firmware), and
// nothing of the server.
//
// Each device has a flash that survives its power losses and reboots: the installed image, the manifest it works on, the
// chunks it has stored, the reports that nobody has acknowledged, and its counters. Everything else is lost when it
// loses power. What goes wrong with a device is drawn from the seed and the device's name alone, never from timing, so
// the same seed gives the same outcomes.
//
// A device is one goroutine. A Fleet may be used from several goroutines.
package simulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"fleetbridge/topics"
)

// Fleet is a number of devices. New makes them, Run gives them power.
type Fleet struct {
	config  Config
	library *library
	count   counters
	devices []*device
	ready   chan struct{}
	dials   chan struct{} // bounds connects under way
	running sync.Mutex
}

const maxDials = 128

// ErrRunning is returned by Run while another Run of the same fleet has not returned.
var ErrRunning = errors.New("fleet is running")

// New makes a fleet, all devices switched off. The error wraps ErrConfig, ErrMix or ident.ErrInvalid.
func New(c Config) (*Fleet, error) {
	c, err := c.complete()
	if err != nil {
		return nil, fmt.Errorf("configure fleet: %w", err)
	}
	if err := c.Faults.check(); err != nil {
		return nil, fmt.Errorf("configure fleet: %w", err)
	}
	l, err := newLibrary(c.Images)
	if err != nil {
		return nil, fmt.Errorf("configure fleet: %w", err)
	}
	f := &Fleet{config: c, library: l, ready: make(chan struct{}), dials: make(chan struct{}, maxDials)}
	for i, id := range c.Devices {
		d, err := newDevice(f, c.First+i, id)
		if err != nil {
			return nil, fmt.Errorf("configure device %s: %w", id.Device, err)
		}
		f.devices = append(f.devices, d)
	}
	f.awaitHellos()
	return f, nil
}

// Run gives all devices power until ctx ends, then cuts it: connections are dropped without DISCONNECT. It returns nil
// after the last device stopped. Devices keep their flash, so Run may be called again after it returned.
func (f *Fleet) Run(ctx context.Context) error {
	if !f.running.TryLock() {
		return ErrRunning
	}
	defer f.running.Unlock()
	var wg sync.WaitGroup
	for _, d := range f.devices {
		wg.Go(func() { d.run(ctx) })
	}
	wg.Wait()
	return nil
}

// Ready is closed once every device that connects at all has had its first hello acknowledged: the server then knows
// them, and a campaign can select them.
func (f *Fleet) Ready() <-chan struct{} { return f.ready }

// Faults returns how many devices have which kind of fault, None included.
func (f *Fleet) Faults() map[Kind]int {
	n := make(map[Kind]int)
	for _, d := range f.devices {
		n[d.fault.Kind]++
	}
	return n
}

// Stats returns a snapshot; it may be called at any time.
func (f *Fleet) Stats() Stats {
	c := &f.count
	s := Stats{
		Devices: len(f.devices), Connected: int(c.connected.Load()), Connects: c.connects.Load(), Ready: int(c.ready.Load()),
		Hellos: c.hellos.Load(), Reports: c.reports.Load(), Acknowledged: c.acked.Load(), Resent: c.resent.Load(),
		Chunks: c.chunks.Load(), ChunkBytes: c.bytes.Load(), ChunksAgain: c.again.Load(),
		Fetches: c.fetches.Load(), FetchesAgain: c.refetches.Load(), PowerLosses: c.power.Load(), Fallbacks: c.fallbacks.Load(), Resumed: int(c.resumed.Load()),
		Puback: c.puback.snapshot(),
		Lost:   c.lost.Load(),
		States: make(map[topics.Word]int),
	}
	if e, ok := c.lastError.Load().(string); ok {
		s.LastError = e
	}
	for _, d := range f.devices {
		s.States[d.lastWord()]++
	}
	return s
}

// Ledger returns one entry per device, in the order of Config.Devices; it may be called at any time. Of two calls the
// later one never knows less.
func (f *Fleet) Ledger() []Entry {
	entries := make([]Entry, len(f.devices))
	for i, d := range f.devices {
		entries[i] = d.entry()
	}
	return entries
}

// awaitHellos fixes how many first hellos Ready waits for.
func (f *Fleet) awaitHellos() {
	for _, d := range f.devices {
		if d.fault.Kind != Absent {
			f.count.awaited.Add(1)
		}
	}
	if f.count.awaited.Load() == 0 {
		close(f.ready)
	}
}

// lost counts a connection that failed or broke.
func (f *Fleet) lost(id Identity, err error) {
	f.count.lost.Add(1)
	f.count.lastError.Store(err.Error())
	f.config.Logger.Debug("connection lost", slog.String("tenant", id.Tenant.String()), slog.String("device", id.Device.String()), slog.Any("err", err))
}

// helloed counts a device's first acknowledged hello.
func (f *Fleet) helloed() {
	f.count.ready.Add(1)
	if f.count.awaited.Add(-1) == 0 {
		close(f.ready)
	}
}
