package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"fleetbridge/bridge"
	"fleetbridge/campaign"
	"fleetbridge/campaign/store/badger"
	"fleetbridge/ident"
	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/load"
	"fleetbridge/internal/bench/peer"
	"fleetbridge/topics"
)

// strangers are devices with credentials that the server has heard nothing of yet. prepare puts them into the store of a server
// that has not started: one that has made them itself would have grown by it before it is measured.
func strangers(n int) (devices []load.Device, prepare func(ctx context.Context, data string) error, err error) {
	credentials := make([]campaign.Credential, n)
	for i := range n {
		d := load.Device{}
		if d.ID, err = ident.ParseDevice(fmt.Sprintf("bench-%05d", i)); err != nil {
			return nil, nil, err
		}
		name, err := ident.ParseName(d.ID.String())
		if err != nil {
			return nil, nil, err
		}
		if credentials[i], d.Token, err = bridge.NewCredential(rand.Reader, name, topics.RoleDevice); err != nil {
			return nil, nil, err
		}
		credentials[i].Created = time.Now().UTC()
		d.User = benchTenant.String() + "/" + d.ID.String()
		devices = append(devices, d)
	}
	return devices, func(ctx context.Context, data string) error { return putCredentials(ctx, data, credentials) }, nil
}

func putCredentials(ctx context.Context, data string, all []campaign.Credential) (err error) {
	store, err := badger.Open(badger.Options{Dir: storeDir(data), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("fill store: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for from := 0; from < len(all); from += fillAtOnce {
		err := store.Update(ctx, func(tx campaign.Tx) error {
			for _, c := range all[from:min(from+fillAtOnce, len(all))] {
				if err := tx.PutCredential(benchTenant, c); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("fill store: %w", err)
		}
	}
	return nil
}

// fits refuses more devices than a process may have connections.
func fits(devices int) error {
	if most, _ := clientLimit(devices); most < devices {
		return usagef("--devices %d: the limit of open files leaves room for %d", devices, most)
	}
	return nil
}

// settled waits until a server has nothing left to do, at most for a while: what it owes dropped connections is no part of what is
// measured next.
func settled(ctx context.Context, p *bench.Proc) error {
	const quiet, most = 300 * time.Millisecond, 10 * time.Second
	began, before := time.Now(), time.Duration(-1)
	for time.Since(began) < most {
		u, err := p.Usage()
		if err != nil || u.CPU-before <= quiet/50 {
			return err
		}
		before = u.CPU
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(quiet):
		}
	}
	return nil
}

// crowdSide is a server and the devices that come to it.
type crowdSide struct {
	name   string
	proc   *bench.Proc
	crowd  load.CrowdParams
	around func() (end func())
}

// openOurCrowd starts our server, which knows the credentials of devices and nothing else. done ends it.
func openOurCrowd(ctx context.Context, b *bench.Bench, exe string, o benchFlags, devices []load.Device, prepare func(context.Context, string) error) (s crowdSide, done func(), err error) {
	server, err := startBenchServer(ctx, b, exe, benchServerOptions{profile: o.profile, prepare: prepare})
	if err != nil {
		return s, nil, err
	}
	s = crowdSide{name: oursSide, proc: server.Proc, crowd: crowdOf(server.addr, devices), around: server.around()}
	return s, func() { server.cl.Close(); server.Stop() }, nil
}

// openPeerCrowd starts mosquitto, which knows the same credentials. done ends it. [peer.ErrMissing] if it is not installed.
func openPeerCrowd(ctx context.Context, b *bench.Bench, devices []load.Device) (s crowdSide, done func(), err error) {
	logins := make([]peer.Login, len(devices))
	for i, d := range devices {
		logins[i] = peer.Login{User: d.User, Password: d.Token}
	}
	broker, addr, err := peer.MosquittoWith(ctx, b, logins)
	if err != nil {
		return s, nil, err
	}
	return crowdSide{name: mosquittoPeer, proc: broker, crowd: crowdOf(addr, devices)}, broker.Stop, nil
}

// peerFlight is how many devices may be on their way to mosquitto at once: its listener holds no more, and whom that drops asks
// again after seconds.
const peerFlight = 100

func crowdOf(addr string, devices []load.Device) load.CrowdParams {
	return load.CrowdParams{Target: load.Target{Addr: addr}, Tenant: benchTenant, Devices: devices, KeepAlive: time.Minute, Flight: peerFlight}
}

// arrive brings all devices of a side online, and measures that. They stay until the role is stopped.
func (s crowdSide) arrive(ctx context.Context, b *bench.Bench, after time.Duration) (bench.Sample, *bench.Proc, error) {
	devices, err := b.Role(ctx, "crowd", s.crowd, nil, time.Minute)
	if err != nil {
		return bench.Sample{}, nil, err
	}
	sample, err := b.Finish(ctx, s.task(after), devices, s.proc)
	return sample, devices, err
}

// task is that all devices come online.
func (s crowdSide) task(after time.Duration) bench.Task {
	return bench.Task{Units: uint64(len(s.crowd.Devices)), Within: arriveWithin, After: after, Around: s.around}
}

const arriveWithin = 2 * time.Minute
