package load

import (
	"encoding/binary"
	"testing"
	"time"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

func reportParams(t *testing.T, f *fake, n int) ReportParams {
	return ReportParams{Target: Target{Addr: f.addr}, Tenant: tenant, Devices: devices(t, n),
		Manifest: ident.SumDigest([]byte("m")), Size: 1000, Seq: 3 << 20, Window: 3}
}

// TestReports: whatever is acknowledged has been sent, and is a report of the contract whose number rises; in a round of four
// one is received and the rest say how far the download is.
func TestReports(t *testing.T) {
	for name, rate := range map[string]float64{"window": 0, "by the clock": 5000} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			p := reportParams(t, f, 3)
			p.Rate = rate
			d := start(t, Reports, p)
			var n ReportCounts
			d.say("", &n)
			d.say("begin", &n)
			until(d, func(n ReportCounts) bool { return n.Units > 100 })
			d.say("begin", &n)
			n = until(d, func(n ReportCounts) bool { return n.Waiting == 0 })
			if err := d.hangUp(); err != nil || n.Failed > 0 {
				t.Fatalf("%+v, %v", n, err)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.messages != int(n.Units) {
				t.Errorf("%d reports sent, %d acknowledged", f.messages, n.Units)
			}
			sum := 0
			for _, dev := range p.Devices {
				b := f.published[topics.ReportTopic(tenant, dev.ID)]
				sum += len(b)
				checkReports(t, p, b)
			}
			if sum != int(n.Bytes) {
				t.Errorf("%d bytes sent, %d counted", sum, n.Bytes)
			}
		})
	}
}

// checkReports checks the bodies of one device's reports, one behind the other.
func checkReports(t *testing.T, p ReportParams, b []byte) {
	t.Helper()
	bodies, err := steps(p)
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(p.Seq); len(b) > 0; seq++ {
		size := len(bodies[seq%4])
		r, _, err := topics.DecodeReport(b[:size])
		b = b[size:]
		want := topics.Report{Seq: seq, Manifest: p.Manifest, State: topics.WordDownloading, Progress: seq % 4 * p.Size / 4}
		if seq%4 == 0 {
			want.State = topics.WordReceived
		}
		if err != nil || r.Seq != want.Seq || r.Manifest != want.Manifest || r.State != want.State || r.Progress != want.Progress {
			t.Fatalf("report is %+v, %v, want %+v", r, err, want)
		}
	}
}

// TestNumberOfAReport: it has its place whatever it is.
func TestNumberOfAReport(t *testing.T) {
	p := ReportParams{Manifest: ident.SumDigest([]byte("m")), Size: 1 << 40, Seq: 1 << 16}
	bodies, err := steps(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range []uint32{1 << 16, 1<<32 - 1} {
		for i, b := range bodies {
			binary.BigEndian.PutUint32(b[seqAt:], seq)
			if r, _, err := topics.DecodeReport(b); err != nil || r.Seq != uint64(seq) {
				t.Errorf("step %d is number %d, %v, want %d", i, r.Seq, err, seq)
			}
		}
	}
	p.Seq--
	if _, err := steps(p); err == nil {
		t.Error("a number of another length is accepted")
	}
}

// TestAckOutOfTurn: a server that acknowledges what is not due fails the benchmark.
func TestAckOutOfTurn(t *testing.T) {
	f := newFake(t)
	f.ack = func(id uint16) []uint16 {
		if id < 3 {
			return nil
		}
		return []uint16{id}
	}
	d := start(t, Reports, reportParams(t, f, 1))
	var n ReportCounts
	d.say("", &n)
	d.say("begin", &n)
	if n := until(d, func(n ReportCounts) bool { return n.Failed > 0 }); n.Units > 0 || n.Problem == "" {
		t.Errorf("%+v", n)
	}
	if err := d.hangUp(); err != nil {
		t.Error(err)
	}
}

// TestRefusedReporter: the role does not wait for a device that never connects.
func TestRefusedReporter(t *testing.T) {
	f := newFake(t)
	f.refuse = 1
	d := start(t, Reports, reportParams(t, f, 2))
	if err := <-d.ended; err == nil {
		t.Error("no error")
	}
}

func TestPace(t *testing.T) {
	began := time.Unix(100, 0)
	p := pace{began: began, rate: 1000}
	for i := range 3 {
		at, ok := p.next(began.Add(2500 * time.Microsecond))
		if want := began.Add(time.Duration(i) * time.Millisecond); !ok || !at.Equal(want) {
			t.Errorf("%d is due at %v, %v, want %v", i, at, ok, want)
		}
	}
	if _, ok := p.next(began.Add(2500 * time.Microsecond)); ok {
		t.Error("a fourth is due early")
	}
	// Whoever was stopped owes what was due meanwhile, at the times at which it was.
	if at, ok := p.next(began.Add(time.Second)); !ok || !at.Equal(began.Add(3*time.Millisecond)) {
		t.Errorf("the fourth was due at %v, %v", at, ok)
	}
}
