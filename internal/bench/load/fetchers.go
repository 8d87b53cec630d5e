package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"fleetbridge/ident"
	"fleetbridge/internal/bench/mqtt"
	"fleetbridge/topics"
)

// rawFetcher asks the bare socket server in eight bytes: where to begin in the payload, and the size of a chunk (24 bits)
// with the number of chunks (8 bits).
type rawFetcher struct{ chunk int }

func (rawFetcher) setup(*stream) error { return nil }

func (f rawFetcher) fetch(s *stream, first, count int) error {
	var ask [8]byte
	binary.BigEndian.PutUint32(ask[:], uint32(first*f.chunk))
	binary.BigEndian.PutUint32(ask[4:], uint32(f.chunk)<<8|uint32(count))
	if _, err := s.conn.Write(ask[:]); err != nil {
		return err
	}
	return s.take(f.chunk*count, first*f.chunk)
}

// rangeFetcher asks a web server, one chunk a request: HTTP has no window.
type rangeFetcher struct {
	host, path string
	chunk      int
	ask        []byte
}

func (*rangeFetcher) setup(*stream) error { return nil }

func (f *rangeFetcher) fetch(s *stream, first, count int) error {
	for i := first; i < first+count; i++ {
		off := i * f.chunk
		f.ask = append(append(append(append(f.ask[:0], "GET "...), f.path...), " HTTP/1.1\r\nHost: "...), f.host...)
		f.ask = strconv.AppendInt(append(f.ask, "\r\nRange: bytes="...), int64(off), 10)
		f.ask = append(strconv.AppendInt(append(f.ask, '-'), int64(off+f.chunk-1), 10), "\r\n\r\n"...)
		if _, err := s.conn.Write(f.ask); err != nil {
			return err
		}
		head, err := s.httpHead()
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 206 ")) || !bytes.Contains(head, f.length()) {
			return fmt.Errorf("answered %q", head)
		}
		if err := s.take(f.chunk, off); err != nil {
			return err
		}
	}
	return nil
}

// length is the header line that a whole chunk comes with, built behind the request.
func (f *rangeFetcher) length() []byte {
	n := len(f.ask)
	f.ask = append(strconv.AppendInt(append(f.ask, "\r\nContent-Length: "...), int64(f.chunk), 10), "\r\n"...)
	return f.ask[n:]
}

// mqttFetcher is a device on a broker.
type mqttFetcher struct {
	p      *ChunkParams
	device Device
	topic  string // of fetches
	tokens uint64
	ask    []byte
}

func newMQTTFetcher(p *ChunkParams, d Device) *mqttFetcher {
	return &mqttFetcher{p: p, device: d, topic: topics.FetchTopic(p.Tenant, d.ID)}
}

// setup connects, subscribes, and says that the manifest has come.
func (f *mqttFetcher) setup(s *stream) error {
	t, d := f.p.Tenant, f.device
	b := mqtt.AppendConnect(nil, d.ID.String(), d.User, d.Token, 0)
	if _, err := s.conn.Write(b); err != nil {
		return err
	}
	if err := s.await(mqtt.Connack); err != nil {
		return err
	}
	b = mqtt.AppendSubscribe(b[:0], 1, 0, topics.ManifestTopic(t, d.ID), topics.ChunkFilter(t, d.ID))
	if _, err := s.conn.Write(b); err != nil {
		return err
	}
	if err := s.await(mqtt.Suback); err != nil {
		return err
	}
	if f.p.Manifest.IsZero() {
		return nil
	}
	report := topics.Report{Seq: uint64(time.Now().UnixMicro()), Manifest: f.p.Manifest, State: topics.WordReceived}
	body, err := topics.Encode(report, topics.CBOR)
	if err != nil {
		return err
	}
	if _, err := s.conn.Write(mqtt.AppendPublish(b[:0], topics.ReportTopic(t, d.ID), body, 2)); err != nil {
		return err
	}
	return s.await(mqtt.Puback)
}

// await passes over packets up to the one of a type, and checks the answer that it ends with.
func (s *stream) await(want byte) error {
	for {
		h, err := s.head()
		if err != nil {
			return err
		}
		if h.Type != want {
			if err := s.skip(h.Remain); err != nil {
				return err
			}
			continue
		}
		for s.w-s.r < h.Remain {
			if err := s.fill(); err != nil {
				return err
			}
		}
		body := s.buf[s.r : s.r+h.Remain]
		s.r += h.Remain
		if bad := want == mqtt.Connack && body[1] != 0 || want == mqtt.Suback && bytes.IndexByte(body[2:], 0x80) >= 0; bad {
			return fmt.Errorf("packet type %d says % x", want, body)
		}
		return nil
	}
}

func (f *mqttFetcher) fetch(s *stream, first, count int) error {
	body, err := f.request(first, count)
	if err != nil {
		return err
	}
	f.ask = mqtt.AppendPublish(f.ask[:0], f.topic, body, 0)
	if _, err := s.conn.Write(f.ask); err != nil {
		return err
	}
	for i := first; i < first+count; {
		h, err := s.head()
		if err != nil {
			return err
		}
		last := h.Topic[bytes.LastIndexByte(h.Topic, '/')+1:]
		index, isChunk := number(last)
		switch {
		case h.Type != mqtt.Publish || string(last) == "manifest":
			err = s.skip(h.Remain)
		case !isChunk:
			err = fmt.Errorf("fetch refused on %s", h.Topic)
		case index != i || h.Remain != f.p.Chunk:
			err = fmt.Errorf("chunk %d of %d bytes, want %d of %d", index, h.Remain, i, f.p.Chunk)
		default:
			i++
			err = s.take(h.Remain, index*f.p.Chunk)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// request is the body of a fetch, with a new token each time.
func (f *mqttFetcher) request(first, count int) ([]byte, error) {
	if f.p.Protocol == Broker {
		b := binary.BigEndian.AppendUint32(nil, uint32(f.p.Chunk))
		b = binary.BigEndian.AppendUint32(b, uint32(first))
		return binary.BigEndian.AppendUint32(b, uint32(count)), nil
	}
	f.tokens++
	token, err := ident.ParseToken("b" + strconv.FormatUint(f.tokens, 36))
	if err != nil {
		return nil, err
	}
	return topics.Encode(topics.Fetch{Token: token, Digest: f.p.Digest, Size: uint32(f.p.Chunk), First: uint32(first), Count: uint32(count)}, topics.CBOR)
}

// number parses decimal digits without a copy.
func number(b []byte) (int, bool) {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' || n > 1<<32 {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, len(b) > 0
}
