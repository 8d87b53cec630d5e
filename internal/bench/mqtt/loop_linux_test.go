package mqtt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// box collects the events of a connection, with their bytes copied.
type box struct {
	events chan Event
	react  func(c *Conn, e Event)
}

func newBox(react func(c *Conn, e Event)) *box {
	return &box{events: make(chan Event, 64), react: react}
}

func (b *box) Handle(c *Conn, e Event) {
	if b.react != nil {
		b.react(c, e)
	}
	e.Topic, e.Payload = bytes.Clone(e.Topic), bytes.Clone(e.Payload)
	b.events <- e
}

func (b *box) next(t *testing.T) Event {
	t.Helper()
	select {
	case e := <-b.events:
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("no event")
		return Event{}
	}
}

// serve accepts connections, each for script, and runs a loop against them.
func serve(t *testing.T, script func(c net.Conn)) *Loop {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				script(c)
			}()
		}
	}()
	l, err := NewLoop(ln.Addr().(*net.TCPAddr).Port, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if n := l.Live(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// expect reads exactly want.
func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Errorf("server read %q, %v, want %q", got, err, want)
	}
}

func send(t *testing.T, c net.Conn, pieces ...string) {
	t.Helper()
	for _, p := range pieces {
		if _, err := c.Write([]byte(p)); err != nil {
			t.Errorf("write: %v", err)
		}
	}
}

const connect = "\x10\x18\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01c\x00\x03t/d\x00\x04pass"

var credentials = Login{Client: "c", User: "t/d", Password: "pass"}

func TestConversation(t *testing.T) {
	l := serve(t, func(c net.Conn) {
		expect(t, c, connect)
		send(t, c, "\x20\x02\x00\x00")
		expect(t, c, "\x82\x0c\x00\x01\x00\x01a\x00\x00\x03b/+\x00")
		send(t, c, "\x90\x04\x00\x01\x00\x80")
		expect(t, c, "\x32\x08\x00\x01r\x00\x02one\x33\x08\x00\x01r\x00\x03two")
		send(t, c, "\x40\x02\x00\x02", "\x33\x08\x00\x01m\x00\x07abc")
		expect(t, c, "\xe0\x00")
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("read %d bytes after DISCONNECT", n)
		}
	})
	b := newBox(func(c *Conn, e Event) {
		switch e.Kind {
		case Connected:
			c.Subscribe("a", "b/+")
		case Subscribed:
			if id := c.Publish("r", []byte("one"), 1); id != 2 {
				t.Errorf("publish has identifier %d", id)
			}
			if id := c.Retain("r", []byte("two")); id != 3 {
				t.Errorf("retained publish has identifier %d", id)
			}
		case Message:
			c.Disconnect()
			c.Publish("after", nil, 1) // the end
		}
	})
	l.Do(func() { l.Dial(credentials, b) })
	if e := b.next(t); e.Kind != Connected {
		t.Errorf("got %+v", e)
	}
	if e := b.next(t); e.Kind != Subscribed || e.ID != 1 || string(e.Payload) != "\x00\x80" {
		t.Errorf("got %+v", e)
	}
	if e := b.next(t); e.Kind != Acked || e.ID != 2 {
		t.Errorf("got %+v", e)
	}
	if e := b.next(t); e.Kind != Message || string(e.Topic) != "m" || string(e.Payload) != "abc" || e.ID != 7 || !e.Retain {
		t.Errorf("got %+v", e)
	}
}

// TestPieces: packets that come byte by byte, and one larger than any small buffer, come out whole.
func TestPieces(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 256<<10/16)
	l := serve(t, func(c net.Conn) {
		expect(t, c, connect)
		for _, b := range []byte("\x20\x02\x00\x00\x30\x05\x00\x01mhi") {
			send(t, c, string(b))
		}
		packet := AppendPublish(nil, "m", large, 0)
		for len(packet) > 0 {
			n := min(len(packet), 10_000)
			send(t, c, string(packet[:n]))
			packet = packet[n:]
		}
		send(t, c, "\x30\x05\x00\x01mby")
		_, _ = c.Read(make([]byte, 1)) // until the test ends
	})
	b := newBox(nil)
	l.Do(func() { l.Dial(credentials, b) })
	for i, want := range []string{"", "hi", string(large), "by"} {
		if e := b.next(t); string(e.Payload) != want {
			t.Errorf("event %d has %d bytes, want %d", i, len(e.Payload), len(want))
		}
	}
}

