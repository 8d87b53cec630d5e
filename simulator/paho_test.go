package simulator_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

// server5 is the least MQTT 5 server that takes one device through an update.
type server5 struct {
	t        *testing.T
	manifest []byte
	payload  []byte

	mu      sync.Mutex
	words   []string
	formats map[topics.Format]int
	connect *packets.Connect
	wg      sync.WaitGroup
}

func (s *server5) dial(context.Context) (net.Conn, error) {
	client, conn := net.Pipe()
	out := make(chan *packets.ControlPacket, 256)
	s.wg.Go(func() {
		defer close(out)
		for {
			p, err := packets.ReadPacket(conn)
			if err != nil {
				return
			}
			for _, answer := range s.answer(p) {
				out <- answer
			}
		}
	})
	s.wg.Go(func() {
		defer conn.Close()
		for p := range out {
			if _, err := p.WriteTo(conn); err != nil {
				break
			}
		}
		for range out { // the reader ends when the client closes
		}
	})
	return client, nil
}

func (s *server5) answer(p *packets.ControlPacket) []*packets.ControlPacket {
	switch c := p.Content.(type) {
	case *packets.Connect:
		s.mu.Lock()
		s.connect = c
		s.mu.Unlock()
		return []*packets.ControlPacket{packets.NewControlPacket(packets.CONNACK)}
	case *packets.Subscribe:
		a := packets.NewControlPacket(packets.SUBACK)
		a.Content.(*packets.Suback).PacketID = c.PacketID
		a.Content.(*packets.Suback).Reasons = make([]byte, len(c.Subscriptions))
		m := message(c.Subscriptions[0].Topic, s.manifest)
		m.Content.(*packets.Publish).Retain = true
		return []*packets.ControlPacket{m, a}
	case *packets.Publish:
		answers := s.published(c)
		if c.QoS == 1 {
			a := packets.NewControlPacket(packets.PUBACK)
			a.Content.(*packets.Puback).PacketID = c.PacketID
			answers = append(answers, a)
		}
		return answers
	}
	return nil
}

func (s *server5) published(p *packets.Publish) []*packets.ControlPacket {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := topics.Parse(p.Topic)
	if err != nil {
		s.t.Errorf("topic %q: %v", p.Topic, err)
		return nil
	}
	s.formats[topics.FormatOf(p.Payload)]++
	switch a.Channel {
	case topics.ChannelReport:
		r, _, err := topics.DecodeReport(p.Payload)
		if err != nil {
			s.t.Error(err)
		}
		s.words = append(s.words, string(r.State))
	case topics.ChannelFetch:
		f, _, err := topics.DecodeFetch(p.Payload)
		if err != nil {
			s.t.Error(err)
			return nil
		}
		var chunks []*packets.ControlPacket
		for i := f.First; i < f.First+f.Count; i++ {
			from := int(i * f.Size)
			chunks = append(chunks, message(topics.ChunkTopic(a.Tenant, a.Device, f.Token, i), s.payload[from:min(from+int(f.Size), len(s.payload))]))
		}
		return chunks
	}
	return nil
}

func message(topic string, payload []byte) *packets.ControlPacket {
	m := packets.NewControlPacket(packets.PUBLISH)
	m.Content.(*packets.Publish).Topic = topic
	m.Content.(*packets.Publish).Payload = payload
	return m
}

// A device of the sample speaks MQTT 5 through paho.golang with JSON bodies, and takes an update all the same.
func TestPahoDeviceTakesAnUpdate(t *testing.T) {
	b := newBench(t, 10_000)
	s := &server5{t: t, manifest: b.manifest, payload: b.payload, formats: make(map[topics.Format]int)}
	b.config.Dial, b.config.PahoEvery = s.dial, 1
	b.config.Timing.Spread, b.config.Timing.Install, b.config.Timing.Reboot = time.Millisecond, time.Millisecond, time.Millisecond
	f := b.fleet(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	// A real clock, for paho's own timers: poll until the device is through.
	for f.Stats().Acknowledged < 8 {
		select {
		case <-ctx.Done():
			t.Fatalf("timed out: %v, %+v", s.words, f.Stats())
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	s.wg.Wait()
	counts := make(map[string]int)
	for _, w := range s.words {
		counts[w]++
	}
	for _, w := range strings.Fields(happy) { // paho sends from several goroutines, so the order may differ
		if counts[w] == 0 {
			t.Errorf("no report %q in %v", w, s.words)
		}
	}
	e := f.Ledger()[0]
	if !e.Paho || e.Installed.Digest != ident.SumDigest(b.payload) {
		t.Errorf("ledger %+v", e)
	}
	if s.formats[topics.CBOR] != 0 || s.formats[topics.JSON] == 0 {
		t.Errorf("formats %v, want JSON only", s.formats)
	}
	if s.connect.ProtocolVersion != 5 || s.connect.ClientID != "d-0000" || s.connect.Username != "acme/d-0000" || string(s.connect.Password) != "secret" {
		t.Errorf("CONNECT %+v", s.connect)
	}
}
