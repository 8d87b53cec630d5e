package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"fleetbridge/ident"
	"fleetbridge/internal/bench"
)

// fake is an MQTT server for one test: it takes what clients send apart, and answers as it is told.
type fake struct {
	t    *testing.T
	addr string

	mu        sync.Mutex
	connects  int
	refuse    int               // of the next CONNECTs
	published map[string][]byte // the bodies of each topic, one behind the other
	messages  int
	ack       func(id uint16) []uint16 // which identifiers are acknowledged after one came; nil: that one
	retained  []byte                   // of every topic; nil: none
}

func newFake(t *testing.T) *fake {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	f := &fake{t: t, addr: ln.Addr().String(), published: map[string][]byte{}}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	return f
}

func (f *fake) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		first, err := in.ReadByte()
		if err != nil {
			return
		}
		n, err := binary.ReadUvarint(in) // 2.2.3 is the same coding
		if err != nil {
			return
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		answer, end := f.answer(first, body)
		if _, err := c.Write(answer); err != nil || end {
			return
		}
	}
}

func (f *fake) answer(first byte, body []byte) (out []byte, end bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch first >> 4 {
	case 1:
		f.connects++
		if f.refuse > 0 {
			f.refuse--
			return []byte{0x20, 2, 0, 3}, true
		}
		return []byte{0x20, 2, 0, 0}, false
	case 8:
		topic := body[4 : 4+binary.BigEndian.Uint16(body[2:])]
		out = append([]byte{0x90, 4}, body[0], body[1], 0, 0)
		if f.retained != nil {
			out = append(out, 0x31, byte(2+len(topic)+len(f.retained)), 0, byte(len(topic)))
			out = append(append(out, topic...), f.retained...)
		}
	case 3:
		size := int(binary.BigEndian.Uint16(body))
		topic, id := string(body[2:2+size]), binary.BigEndian.Uint16(body[2+size:])
		f.published[topic] = append(f.published[topic], body[4+size:]...)
		f.messages++
		ids := []uint16{id}
		if f.ack != nil {
			ids = f.ack(id)
		}
		for _, id := range ids {
			out = binary.BigEndian.AppendUint16(append(out, 0x40, 2), id)
		}
	}
	return out, false
}

// dialogue is a bench's end of the pipe to a role.
type dialogue struct {
	t       *testing.T
	ask     io.WriteCloser
	answers *json.Decoder
	ended   chan error
}

func start(t *testing.T, role bench.Role, params any) *dialogue {
	t.Helper()
	in, ask := io.Pipe()
	answers, out := io.Pipe()
	d := &dialogue{t: t, ask: ask, answers: json.NewDecoder(answers), ended: make(chan error, 1)}
	go func() {
		d.ended <- bench.Work(context.WithoutCancel(t.Context()), in, out, role)
		out.Close()
		in.Close()
	}()
	line, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = ask.Write(append(line, '\n')) // a role that has ended says so by its error
	return d
}

// say sends a command and takes the answer.
func (d *dialogue) say(command string, into any) {
	d.t.Helper()
	if command != "" {
		if _, err := io.WriteString(d.ask, command+"\n"); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := d.answers.Decode(into); err != nil {
		d.t.Fatalf("answer to %q: %v; %v", command, err, <-d.ended)
	}
}

func (d *dialogue) hangUp() error {
	d.ask.Close()
	return <-d.ended
}

// until asks for marks until one is as it should be.
func until[T any](d *dialogue, is func(T) bool) T {
	d.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		var v T
		d.say("mark", &v)
		if is(v) {
			return v
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("still %+v", v)
		}
	}
}

func devices(t *testing.T, n int) []Device {
	t.Helper()
	var out []Device
	for i := range n {
		id, err := ident.ParseDevice("d" + string(rune('a'+i)))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Device{ID: id, User: "t/" + id.String(), Token: "secret"})
	}
	return out
}

var tenant = ident.MustTenant("t")