// TestBackPressure: what the socket does not take waits, in order.
func TestBackPressure(t *testing.T) {
	const n = 2000
	body := bytes.Repeat([]byte("x"), 4096)
	var want []byte
	for range n {
		want = AppendPublish(want, "r", body, 0)
	}
	l := serve(t, func(c net.Conn) {
		expect(t, c, connect)
		send(t, c, "\x20\x02\x00\x00")
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes are not what was sent: %v", len(want), err)
		}
	})
	b := newBox(func(c *Conn, e Event) {
		if e.Kind == Connected {
			for range n {
				c.Publish("r", body, 0)
			}
		}
	})
	l.Do(func() { l.Dial(credentials, b) })
	b.next(t)
	if e := b.next(t); e.Kind != Closed || e.Err == nil { // by the script, when it has all
		t.Errorf("got %+v", e)
	}
}

func TestEnds(t *testing.T) {
	tests := []struct {
		name, answer string
		want         error
	}{
		{"refused", "\x20\x02\x00\x05", RefusedError(5)},
		{"closed", "", errEnded},
		{"a length without end", "\x20\xff\xff\xff\xff\xff", ErrMalformed},
		{"too large", "\x30\xff\xff\xff\x7f\x00\x01m", ErrMalformed},
		{"short CONNACK", "\x20\x01\x00", ErrMalformed},
		{"a client's packet", "\x10\x00", ErrMalformed},
		{"PUBLISH without topic", "\x30\x01\x00\x00", ErrMalformed},
		{"topic beyond the packet", "\x30\x03\x00\x05m", ErrMalformed},
		{"PUBLISH without identifier", "\x32\x03\x00\x01m", ErrMalformed},
		{"PUBACK without identifier", "\x40\x01\x00", ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := serve(t, func(c net.Conn) {
				expect(t, c, connect)
				send(t, c, tt.answer)
			})
			b := newBox(nil)
			l.Do(func() { l.Dial(credentials, b) })
			if e := b.next(t); e.Kind != Closed || !errors.Is(e.Err, tt.want) {
				t.Errorf("got %+v, want %v", e, tt.want)
			}
		})
	}
}

// TestNobodyListens: the owner hears of a connect that fails.
func TestNobodyListens(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := serve(t, func(net.Conn) {})
	l.port = ln.Addr().(*net.TCPAddr).Port
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	b := newBox(nil)
	l.Do(func() { l.Dial(credentials, b) })
	if e := b.next(t); e.Kind != Closed || e.Err == nil {
		t.Errorf("got %+v", e)
	}
}

// TestKeepAlive: within a keep-alive each connection is pinged once, and at no other time.
func TestKeepAlive(t *testing.T) {
	l, err := NewLoop(1, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	conns := make([]*Conn, 10)
	for fd := range conns {
		conns[fd] = &Conn{loop: l, fd: fd + 3, blocked: true} // nothing is written
	}
	l.conns = append(make([]*Conn, 3), conns...)
	defer func() { l.conns = nil }()
	for now := int64(100); now < 103; now++ {
		l.keepAlives(now)
		l.keepAlives(now)
	}
	l.keepAlives(110) // the process was stopped meanwhile: once, not three times
	for i, c := range conns {
		if want := "\xc0\x00\xc0\x00"; string(c.out) != want {
			t.Errorf("connection %d has %q, want %q", i, c.out, want)
		}
	}
}

// TestDoAfterTheEnd: the loop's descriptors may be another's by then.
func TestDoAfterTheEnd(t *testing.T) {
	l, err := NewLoop(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	l.Do(func() { t.Error("it ran") })
	if len(l.todo) > 0 && !l.ended {
		t.Error("the loop keeps what it will never do")
	}
}

func BenchmarkEcho(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.ReadFull(c, make([]byte, len(connect)))
		_, _ = c.Write([]byte("\x20\x02\x00\x00"))
		for in := make([]byte, 64<<10); ; {
			if _, err := c.Read(in); err != nil {
				return
			}
			_, _ = c.Write([]byte("\x40\x02\x00\x01"))
		}
	}()
	l, err := NewLoop(ln.Addr().(*net.TCPAddr).Port, 0)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	left := b.N
	body := []byte("body")
	owner := ownerFunc(func(c *Conn, e Event) {
		if left--; left < 0 || e.Kind == Closed {
			cancel()
			return
		}
		c.Publish("r", body, 1)
	})
	l.Do(func() { l.Dial(credentials, owner) })
	b.ReportAllocs()
	if err := l.Run(ctx); err != nil {
		b.Fatal(err)
	}
}

type ownerFunc func(c *Conn, e Event)

func (f ownerFunc) Handle(c *Conn, e Event) { f(c, e) }
