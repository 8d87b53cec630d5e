package simulator

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// device is one device. run and what it calls are one goroutine; mu guards what Stats and Ledger look at.
type device struct {
	fleet   *Fleet
	index   int // in the whole fleet
	id      Identity
	user    string
	paho    bool
	format  topics.Format
	fault   Fault
	anchors []firmware.Anchor
	rng     *rand.Rand
	flash   flash
	ram

	mu     sync.Mutex
	ledger Entry
}

// flash is what survives a loss of power.
type flash struct {
	seq     uint64 // last sequence number used, of hellos and reports alike
	boot    uint64
	image   topics.Installed
	update  *update    // nil while there is nothing to do
	done    []finished // updates that ended, newest last, at most maxDone
	outbox  []pending
	helloed bool // a hello has been acknowledged
	cut     bool // the planned loss of power, or of the link, is over
}

// finished is how an update ended, kept so that the same manifest met again is answered, not done again.
type finished struct {
	manifest ident.Digest
	word     topics.Word
	reason   topics.Reason
	detail   string
}

const maxDone = 4

// ram is what a loss of power or a reboot clears.
type ram struct {
	conn     conn
	timers   [timerKinds]time.Time
	hello    uint16 // packet identifier of the hello without PUBACK
	helloSeq uint64
	leaving  ending
	window   uint32 // chunks before it have been asked for
	tries    int    // fetches in a row that brought nothing
	fetches  int    // of this boot; numbers the tokens
	paced    bool   // timerFetch is the slow link's pause, not a timeout
	fresh    bool   // no fetch yet on this connection
	good     bool   // the server took this connection's hello
}

// timer is one thing that a device waits for besides its connection.
type timer int

const (
	timerFetch timer = iota // send a fetch, again or after a pause
	timerStep               // installing or waiting for the reboot is over
	timerSend               // a late report is due
	timerAck                // a PUBACK or receipt is overdue
	timerKinds
)

// ending is why a session ended.
type ending int

const (
	endLost ending = iota
	endReboot
	endPower
)

func newDevice(f *Fleet, index int, id Identity) (*device, error) {
	c := f.config
	name := id.Tenant.String() + "/" + id.Device.String()
	h := fnv.New64a()
	h.Write([]byte(name)) // never fails
	d := &device{
		fleet: f, index: index, id: id, user: id.User, anchors: c.Model.Anchors,
		paho:  c.PahoEvery > 0 && index%c.PahoEvery == 0,
		fault: Plan(c.Seed, name, c.Faults),
		rng:   rand.New(rand.NewPCG(c.Seed, h.Sum64())),
		flash: flash{image: c.Image},
	}
	if d.user == "" {
		d.user = name
	}
	if d.paho {
		d.format = topics.JSON
	}
	switch d.fault.Kind {
	case Current:
		d.flash.image = c.Target
	case BadSignature:
		var err error
		if d.anchors, err = foreignAnchors(c.Model.Anchors, c.Seed); err != nil {
			return nil, err
		}
	}
	d.ledger = Entry{Tenant: id.Tenant, Device: id.Device, Fault: d.fault, Paho: d.paho, Installed: d.flash.image}
	return d, nil
}

// run is the device's life from power on until ctx ends.
func (d *device) run(ctx context.Context) {
	if d.fault.Kind == Absent {
		<-ctx.Done()
		return
	}
	if !sleep(ctx, d.between(0, d.timing().Spread)) {
		return
	}
	d.boot()
	for failures := 0; ; failures++ {
		end, good, err := d.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if good {
			failures = 0
		}
		if end == endLost {
			d.fleet.lost(d.id, err)
			if !sleep(ctx, d.backoff(failures)) {
				return
			}
			continue
		}
		if !sleep(ctx, d.between(d.timing().Reboot/2, d.timing().Reboot)) {
			return
		}
		d.boot()
	}
}

// once is one connection; good says that the server took the device's hello.
func (d *device) once(ctx context.Context) (end ending, good bool, err error) {
	c, err := d.connect(ctx)
	if err != nil {
		return endLost, false, err
	}
	stop := context.AfterFunc(ctx, c.Abort)
	defer stop()
	d.conn = c
	d.fleet.count.connects.Add(1)
	d.fleet.count.connected.Add(1)
	err = d.session()
	d.fleet.count.connected.Add(-1)
	end, good = d.leaving, d.good
	if err == nil && end == endReboot {
		err = c.Disconnect()
	}
	c.Abort()
	d.unsent()
	d.conn, d.leaving, d.hello, d.good = nil, endLost, 0, false
	return end, good, err
}

// backoff is the wait after the n-th lost connection in a row: doubling, and half of it random, so that a fleet that lost
// its server does not come back in one moment.
func (d *device) backoff(n int) time.Duration {
	t := d.timing()
	w := min(t.BackoffMin<<min(n, 20), t.BackoffMax)
	if w <= 0 {
		w = t.BackoffMax
	}
	return d.between(w/2, w)
}

// boot is the start after power on or a reboot: RAM is empty, and flash says what to do.
func (d *device) boot() {
	d.ram = ram{}
	d.flash.boot++
	if u := d.flash.update; u != nil {
		d.resumeInstall(u)
	}
	d.note(func(e *Entry) { e.Boot = d.flash.boot })
}

func (d *device) note(f func(*Entry)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.ledger)
}

func (d *device) entry() Entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.ledger
	e.Manifests, e.Down = slices.Clone(e.Manifests), slices.Clone(e.Down)
	return e
}

func (d *device) lastWord() topics.Word {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.ledger.Manifests); n > 0 {
		return d.ledger.Manifests[n-1].State
	}
	return ""
}

// sleep waits for w; false if ctx ended first.
func sleep(ctx context.Context, w time.Duration) bool {
	t := time.NewTimer(w)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
