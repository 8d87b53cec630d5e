package lean_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fleetbridge/simulator/lean"
)

// peer is the other end of a client's connection. Its reads are the client's bytes; it answers when told.
type peer struct {
	t    *testing.T
	conn net.Conn
}

// connect gives a client that is connected to a peer, and the peer.
func connect(t *testing.T, o lean.Options) (*lean.Client, peer) {
	t.Helper()
	client, server := net.Pipe()
	p := peer{t, server}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.read()
		p.write("\x20\x02\x00\x00")
	}()
	c, err := lean.Connect(t.Context(), client, o)
	if err != nil {
		t.Fatal(err)
	}
	<-done
	t.Cleanup(func() { c.Abort(); server.Close() })
	return c, p
}

func (p peer) read() []byte {
	b := make([]byte, 4096)
	n, err := p.conn.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		p.t.Errorf("read: %v", err)
	}
	return b[:n]
}

func (p peer) write(s string) {
	if _, err := io.WriteString(p.conn, s); err != nil {
		p.t.Errorf("write: %v", err)
	}
}

func TestConnectRefused(t *testing.T) {
	for code, want := range map[string]string{"\x05": "not authorized", "\x04": "bad user name", "\x63": "code 99"} {
		client, server := net.Pipe()
		p := peer{t, server}
		go func() { p.read(); p.write("\x20\x02\x00" + code) }()
		c, err := lean.Connect(t.Context(), client, lean.Options{ClientID: "d"})
		var refused *lean.RefusedError
		if c != nil || !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("code % x: %v", code, err)
		}
		if _, err := server.Write([]byte{0}); err == nil {
			t.Error("the refused connection is open")
		}
	}
}

func TestConnectWrongAnswer(t *testing.T) {
	for _, answer := range []string{"\x40\x02\x00\x01", "\x20\x02\x01\x00", "\x20\x03\x00\x00\x00", "HTTP/1.1 400 Bad Request", "\x30\x04\x00\x01ax"} {
		client, server := net.Pipe()
		p := peer{t, server}
		go func() {
			p.read()
			// The client may hang up after the first bytes; that is what is tested.
			_, _ = io.WriteString(server, answer)
		}()
		if c, err := lean.Connect(t.Context(), client, lean.Options{ClientID: "d"}); c != nil || !errors.Is(err, lean.ErrMalformed) {
			t.Errorf("% x: %v", answer, err)
		}
		server.Close()
	}
}

func TestConnectTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		p := peer{t, server}
		go p.read()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := lean.Connect(ctx, client, lean.Options{ClientID: "d"}); err == nil {
			t.Error("connected to a server that says nothing")
		}
	})
}

func TestConnectEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer server.Close()
		p := peer{t, server}
		go p.read()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := lean.Connect(ctx, client, lean.Options{ClientID: "d"}); err == nil {
			t.Error("connected to a server that says nothing")
		}
	})
}

// Packets of all sizes, cut into pieces at every border, and several in one piece.
func TestMessagesInPieces(t *testing.T) {
	message := func(n int) string {
		body := "\x00\x03t/a" + strings.Repeat("x", n)
		head := []byte{0x30}
		for l := len(body); ; {
			d := byte(l & 0x7f)
			if l >>= 7; l == 0 {
				head = append(head, d)
				break
			}
			head = append(head, d|0x80)
		}
		return string(head) + body
	}
	sizes := []int{0, 1, 120, 400, 505, 506, 507, 508, 600, 5000}
	all := ""
	for _, n := range sizes {
		all += message(n)
	}
	for _, piece := range []int{1, 2, 3, 5, 64, 511, 512, 513, 1000, len(all)} {
		c, p := connect(t, lean.Options{ClientID: "d"})
		go func() {
			for rest := all; rest != ""; {
				n := min(piece, len(rest))
				p.write(rest[:n])
				rest = rest[n:]
			}
		}()
		for _, n := range sizes {
			e, err := c.Next(time.Now().Add(10 * time.Second))
			if err != nil || e.Kind != lean.Message || string(e.Topic) != "t/a" || !bytes.Equal(e.Payload, bytes.Repeat([]byte("x"), n)) {
				t.Fatalf("pieces of %d, message of %d: %d bytes, %v", piece, n, len(e.Payload), err)
			}
		}
	}
}

