package simulator

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/simulator/lean"
	"fleetbridge/topics"
)

// device is one device. run and what it calls are one goroutine; mu guards what Stats and Ledger look at.
type device struct {
	fleet   *Fleet
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
	cut     bool // the planned loss of power is over
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
		fleet: f, id: id, user: id.User, anchors: c.Model.Anchors,
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

// session serves one connection until it ends. A nil error comes with d.leaving.
func (d *device) session() error {
	if err := d.greet(); err != nil {
		return err
	}
	for d.leaving == endLost {
		e, err := d.conn.Next(d.nextTimer())
		switch {
		case errors.Is(err, lean.ErrTimeout):
			err = d.fire(time.Now())
		case err == nil:
			err = d.handle(e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// greet subscribes, says hello and sends what nobody has acknowledged, in this order: the answer to each finds the
// device listening.
func (d *device) greet() error {
	t, id := d.id.Tenant, d.id.Device
	filters := []string{topics.ManifestTopic(t, id), topics.ChunkFilter(t, id)}
	if d.fleet.config.Receipts {
		filters = append(filters, topics.ReceiptTopic(t, id))
	}
	if _, err := d.conn.Subscribe(filters); err != nil {
		return err
	}
	if d.fault.Kind != Mute || !d.flash.helloed {
		if err := d.sayHello(); err != nil {
			return err
		}
	}
	d.fresh, d.tries, d.paced = true, 0, false
	if u := d.flash.update; u != nil {
		d.verifyBoot(u)
		if u.stage == topics.WordDownloading {
			// The retained manifest says so at once; should the network lose it, the device goes on by itself.
			d.set(timerFetch, d.timing().ChunkTimeout)
		}
	}
	return d.flush()
}

func (d *device) sayHello() error {
	m := d.fleet.config.Model
	d.flash.seq++
	h := topics.Hello{Seq: d.flash.seq, Vendor: m.Vendor, Class: m.Class, Installed: []topics.Installed{d.flash.image},
		Boot: d.flash.boot, MaxChunk: d.fleet.config.ChunkSize, Labels: d.id.Labels}
	for _, a := range d.anchors {
		h.Algs = append(h.Algs, int64(a.Alg))
	}
	body, err := topics.Encode(h, d.format)
	if err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	if d.hello, err = d.conn.Publish(topics.HelloTopic(d.id.Tenant, d.id.Device), body, 1); err != nil {
		return err
	}
	d.helloSeq = h.Seq
	d.set(timerAck, d.timing().AckTimeout)
	d.note(func(e *Entry) { e.Seq = d.flash.seq })
	return nil
}

// handle takes one event.
func (d *device) handle(e lean.Event) error {
	switch e.Kind {
	case lean.Subscribed:
		for _, code := range e.Payload {
			if code >= 0x80 {
				return fmt.Errorf("subscription refused: code %#x", code)
			}
		}
		d.good = d.hello == 0 // a mute device has nothing else to wait for
		return nil
	case lean.Ack:
		d.acked(e.ID)
		return nil
	case lean.Message:
		return d.message(e)
	}
	return nil
}

func (d *device) message(e lean.Event) error {
	a, err := topics.Parse(string(e.Topic))
	if err != nil || a.Tenant != d.id.Tenant || a.Device != d.id.Device || d.fault.Kind == Mute {
		return nil // not for us: a device does not argue with its server
	}
	switch a.Channel {
	case topics.ChannelManifest:
		return d.manifest(e.Payload, e.Retain)
	case topics.ChannelChunk:
		if a.IsError {
			return d.chunkError(a.Token, e.Payload)
		}
		return d.chunk(a.Token, a.Index, e.Payload)
	case topics.ChannelReceipt:
		d.receipt(e.Payload)
	}
	return nil
}

// nextTimer is the earliest timer; the zero time if none runs.
func (d *device) nextTimer() time.Time {
	var next time.Time
	for _, t := range d.timers {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// fire runs the timers that are due.
func (d *device) fire(now time.Time) error {
	for k := range timerKinds {
		if t := d.timers[k]; t.IsZero() || t.After(now) {
			continue
		}
		d.timers[k] = time.Time{}
		var err error
		switch k {
		case timerFetch:
			err = d.fetchDue()
		case timerStep:
			d.stepDue()
			err = d.flush()
		case timerSend:
			err = d.flush()
		case timerAck:
			err = d.ackDue(now)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *device) set(k timer, after time.Duration) { d.timers[k] = time.Now().Add(after) }

func (d *device) timing() Timing { return d.fleet.config.Timing }

// between draws a duration from [low, high).
func (d *device) between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(d.rng.Int64N(int64(high-low)))
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
	e.Manifests = append([]Acknowledged(nil), e.Manifests...)
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
