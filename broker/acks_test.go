package broker_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"fleetbridge/broker"
	"fleetbridge/link"
)

// holding makes the handler keep what it gets; held waits for n messages.
func (s *bench) holding() {
	s.h.answerWith(func(link.Inbound) {})
}

func (s *bench) held(t testing.TB, n int) []link.Inbound {
	t.Helper()
	var all []link.Inbound
	for range n {
		all = append(all, s.h.next(t))
	}
	return all
}

// wantPubacks reads PUBACKs of these packet identifiers, in order, and no others before them.
func (c *raw) wantPubacks(t testing.TB, ids ...uint16) {
	t.Helper()
	for _, id := range ids {
		if p := c.want(tPuback); binary.BigEndian.Uint16(p.body) != id {
			t.Fatalf("PUBACK of %d, want %d", binary.BigEndian.Uint16(p.body), id)
		}
	}
}

// reports are n reports in one segment.
func (c *raw) reports(from, n int) []byte {
	var b []byte
	for i := range n {
		b = append(b, c.publishBytes(2, report, uint16(from+i), fmt.Append(nil, from+i))...)
	}
	return b
}

// Up to 32 messages are handed over before the first is answered, and no more; PUBACKs come in the order of the messages,
// whatever the order in which, and the goroutines from which, they are answered [MQTT-4.6.0-2].
func TestAcksComeInOrder(t *testing.T) {
	s := start(t)
	s.holding()
	for _, version := range []byte{v4, v5} {
		c := s.client(version, "acme/d1")
		const n = 200
		c.write(c.reports(1, n))
		next := uint16(1)
		for left := n; left > 0; {
			batch := s.held(t, min(left, 32))
			c.ping0(t) // the reader waits: nothing after the 32 is read, a PINGREQ neither
			s.h.empty(t)
			for i, in := range batch {
				if string(in.Payload) != fmt.Sprint(int(next)+i) {
					t.Fatalf("payload %q, want %d", in.Payload, int(next)+i)
				}
			}
			rand.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
			var wg sync.WaitGroup
			for _, in := range batch {
				wg.Go(func() { in.Ack.Done(link.Success) })
			}
			wg.Wait()
			for range batch {
				c.wantPubacks(t, next)
				next++
			}
			left -= len(batch)
		}
		c.ping()
	}
}

// ping0 looks that nothing is there to read yet.
func (c *raw) ping0(t testing.TB) {
	t.Helper()
	if n := c.r.Buffered(); n != 0 {
		t.Fatalf("%d bytes came before an answer", n)
	}
}

// Before the oldest message is answered no PUBACK goes out, although all others are.
func TestAcksWaitForTheOldest(t *testing.T) {
	s := start(t)
	s.holding()
	c := s.client(v5, "acme/d1")
	c.write(c.reports(1, 5))
	all := s.held(t, 5)
	for _, in := range all[1:] {
		in.Ack.Done(link.QuotaExceeded)
	}
	c.ping() // it would read a PUBACK before PINGRESP
	all[0].Ack.Done(link.Success)
	c.wantPubacks(t, 1, 2, 3, 4, 5)
}

// What comes after a refused message is not acknowledged, be it answered before or after the refusal.
func TestNothingAfterARefusedMessageIsAcknowledged(t *testing.T) {
	s := start(t)
	for _, version := range []byte{v4, v5} {
		s.holding()
		c := s.client(version, "acme/d1")
		c.write(c.reports(1, 6))
		all := s.held(t, 6)
		all[4].Ack.Done(link.Success)
		all[0].Ack.Done(link.Success)
		c.wantPubacks(t, 1)
		all[2].Ack.Refuse(errStore)
		all[1].Ack.Done(link.Success)
		all[3].Ack.Done(link.Success)
		all[5].Ack.Done(link.Success)
		for _, p := range c.wantEnd() {
			if p.kind() == tPuback && binary.BigEndian.Uint16(p.body) != 2 {
				t.Errorf("version %d: PUBACK of %d", version, binary.BigEndian.Uint16(p.body))
			}
			if p.kind() == tDisconnect && (version == v4 || p.body[0] != 0x89) {
				t.Errorf("version %d: got %v", version, p)
			}
		}
		eventually(t, "the connection has ended", func() bool { return s.b.Stats().Sockets == 0 })
	}
}