// A deadline in the middle of a packet loses nothing.
func TestDeadlineInTheMiddleOfAPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{50, 400} {
			c, p := connect(t, lean.Options{ClientID: "d"})
			body := "\x00\x01t" + strings.Repeat("y", 2*size)
			head := "\x31" + string([]byte{byte(len(body)&0x7f | 0x80), byte(len(body) >> 7)})
			packet := head + body
			for i := range 3 {
				p.writeLater(packet[i*len(packet)/4 : (i+1)*len(packet)/4])
				if _, err := c.Next(time.Now().Add(time.Second)); !errors.Is(err, lean.ErrTimeout) {
					t.Fatalf("part %d: %v", i, err)
				}
			}
			p.writeLater(packet[3*len(packet)/4:])
			e, err := c.Next(time.Now().Add(time.Second))
			if err != nil || len(e.Payload) != 2*size || !e.Retain {
				t.Errorf("%d bytes, %v", len(e.Payload), err)
			}
		}
	})
}

func (p peer) writeLater(s string) { go p.write(s) }

func TestPublishAndPuback(t *testing.T) {
	c, p := connect(t, lean.Options{ClientID: "d"})
	got := make(chan []byte, 1)
	go func() {
		got <- p.read()
		p.write("\x40\x02\x00\x01\x90\x03\x00\x02\x80")
	}()
	id, err := c.Publish("t", []byte("x"), 1)
	if err != nil || id != 1 {
		t.Fatalf("publish: %d, %v", id, err)
	}
	if b := <-got; string(b) != "\x32\x06\x00\x01t\x00\x01x" {
		t.Errorf("wrote % x", b)
	}
	if e, err := c.Next(time.Time{}); err != nil || e.Kind != lean.Ack || e.ID != 1 {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := c.Next(time.Time{}); err != nil || e.Kind != lean.Subscribed || e.ID != 2 || e.Payload[0] != 0x80 {
		t.Errorf("%+v, %v", e, err)
	}
}

// The client acknowledges a QoS 1 message after its owner has dealt with it, not before.
func TestPubackAfterTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, lean.Options{ClientID: "d"})
		p.writeLater("\x32\x06\x00\x01t\x00\x09x")
		if e, err := c.Next(time.Time{}); err != nil || e.ID != 9 {
			t.Fatalf("%+v, %v", e, err)
		}
		got := make(chan []byte, 1)
		go func() { got <- p.read() }()
		synctest.Wait()
		if len(got) != 0 {
			t.Errorf("wrote % x before the owner was done", <-got)
		}
		if _, err := c.Next(time.Now().Add(time.Second)); !errors.Is(err, lean.ErrTimeout) {
			t.Fatal(err)
		}
		if b := <-got; string(b) != "\x40\x02\x00\x09" {
			t.Errorf("wrote % x", b)
		}
	})
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := connect(t, lean.Options{ClientID: "d", KeepAlive: 60 * time.Second})
		start := time.Now()
		var pings []time.Duration
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 3 {
				if b := p.read(); string(b) != "\xc0\x00" {
					t.Errorf("wrote % x", b)
				}
				pings = append(pings, time.Since(start))
				if len(pings) < 3 {
					p.write("\xd0\x00")
				}
			}
		}()
		if _, err := c.Next(time.Time{}); err == nil || errors.Is(err, lean.ErrTimeout) {
			t.Errorf("a server that answers no PINGREQ: %v", err)
		}
		<-done
		if len(pings) != 3 || pings[0] != 30*time.Second || pings[2] != 90*time.Second || time.Since(start) != 150*time.Second {
			t.Errorf("pings at %v, given up at %v", pings, time.Since(start))
		}
	})
}

