package load

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"fleetbridge/internal/bench/mqtt"
)

// streamBuffer is what a device reads at a time, at most.
const streamBuffer = 64 << 10

// stream is what comes over a connection, read in large pieces. The bytes of the payload are looked at where they lie.
type stream struct {
	conn    net.Conn
	payload []byte
	buf     []byte
	r, w    int // the unread bytes are buf[r:w]
}

func newStream(conn net.Conn, payload []byte) *stream {
	return &stream{conn: conn, payload: payload, buf: make([]byte, streamBuffer)}
}

// fill reads once, behind what is unread.
func (s *stream) fill() error {
	switch {
	case s.r == s.w:
		s.r, s.w = 0, 0
	case s.w == len(s.buf):
		if s.r == 0 {
			return errors.New("a head larger than the buffer")
		}
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
	}
	n, err := s.conn.Read(s.buf[s.w:])
	s.w += n
	if n > 0 {
		return nil
	}
	return err
}

// skip takes n bytes that nobody wants.
func (s *stream) skip(n int) error {
	for {
		have := min(n, s.w-s.r)
		s.r += have
		if n -= have; n == 0 {
			return nil
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// take takes n bytes of the payload from off on, and compares the ends of every piece that comes.
func (s *stream) take(n, off int) error {
	for n > 0 {
		if s.r == s.w {
			if err := s.fill(); err != nil {
				return err
			}
		}
		piece := s.buf[s.r:min(s.w, s.r+n)]
		if !same(piece, s.payload[off:off+len(piece)]) {
			return fmt.Errorf("wrong bytes at %d of the payload", off)
		}
		s.r += len(piece)
		n -= len(piece)
		off += len(piece)
	}
	return nil
}

// same compares the first and the last bytes of two slices of one length: cheap, and a wrong chunk does not pass, since no
// two places of the payload are alike.
func same(a, b []byte) bool {
	const ends = 16
	if len(a) <= 2*ends {
		return bytes.Equal(a, b)
	}
	n := len(a) - ends
	return bytes.Equal(a[:ends], b[:ends]) && bytes.Equal(a[n:], b[n:])
}

// head reads the next head of an MQTT packet; its topic is valid until the next call.
func (s *stream) head() (mqtt.Head, error) {
	for {
		h, n, err := mqtt.Parse(s.buf[s.r:s.w])
		if err != nil {
			return h, err
		}
		if n > 0 {
			s.r += n
			return h, nil
		}
		if err := s.fill(); err != nil {
			return h, err
		}
	}
}

// httpHead reads up to and with the empty line that ends an HTTP head; valid until the next call.
func (s *stream) httpHead() ([]byte, error) {
	for seen := 0; ; {
		if i := bytes.Index(s.buf[s.r+seen:s.w], []byte("\r\n\r\n")); i >= 0 {
			h := s.buf[s.r : s.r+seen+i+4]
			s.r += len(h)
			return h, nil
		}
		seen = max(0, s.w-s.r-3)
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}