// A denied message is answered in its place.
func TestDenialKeepsItsPlace(t *testing.T) {
	s := start(t)
	s.holding()
	c := s.client(v5, "acme/d1")
	b := c.reports(1, 1)
	b = append(b, c.publishBytes(2, "fleet/v1/acme/device/d2/report", 2, nil)...)
	b = append(b, c.reports(3, 1)...)
	c.write(b)
	all := s.held(t, 2)
	all[1].Ack.Done(link.Success)
	c.ping()
	all[0].Ack.Done(link.Success)
	c.wantPubacks(t, 1)
	if p := c.want(tPuback); len(p.body) != 3 || p.body[2] != 0x87 {
		t.Errorf("got %v, want PUBACK 0x87", p)
	}
	c.wantPubacks(t, 3)
}

// A message is its handler's until it is answered, however much was read after it.
func TestPayloadIsValidUntilDone(t *testing.T) {
	s := start(t)
	s.holding()
	c := s.client(v4, "acme/d1")
	c.write(c.publishBytes(2, report, 1, []byte("first")))
	in := s.h.next(t)
	for i := range 20 {
		c.write(c.publishBytes(2, report, uint16(2+i), make([]byte, 10_000)))
	}
	all := s.held(t, 20)
	if string(in.Payload) != "first" || in.Topic != report {
		t.Errorf("got %q on %s", in.Payload, in.Topic)
	}
	for _, in := range append(all, in) {
		in.Ack.Done(link.Success)
	}
}

// A connection that ends with messages in hand is taken over only when they are answered, as before.
func TestEndWaitsForMessagesInHand(t *testing.T) {
	s := start(t)
	s.holding()
	c := s.client(v5, "acme/d1")
	c.write(c.reports(1, 3))
	all := s.held(t, 3)
	if err := c.conn.Close(); err != nil {
		t.Fatal(err)
	}
	again := s.dial(v5)
	again.write(again.connectBytes(login{user: "acme/d1", password: "secret", id: "d1"}))
	other := s.client(v4, "acme/d2")
	for range 20 {
		other.ping()
	}
	again.ping0(t)
	for i := range all {
		all[len(all)-1-i].Ack.Done(link.Success)
	}
	again.want(tConnack)
}

// A client that doesn't read its PUBACKs holds up nobody who says Done, and is closed after the write deadline.
func TestDoneDoesNotWaitForASlowReader(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.WriteDeadline = 300 * time.Millisecond })
	s.holding()
	c := s.client(v5, "acme/d1")
	c.write(c.publishBytes(0, fetch, 0, nil))
	in := s.h.next(t)
	in.Ack.Done(link.Success)
	c.write(c.reports(1, 32))
	all := s.held(t, 32)
	run := link.Run{Prefix: "fleet/v1/acme/device/d1/chunk/t/", Parts: make([]link.Part, 64)}
	for i := range run.Parts {
		run.Parts[i].Payload = make([]byte, 64<<10)
	}
	eventually(t, "the socket is full", func() bool {
		n, err := in.Reply.TrySendRun(run)
		return n == 0 || err != nil
	})
	for _, in := range all {
		in.Ack.Done(link.Success)
	}
	other := s.client(v4, "acme/d2")
	s.h.answerWith(nil)
	other.publish1("fleet/v1/acme/device/d2/report", "r")
	eventually(t, "the client is closed", func() bool {
		_, _ = in.Reply.TrySendRun(run) // until something is under way that it doesn't read
		return s.b.Stats().Sockets == 1
	})
}

// A panic of the handler ends its connection, and nobody waits for the message.
func TestPanicOfTheHandler(t *testing.T) {
	s := start(t)
	s.h.answerWith(func(link.Inbound) { panic("boom") })
	c := s.client(v5, "acme/d1")
	c.write(c.reports(1, 1))
	c.wantEnd()
	eventually(t, "the connection has ended", func() bool { return s.b.Stats().Sockets == 0 })
	if n := s.b.Stats().Panics; n != 1 {
		t.Errorf("%d panics", n)
	}
}