func TestOversizeAndMalformedEndTheConnection(t *testing.T) {
	tests := map[string]struct {
		packet string
		want   error
	}{
		"huge":             {"\x30\xff\xff\xff\x7f", lean.ErrTooLarge},
		"one byte more":    {"\x30\x84\x08", lean.ErrTooLarge},
		"connack again":    {"\x20\x02\x00\x00", lean.ErrMalformed},
		"puback of 0":      {"\x40\x02\x00\x00", lean.ErrMalformed},
		"suback of 1 byte": {"\x90\x01\x00", lean.ErrMalformed},
		"empty topic":      {"\x30\x03\x00\x00x", lean.ErrMalformed},
	}
	for name, tt := range tests {
		c, p := connect(t, lean.Options{ClientID: "d", MaxPacket: 1030})
		p.writeLater(tt.packet)
		if e, err := c.Next(time.Now().Add(10 * time.Second)); !errors.Is(err, tt.want) || e.Kind != 0 {
			t.Errorf("%s: %+v, %v, want %v", name, e, err, tt.want)
		}
	}
}

func TestWriteToAStalledServerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := connect(t, lean.Options{ClientID: "d", WriteTimeout: time.Second})
		if _, err := c.Publish("t", []byte("x"), 0); err == nil {
			t.Error("wrote to a server that does not read")
		}
	})
}

func TestDisconnectSaysSo(t *testing.T) {
	c, p := connect(t, lean.Options{ClientID: "d"})
	got := make(chan []byte, 1)
	go func() { got <- p.read() }()
	if err := c.Disconnect(); err != nil {
		t.Error(err)
	}
	if b := <-got; string(b) != "\xe0\x00" {
		t.Errorf("wrote % x", b)
	}
	c.Abort() // harmless
}

// FuzzServer feeds a client what any server may send: no panic, no hang, no event without its content.
func FuzzServer(f *testing.F) {
	f.Add([]byte("\x30\x05\x00\x01tab\x40\x02\x00\x01\xd0\x00"), uint8(3))
	f.Add([]byte("\x90\x03\x00\x01\x80\x32\x06\x00\x01t\x00\x09x"), uint8(1))
	f.Add([]byte("\x30\xff\xff\xff\x7f"), uint8(2))
	f.Add(append([]byte("\x30\xdb\x04\x00\x01t"), make([]byte, 600)...), uint8(100))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		client := &scriptedConn{stream: append([]byte("\x20\x02\x00\x00"), stream...), piece: int(piece)%600 + 1}
		c, err := lean.Connect(t.Context(), client, lean.Options{ClientID: "d", MaxPacket: 4096})
		if err != nil {
			t.Fatalf("connect: %v", err)
		}
		for {
			e, err := c.Next(time.Time{})
			if err != nil {
				if e.Kind != 0 || e.Topic != nil || e.Payload != nil {
					t.Fatalf("%+v with %v", e, err)
				}
				return
			}
			switch e.Kind {
			case lean.Message:
				if len(e.Topic) == 0 || len(e.Topic)+len(e.Payload) > 4096 {
					t.Fatalf("message %q of %d bytes", e.Topic, len(e.Payload))
				}
			case lean.Ack, lean.Subscribed:
				if e.ID == 0 {
					t.Fatalf("%+v without identifier", e)
				}
			default:
				t.Fatalf("%+v", e)
			}
		}
	})
}

// scriptedConn reads a given stream in pieces and swallows writes.
type scriptedConn struct {
	net.Conn
	stream []byte
	piece  int
}

func (c *scriptedConn) Read(b []byte) (int, error) {
	if len(c.stream) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.stream[:min(c.piece, len(c.stream))])
	c.stream = c.stream[n:]
	return n, nil
}

func (c *scriptedConn) Write(b []byte) (int, error)      { return len(b), nil }
func (c *scriptedConn) Close() error                     { return nil }
func (c *scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptedConn) SetWriteDeadline(time.Time) error { return nil }
