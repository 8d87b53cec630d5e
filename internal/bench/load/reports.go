package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"fleetbridge/ident"
	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/mqtt"
	"fleetbridge/topics"
)

// ReportParams say what the role [Reports] does.
type ReportParams struct {
	Target
	Tenant  ident.Tenant `json:"tenant"`
	Devices []Device     `json:"devices"`
	// Manifest is what the devices report on, Size the bytes of its payload.
	Manifest ident.Digest `json:"manifest"`
	Size     uint64       `json:"size"`
	// Seq is the first report's number, from 65,536 on: with it all have one length.
	Seq uint32 `json:"seq"`
	// Window is how many reports of a device wait for their PUBACK.
	Window int `json:"window"`
	// Rate, in reports per second of all devices, takes the place of Window: reports go out by the clock, and latency counts
	// from when a report was due.
	Rate float64 `json:"rate,omitempty"`
}

// ReportCounts is what the role says at a mark. Units are PUBACKs, Bytes those of the reports.
type ReportCounts struct {
	bench.Counts
	Waiting int `json:"waiting"` // reports without PUBACK
}

// Reports is the role of devices that report at QoS 1, on and on, what keeps their assignment alive: received, and then
// downloading at a quarter, a half and three quarters. Of four reports two change the state, and each changes the assignment.
// The second begin is the end: nothing more is sent, and what is under way is waited for.
func Reports(ctx context.Context, w *bench.Worker) error {
	r := &reporters{ready: make(chan error, 1)}
	if err := w.Params(&r.ReportParams); err != nil {
		return err
	}
	var err error
	if r.steps, err = steps(r.ReportParams); err != nil {
		return err
	}
	if r.loop, err = r.newLoop(time.Minute); err != nil {
		return err
	}
	r.loop.Do(r.connect)
	return serveLoop(ctx, w, r.loop, r.ready, r.toggle, func() any { return r.counts() })
}

// steps are the bodies of a round of reports; seqAt is where their number is.
func steps(p ReportParams) ([][]byte, error) {
	if p.Seq < 1<<16 {
		return nil, fmt.Errorf("seq %d is less than 65,536: %w", p.Seq, errParams)
	}
	var out [][]byte
	for i := range uint64(4) {
		r := topics.Report{Seq: uint64(p.Seq), Manifest: p.Manifest, State: topics.WordDownloading, Progress: p.Size * i / 4}
		if i == 0 {
			r.State = topics.WordReceived
		}
		b, err := topics.Encode(r, topics.CBOR)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// seqAt is where the 32 bits of the number are in a report's body: after the head of the map, the key 1 and the head of the
// number.
const seqAt = 3

var errParams = errors.New("parameters that can't be used")

// reporters live on the goroutine of their loop.
type reporters struct {
	ReportParams
	loop    *mqtt.Loop
	steps   [][]byte
	devices []reporter
	ready   chan error // nil when all are connected, or the first failure
	online  int
	running bool
	waiting int
	acked   uint64
	bytes   uint64
	wrong   complaint
	took    bench.Histogram
	pace    pace
}

// reporter is one device.
type reporter struct {
	all   *reporters
	topic string
	conn  *mqtt.Conn
	seq   uint32
	sent  []sent // without PUBACK, the oldest first
}

type sent struct {
	id uint16
	at time.Time
}

func (r *reporters) connect() {
	r.devices = make([]reporter, len(r.Devices))
	for i, d := range r.Devices {
		r.devices[i] = reporter{all: r, topic: topics.ReportTopic(r.Tenant, d.ID), seq: r.Seq}
		r.devices[i].conn = r.loop.Dial(mqtt.Login{Client: d.ID.String(), User: d.User, Password: d.Token}, &r.devices[i])
	}
}

// toggle starts the reports, or ends them.
func (r *reporters) toggle() {
	r.running = !r.running
	switch {
	case !r.running:
	case r.Rate > 0:
		r.pace = pace{began: time.Now(), rate: r.Rate}
		r.beat()
	default:
		for i := range r.devices {
			for range r.Window {
				r.devices[i].report(time.Now())
			}
		}
	}
}

func (r *reporters) counts() ReportCounts {
	n := ReportCounts{Waiting: r.waiting}
	n.Units, n.Bytes, n.Quantiles = r.acked, r.bytes, r.took.Take()
	n.Failed, n.Problem = r.wrong.get()
	return n
}

// Handle takes PUBACKs, and in a window sends the next report.
func (d *reporter) Handle(c *mqtt.Conn, e mqtt.Event) {
	r := d.all
	switch e.Kind {
	case mqtt.Connected:
		if r.online++; r.online == len(r.devices) {
			r.ready <- nil
		}
	case mqtt.Acked:
		d.acked(e.ID)
		if r.running && r.Rate == 0 {
			d.report(time.Now())
		}
	case mqtt.Closed:
		d.blame(e.Err)
	}
}

// report sends the next report, which was due at a time.
func (d *reporter) report(due time.Time) {
	r := d.all
	body := r.steps[d.seq%uint32(len(r.steps))]
	binary.BigEndian.PutUint32(body[seqAt:], d.seq)
	d.seq++
	d.sent = append(d.sent, sent{d.conn.Publish(d.topic, body, 1), due})
	r.waiting++
	r.bytes += uint64(len(body))
}

// acked takes a PUBACK: they come in the order of the reports [MQTT-4.6.0-2].
func (d *reporter) acked(id uint16) {
	if len(d.sent) == 0 || d.sent[0].id != id {
		d.blame(fmt.Errorf("PUBACK of %d is none that is due: %w", id, mqtt.ErrMalformed))
		return
	}
	r := d.all
	r.took.Add(time.Since(d.sent[0].at))
	d.sent = d.sent[:copy(d.sent, d.sent[1:])]
	r.waiting--
	r.acked++
}

// blame keeps what no report makes good; before all are connected it is the end.
func (d *reporter) blame(err error) {
	r, err := d.all, fmt.Errorf("%s: %w", d.topic, err)
	if r.wrong.add(err); r.online < len(r.devices) {
		select {
		case r.ready <- err:
		default: // there was one before
		}
	}
}