// Packets are found however the stream is cut, and many in one segment.
func TestFragments(t *testing.T) {
	s := start(t)
	for _, version := range []byte{v4, v5} {
		c := s.client(version, "acme/d1")
		var stream []byte
		stream = append(stream, c.publishBytes(2, report, 7, []byte("r"))...)
		stream = append(stream, c.subscribeBytes("fleet/v1/acme/device/d1/permit", 0)...)
		stream = append(stream, c.publishBytes(0, fetch, 0, make([]byte, 300))...)
		stream = append(stream, tPingreq<<4, 0)
		stream = append(stream, c.publishBytes(2, report, 8, make([]byte, 20_000))...)
		for _, cut := range []int{1, 2, 3, 7, 100, 5000, len(stream)} {
			for at := 0; at < len(stream); at += cut {
				if cut == 1 && at > 400 {
					cut = 1000
				}
				c.write(stream[at:min(at+cut, len(stream))])
			}
			var kinds, ids [16]int
			for i := range 4 { // a SUBACK or PINGRESP may overtake a PUBACK
				p, err := c.read()
				if err != nil {
					t.Fatalf("cut at %d: answer %d: %v", cut, i, err)
				}
				kinds[p.kind()]++
				if p.kind() == tPuback {
					ids[kinds[tPuback]] = int(p.body[1])
				}
			}
			if kinds[tSuback] != 1 || kinds[tPingresp] != 1 || ids[1] != 7 || ids[2] != 8 {
				t.Fatalf("cut at %d: got %v, PUBACKs %v", cut, kinds, ids)
			}
			for _, want := range []int{1, 300, 20_000} {
				if in := s.h.next(t); len(in.Payload) != want {
					t.Errorf("payload of %d bytes, want %d", len(in.Payload), want)
				}
			}
		}
		if err := c.conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A message of any size up to the limit arrives whole; one byte more ends the connection.
func TestLargestPacket(t *testing.T) {
	s := start(t)
	c := s.client(v5, "acme/d1")
	most := 260<<10 - 1 - 2 - len(report) - 2 - 1 // of the packet without the length of its length
	for _, size := range []int{4 << 10, 100_000, most} {
		if code := c.publish1(report, string(make([]byte, size))); code != 0 {
			t.Errorf("%d bytes: PUBACK %#x", size, code)
		}
		if in := s.h.next(t); len(in.Payload) != size {
			t.Errorf("handler got %d bytes of %d", len(in.Payload), size)
		}
	}
	_ = c.tryWrite(c.publishBytes(2, report, 9, make([]byte, most+1))) // it is closed by the header
	if got := c.wantEnd(); len(got) > 1 || len(got) == 1 && got[0].body[0] != 0x95 {
		t.Errorf("got %v, want DISCONNECT 0x95", got)
	}
}

// A client that sends nothing for one and a half keepalives is closed [MQTT-3.1.2-22], one that pings is not.
func TestKeepAlive(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 8 s")
	}
	t.Parallel()
	s := start(t)
	silent, pinging := s.dial(v5), s.dial(v5)
	for i, c := range []*raw{silent, pinging} {
		if code, _ := c.connect(login{user: "acme/d1", password: "secret", id: fmt.Sprint(i), keepAlive: 5}); code != 0 {
			t.Fatalf("CONNACK %#x", code)
		}
	}
	begin := time.Now()
	go func() {
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for range 6 {
			<-tick.C
			if pinging.tryWrite([]byte{tPingreq << 4, 0}) != nil {
				return
			}
		}
	}()
	silent.wantEnd()
	if d := time.Since(begin); d < 7*time.Second {
		t.Errorf("closed after %v", d)
	}
	for range 6 {
		pinging.want(tPingresp)
	}
}

// BenchmarkReports shows what a report costs that is answered at once, in windows of 1 and 8, client and kernel included.
func BenchmarkReports(b *testing.B) {
	for _, window := range []int{1, 8} {
		for name, later := range map[string]bool{"inline": false, "later": true} {
			b.Run(fmt.Sprintf("window=%d/%s", window, name), func(b *testing.B) { reports(b, window, later) })
		}
	}
}

func reports(b *testing.B, window int, later bool) {
	s := startUnserved(b)
	done := make(chan link.Ack, 1024)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { _ = s.b.Serve(ctx, answering{done, later}) }()
	go func() {
		for a := range done {
			a.Done(link.Success)
		}
	}()
	<-s.b.Serving()
	c := s.client(v4, "acme/d1")
	var sent []byte
	for i := range window {
		sent = append(sent, c.publishBytes(2, report, uint16(1+i), make([]byte, 150))...)
	}
	got := make([]byte, 4*window)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.conn.Write(sent); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c.r, got); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*window), "ns/report")
}

// answering answers at once, or has another goroutine do it.
type answering struct {
	done  chan<- link.Ack
	later bool
}

func (a answering) Handle(_ context.Context, in link.Inbound) {
	if a.later {
		a.done <- in.Ack
		return
	}
	in.Ack.Done(link.Success)
}
