package simulator

import (
	"errors"
	"fmt"
	"time"

	"fleetbridge/simulator/lean"
	"fleetbridge/topics"
)

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
	if d.fleet.config.Permits {
		filters = append(filters, topics.PermitTopic(t, id))
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
		if u.stage == topics.WordDownloaded {
			d.ask(u) // what was answered since may be lost
		}
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
	if !m.Terse {
		for _, a := range d.anchors {
			h.Algs = append(h.Algs, int64(a.Alg))
		}
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
	case topics.ChannelPermit:
		return d.permit(e.Payload)
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
