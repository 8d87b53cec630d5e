package broker_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"fleetbridge/broker"
	"fleetbridge/link"
)

const fetch = "fleet/v1/acme/device/d1/fetch"

// replier connects a device with small socket buffers and returns what answers it.
func (s *bench) replier(t testing.TB, version byte) (*raw, link.Replier) {
	t.Helper()
	d := net.Dialer{}
	nc, err := d.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	c := newRaw(t, nc, version)
	if code, _ := c.connect(login{user: "acme/d1", password: "secret", id: "d1"}); code != 0 {
		t.Fatalf("CONNACK %#x", code)
	}
	c.write(c.publishBytes(0, fetch, 0, nil))
	return c, s.h.next(t).Reply
}

// A socket that is full takes a part of a packet. The packet is finished behind the caller's back, other packets come after it,
// and the payload is the caller's at once.
func TestTrySendRunIsCutInAPacket(t *testing.T) {
	s := start(t)
	for _, version := range []byte{v4, v5} {
		c, reply := s.replier(t, version)
		const size = 50_000
		payload := make([]byte, size)
		var sums [][sha256.Size]byte
		c.r.Reset(c.conn)
		for i := range 500 {
			binary.BigEndian.PutUint32(payload, uint32(i))
			sum := sha256.Sum256(payload)
			n, err := reply.TrySendRun(link.Run{Prefix: "fleet/v1/acme/device/d1/chunk/t/", Parts: []link.Part{{Index: uint32(i), Payload: payload}}})
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
			sums = append(sums, sum)
			clear(payload[:4]) // ours again
		}
		if len(sums) == 0 || len(sums) == 500 {
			t.Fatalf("the socket took %d packets", len(sums))
		}
		go func() { // waits for the cut packet
			_ = reply.Send(context.Background(), link.Message{Topic: "fleet/v1/acme/device/d1/permit", Payload: []byte("after")})
		}()
		for i, want := range sums {
			if m := c.next(); sha256.Sum256([]byte(m.payload)) != want || m.topic != fmt.Sprint("fleet/v1/acme/device/d1/chunk/t/", i) {
				t.Fatalf("version %d: packet %d of %d is not what was sent: %s", version, i, len(sums), m.topic)
			}
		}
		if m := c.next(); m.payload != "after" {
			t.Errorf("got %s", m.topic)
		}
		if err := c.conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A client that never reads the rest of a cut packet is closed after the write deadline.
func TestCutPacketHasADeadline(t *testing.T) {
	s := start(t, func(o *broker.Options) { o.WriteDeadline = 100 * time.Millisecond })
	_, reply := s.replier(t, v4)
	run := link.Run{Prefix: "fleet/v1/acme/device/d1/chunk/t/", Parts: make([]link.Part, 200)}
	for i := range run.Parts {
		run.Parts[i].Payload = make([]byte, 64<<10)
	}
	eventually(t, "the client is closed", func() bool {
		_, err := reply.TrySendRun(run)
		return err != nil && s.b.Stats().Sockets == 0
	})
}

// BenchmarkTrySendRun shows what a window of chunks costs the server, kernel included, and that nothing is allocated for it.
func BenchmarkTrySendRun(b *testing.B) {
	s := start(b)
	c, reply := s.replier(b, v4)
	if err := c.conn.(*net.TCPConn).SetReadBuffer(4 << 20); err != nil {
		b.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, c.conn) }()
	run := link.Run{Prefix: "fleet/v1/acme/device/d1/chunk/t/", Parts: make([]link.Part, 8)}
	for i := range run.Parts {
		run.Parts[i] = link.Part{Index: uint32(i), Payload: make([]byte, 16<<10)}
	}
	b.SetBytes(8 * 16 << 10)
	b.ReportAllocs()
	for b.Loop() {
		rest := run
		for len(rest.Parts) > 0 {
			n, err := reply.TrySendRun(rest)
			if err == nil && n == 0 {
				n, err = 1, reply.SendRun(context.Background(), link.Run{Prefix: rest.Prefix, Parts: rest.Parts[:1]})
			}
			if err != nil {
				b.Fatal(err)
			}
			rest.Parts = rest.Parts[n:]
		}
	}
}
