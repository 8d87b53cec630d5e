package simulator

import (
	"fmt"
	"time"

	"fleetbridge/topics"
)

// pending is a report that nobody has acknowledged. It lives in flash.
type pending struct {
	report topics.Report
	due    time.Time // not before; only late devices set it
	tries  int       // how often it was published

	// The rest is of the connection, not of the flash.
	ids   [2]uint16 // packet identifiers without PUBACK; the second is a duplicate's
	sent  time.Time // zero while it must be sent (again)
	acked bool      // PUBACK came, the receipt has not (Config.Receipts)
}

// maxOutbox bounds the outbox. Reports are cumulative, so the oldest one that is not final gives way.
const maxOutbox = 8

// report makes a report on the manifest of u and puts it in the outbox; flush sends it.
func (d *device) report(u *update, word topics.Word, reason topics.Reason, detail string) {
	d.flash.seq++
	r := topics.Report{Seq: d.flash.seq, Manifest: u.manifest, State: word, Reason: reason, Detail: detail,
		Boot: d.flash.boot, Receipt: d.fleet.config.Receipts}
	if u.slot != nil {
		r.Progress = uint64(u.slot.stored())
	}
	if word == topics.WordInstalled || word == topics.WordFailed {
		r.Installed = []topics.Installed{d.flash.image}
	}
	p := pending{report: r}
	if d.fault.Kind == Late {
		p.due = time.Now().Add(d.between(0, d.timing().Late))
	}
	d.makeRoom()
	d.flash.outbox = append(d.flash.outbox, p)
	d.fleet.count.reports.Add(1)
	d.note(func(e *Entry) {
		a := e.on(u.manifest)
		a.State, a.Reason = word, reason
		a.Made++
		e.Seq = d.flash.seq
		e.Installed = d.flash.image
	})
}

// makeRoom drops one report if the outbox is full.
func (d *device) makeRoom() {
	box := d.flash.outbox
	if len(box) < maxOutbox {
		return
	}
	drop := 0
	for i, p := range box {
		if !final(p.report.State) {
			drop = i
			break
		}
	}
	d.flash.outbox = append(box[:drop], box[drop+1:]...)
}

func final(w topics.Word) bool {
	return w == topics.WordInstalled || w == topics.WordFailed || w == topics.WordRejected
}

// flush sends every report that is due and not on its way.
func (d *device) flush() error {
	now := time.Now()
	d.timers[timerSend] = time.Time{}
	for i := range d.flash.outbox {
		p := &d.flash.outbox[i]
		if !p.sent.IsZero() {
			continue
		}
		if p.due.After(now) {
			if t := d.timers[timerSend]; t.IsZero() || p.due.Before(t) {
				d.timers[timerSend] = p.due
			}
			continue
		}
		if err := d.send(p, now); err != nil {
			return err
		}
	}
	return nil
}

func (d *device) send(p *pending, now time.Time) error {
	body, err := topics.Encode(p.report, d.format)
	if err != nil {
		return fmt.Errorf("send report: %w", err)
	}
	topic := topics.ReportTopic(d.id.Tenant, d.id.Device)
	copies := 1
	if d.fault.Kind == Duplicate {
		copies = 2
	}
	for i := range copies {
		if p.ids[i], err = d.conn.Publish(topic, body, 1); err != nil {
			return err
		}
	}
	if p.tries++; p.tries == 2 {
		d.fleet.count.resent.Add(1)
	}
	p.sent = now
	if d.timers[timerAck].IsZero() {
		d.set(timerAck, d.timing().AckTimeout)
	}
	return nil
}

// acked takes a PUBACK.
func (d *device) acked(id uint16) {
	if id == d.hello {
		d.helloed()
		return
	}
	for i := range d.flash.outbox {
		p := &d.flash.outbox[i]
		if p.sent.IsZero() || p.acked || p.ids[0] != id && p.ids[1] != id {
			continue
		}
		d.fleet.count.puback.add(time.Since(p.sent))
		if p.acked = true; !d.fleet.config.Receipts {
			d.settled(i)
		}
		return
	}
}

// receipt takes a receipt: whatever its verdict, the report need not come again.
func (d *device) receipt(body []byte) {
	r, _, err := topics.DecodeReceipt(body)
	if err != nil {
		return
	}
	for i := range d.flash.outbox {
		if d.flash.outbox[i].report.Seq == r.Seq {
			d.settled(i)
			return
		}
	}
}

// settled drops report i from the outbox: the server has it.
func (d *device) settled(i int) {
	r := d.flash.outbox[i].report
	d.flash.outbox = append(d.flash.outbox[:i], d.flash.outbox[i+1:]...)
	d.fleet.count.acked.Add(1)
	d.note(func(e *Entry) {
		a := e.on(r.Manifest)
		a.Count++
		if r.Seq > a.MaxSeq {
			a.MaxSeq, a.MaxState = r.Seq, r.State
		}
	})
	d.rebootIfTold()
}

func (d *device) helloed() {
	d.hello, d.good = 0, true
	d.fleet.count.hellos.Add(1)
	d.note(func(e *Entry) { e.Helloed = max(e.Helloed, d.helloSeq) })
	if !d.flash.helloed {
		d.flash.helloed = true
		d.fleet.helloed()
	}
}

// ackDue looks for what has waited too long. Without a PUBACK the connection is no good: MQTT sends again only on the
// next one [MQTT-4.4.0-1]. Without a receipt the report is sent again on this one.
func (d *device) ackDue(now time.Time) error {
	if d.hello != 0 {
		return fmt.Errorf("no PUBACK for the hello")
	}
	oldest := time.Time{}
	for i := range d.flash.outbox {
		p := &d.flash.outbox[i]
		if p.sent.IsZero() {
			continue
		}
		if now.Sub(p.sent) >= d.timing().AckTimeout {
			if !p.acked {
				return fmt.Errorf("no PUBACK for report %d", p.report.Seq)
			}
			p.sent, p.acked = time.Time{}, false
			continue
		}
		if oldest.IsZero() || p.sent.Before(oldest) {
			oldest = p.sent
		}
	}
	if !oldest.IsZero() {
		d.timers[timerAck] = oldest.Add(d.timing().AckTimeout)
	}
	return d.flush()
}

// unsent marks all reports as not on their way, at the end of a connection.
func (d *device) unsent() {
	for i := range d.flash.outbox {
		p := &d.flash.outbox[i]
		p.ids, p.sent, p.acked = [2]uint16{}, time.Time{}, false
	}
	d.timers[timerAck], d.timers[timerSend], d.timers[timerFetch] = time.Time{}, time.Time{}, time.Time{}
}
