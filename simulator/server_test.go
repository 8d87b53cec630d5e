package simulator_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"fleetbridge/ident"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// server is a scripted MQTT 3.1.1 server: it keeps one retained manifest for all devices, serves fetches of one payload,
// and records what it got. The script is in its functions; nil ones mean the well-behaved server.
type server struct {
	t        *testing.T
	manifest []byte
	payload  []byte
	others   map[ident.Digest][]byte // payloads by digest, before payload

	ack   func(c *session, topic string, body []byte) bool // false: no PUBACK
	chunk func(c *session, index uint32) (send bool)       // false: lost on the way
	fetch func(c *session, f topics.Fetch) (served bool)   // true: the script answered it

	mu      sync.Mutex
	conns   []*session
	hellos  []topics.Hello
	reports []topics.Report // every copy, in order of arrival
	chunks  map[uint32]int  // sent, by index
	fetches []topics.Fetch
	wg      sync.WaitGroup
}

// session is one connection at the server.
type session struct {
	s    *server
	conn net.Conn
	out  chan []byte
	done chan struct{}
	base string // fleet/v1/T/device/D/
	n    int    // connections before this one
}

func newServer(t *testing.T, manifest, payload []byte) *server {
	return &server{t: t, manifest: manifest, payload: payload, chunks: make(map[uint32]int)}
}

func (s *server) dial(context.Context) (net.Conn, error) {
	client, conn := net.Pipe()
	c := &session{s: s, conn: conn, out: make(chan []byte, 4096), done: make(chan struct{})}
	s.mu.Lock()
	c.n = len(s.conns)
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	s.wg.Go(c.read)
	s.wg.Go(c.write)
	return client, nil
}

func (c *session) write() {
	for {
		select {
		case b := <-c.out:
			if _, err := c.conn.Write(b); err != nil {
				return
			}
		case <-c.done:
			return
		}
	}
}

func (c *session) send(b []byte) {
	select {
	case c.out <- b:
	default:
		c.s.t.Error("the server's queue is full")
	}
}

func (c *session) publish(topic string, payload []byte, retain bool) {
	first := byte(0x30)
	if retain {
		first |= 1
	}
	b := varint([]byte{first}, 2+len(topic)+len(payload))
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(topic))), topic...)
	c.send(append(b, payload...))
}

// offer puts the manifest on the device's topic now, as a re-offer does.
func (c *session) offer(envelope []byte) { c.publish(c.base+"manifest", envelope, false) }

func varint(b []byte, n int) []byte {
	for ; n > 127; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

func (c *session) read() {
	defer close(c.done)
	defer c.conn.Close()
	for {
		first, body, err := readPacket(c.conn)
		if err != nil {
			return
		}
		switch first >> 4 {
		case 1:
			c.send([]byte{0x20, 2, 0, 0})
		case 3:
			c.published(first, body)
		case 8:
			c.subscribed(body)
		case 12:
			c.send([]byte{0xd0, 0})
		case 14:
			return
		}
	}
}

func readPacket(r io.Reader) (byte, []byte, error) {
	var b [1]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, nil, err
	}
	first, n := b[0], 0
	for shift := 0; ; shift += 7 {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return 0, nil, err
		}
		n |= int(b[0]&0x7f) << shift
		if b[0]&0x80 == 0 {
			break
		}
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return first, body, err
}

func (c *session) subscribed(body []byte) {
	id, rest, n := body[:2], body[2:], 0
	var filters []string
	for len(rest) > 0 {
		l := int(binary.BigEndian.Uint16(rest))
		filters = append(filters, string(rest[2:2+l]))
		rest = rest[3+l:]
		n++
	}
	c.send(append([]byte{0x90, byte(2 + n), id[0], id[1]}, make([]byte, n)...))
	for _, f := range filters {
		if base, ok := strings.CutSuffix(f, "manifest"); ok {
			c.base = base
			c.s.mu.Lock()
			m := c.s.manifest
			c.s.mu.Unlock()
			if len(m) > 0 {
				c.publish(f, m, true)
			}
		}
	}
}

func (c *session) published(first byte, body []byte) {
	l := int(binary.BigEndian.Uint16(body))
	topic, body := string(body[2:2+l]), body[2+l:]
	var id []byte
	if first&6 != 0 {
		id, body = body[:2], body[2:]
	}
	ack := c.s.take(c, topic, body)
	if id != nil && ack {
		c.send([]byte{0x40, 2, id[0], id[1]})
	}
}

// take records a message; it says whether a PUBACK is due.
func (s *server) take(c *session, topic string, body []byte) bool {
	a, err := topics.Parse(topic)
	if err != nil {
		s.t.Errorf("device published on %q: %v", topic, err)
		return true
	}
	if s.ack != nil && !s.ack(c, topic, body) {
		return false
	}
	switch a.Channel {
	case topics.ChannelHello:
		h, _, err := topics.DecodeHello(body)
		s.must(err)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hellos = append(s.hellos, h)
	case topics.ChannelReport:
		r, _, err := topics.DecodeReport(body)
		s.must(err)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reports = append(s.reports, r)
	case topics.ChannelFetch:
		f, _, err := topics.DecodeFetch(body)
		s.must(err)
		s.serve(c, f)
	default:
		s.t.Errorf("device published on %q", topic)
	}
	return true
}

func (s *server) must(err error) {
	if err != nil {
		s.t.Errorf("decode a device's message: %v", err)
	}
}

func (s *server) serve(c *session, f topics.Fetch) {
	s.mu.Lock()
	s.fetches = append(s.fetches, f)
	s.mu.Unlock()
	if s.fetch != nil && s.fetch(c, f) {
		return
	}
	payload, ok := s.others[f.Digest]
	if !ok {
		payload = s.payload
	}
	for i := range f.Count {
		if len(f.Bitmap) > 0 && f.Bitmap[i/8]>>(i%8)&1 == 0 {
			continue
		}
		index := f.First + i
		if s.chunk != nil && !s.chunk(c, index) {
			continue
		}
		start := int(index) * int(f.Size)
		end := min(start+int(f.Size), len(payload))
		s.mu.Lock()
		s.chunks[index]++
		s.mu.Unlock()
		c.publish(fmt.Sprintf("%schunk/%s/%d", c.base, f.Token, index), payload[start:end], false)
	}
}

// words are the states that were reported, repeats of a sequence number left out.
func (s *server) words() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[uint64]bool)
	var w []string
	for _, r := range s.reports {
		if seen[r.Seq] {
			continue
		}
		seen[r.Seq] = true
		word := string(r.State)
		if r.Reason != "" {
			word += ":" + string(r.Reason)
		}
		w = append(w, word)
	}
	return strings.Join(w, " ")
}

func (s *server) last() topics.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.reports) == 0 {
		return topics.Report{}
	}
	return s.reports[len(s.reports)-1]
}

func (s *server) setManifest(m []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.manifest = m
}

// run gives the fleet power in a bubble until do returns, then waits for all of its goroutines.
func run(t *testing.T, s *server, f *simulator.Fleet, do func(ctx context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	do(ctx)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	s.wg.Wait()
	synctest.Wait()
}
