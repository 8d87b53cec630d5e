package main

import (
	"context"
	"fmt"
	"time"

	"fleetbridge/simulator"
)

// power is a fleet that is switched on, in this process or in several.
type power interface {
	// look says what the devices have done so far.
	look(ctx context.Context) (fleetLook, error)
	// off cuts it, and returns when nothing runs any more.
	off()
}

// fleetLook is what a fleet has done so far; processes send it as JSON.
type fleetLook struct {
	Stats simulator.Stats
	Ready bool // the server has heard every device that connects at all
}

// ownPower is the power of a fleet in this process.
type ownPower struct {
	fleet *simulator.Fleet
	cut   context.CancelFunc
	ended chan struct{}
}

func switchOn(ctx context.Context, f *simulator.Fleet) *ownPower {
	ctx, cut := context.WithCancel(ctx)
	p := &ownPower{fleet: f, cut: cut, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = f.Run(ctx) // it is ErrRunning or nothing, and nobody else runs it
	}()
	return p
}

func (p *ownPower) look(context.Context) (fleetLook, error) {
	l := fleetLook{Stats: p.fleet.Stats()}
	select {
	case <-p.fleet.Ready():
		l.Ready = true
	default:
	}
	return l, nil
}

func (p *ownPower) off() {
	p.cut()
	<-p.ended
}

// lookEvery is how often a fleet is asked whether it is ready.
const lookEvery = 20 * time.Millisecond

// awaitReady waits until the server has heard every device, and returns what they have done by then.
func awaitReady(ctx context.Context, p power) (simulator.Stats, error) {
	deadline := time.Now().Add(readyWithin)
	for {
		l, err := p.look(ctx)
		switch {
		case err != nil:
			return l.Stats, err
		case l.Ready:
			return l.Stats, nil
		case time.Now().After(deadline):
			return l.Stats, notReady(l.Stats)
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return l.Stats, ctx.Err()
		}
	}
}

// notReady is the error of a fleet that did not connect in time.
func notReady(s simulator.Stats) error {
	return &failure{code: exitTimeout, err: fmt.Errorf("only %d of %d devices connected in %v%s", s.Ready, s.Devices, readyWithin,
		prefix("; the last that lost its connection: ", s.LastError))}
}

// simReserved is how many files a process of the simulator has open besides its connections, with room to spare.
const simReserved = 256

// fits refuses a fleet whose connections are more than its processes may have files open, before devices run into that.
func (m simFlags) fits() error {
	if m.processes < 1 || m.processes > m.devices {
		return usagef("--processes %d: from 1 to as many as there are devices", m.processes)
	}
	if m.processes > 1 && len(m.flash.keys) > 0 {
		return usagef("--device-key with --processes %d: the keys of devices stay in one process", m.processes)
	}
	files, known := openFileLimit()
	if !known {
		return nil
	}
	return m.fitsIn(int(min(files, 1<<30)))
}

func (m simFlags) fitsIn(files int) error {
	each := (m.devices + m.processes - 1) / m.processes
	if m.local {
		here := m.devices + reservedFiles // the server's ends
		if m.processes == 1 {
			here += each
		}
		if here > files {
			return usagef("%d devices and their server need %d open files in a process, and it may have %d here: fewer, or a server apart", m.devices, here, files)
		}
	}
	room := files - simReserved
	switch {
	case each <= room:
		return nil
	case room < 1:
		return usagef("a process may have %d open files here, which is too few for a fleet (ulimit -n)", files)
	}
	return usagef("%d devices need %d open files in a process, and it may have %d here: --processes %d", m.devices, each+simReserved, files,
		(m.devices+room-1)/room)
}
