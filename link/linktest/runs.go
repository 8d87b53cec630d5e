package linktest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"fleetbridge/link"
)

// runOf is n parts whose payloads tell which they are; some are empty, most are of size bytes.
func runOf(prefix string, n, size int) link.Run {
	run := link.Run{Prefix: prefix}
	for i := range n {
		p := link.Part{Index: uint32(i * i * 7)}
		if i%10 != 3 {
			p.Payload = bytes.Repeat([]byte{byte(i)}, size)
		}
		run.Parts = append(run.Parts, p)
	}
	return run
}

func (s *suite) wantRun(c *client, run link.Run) {
	s.Helper()
	for _, p := range run.Parts {
		m, err := c.Next()
		if topic := run.Prefix + fmt.Sprint(p.Index); err != nil || m.Topic != topic || m.Payload != string(p.Payload) || m.Retain {
			s.Fatalf("got %d bytes on %s (%v), want %d on %s", len(m.Payload), m.Topic, err, len(p.Payload), topic)
		}
	}
}

// fetch has c ask for something, and returns the message that asks.
func (s *suite) fetch(c *client) link.Inbound {
	s.Helper()
	if _, err := c.Publish(link.Message{Topic: own(c.p, "fetch"), Payload: []byte("f")}); err != nil {
		s.Fatal(err)
	}
	return s.next()
}

// What TrySendRun takes, be it nothing, and what SendRun is given then arrive once, whole and in order.
func runsArriveInOrder(s *suite) {
	s.serve()
	s.versions(func(v5 bool) {
		d := device("acme", "d1")
		c, op := s.connect(Dial{Principal: d, V5: v5}), s.connect(Dial{Principal: operator("acme")})
		s.subscribe(c, own(d, "chunk/#"))
		s.subscribe(op, "fleet/v1/acme/#")
		in := s.fetch(c)
		in.Ack.Done(link.Success)
		for _, run := range []link.Run{runOf(own(d, "chunk/t/"), 1, 16<<10), runOf(own(d, "chunk/t/"), 1200, 10), runOf(own(d, "chunk/t/"), 100, 64<<10), {}} {
			rest := run
			for len(rest.Parts) > 0 {
				n, err := in.Reply.TrySendRun(rest)
				if err != nil {
					s.Fatalf("try: %v", err)
				}
				if rest.Parts = rest.Parts[n:]; n > 0 {
					continue
				}
				most := min(len(rest.Parts), 30)
				if err := in.Reply.SendRun(s.Context(), link.Run{Prefix: rest.Prefix, Parts: rest.Parts[:most]}); err != nil {
					s.Fatalf("send: %v", err)
				}
				rest.Parts = rest.Parts[most:]
			}
			s.wantRun(c, run)
		}
		s.wantNothing(op)
		s.close(c)
		s.close(op)
	})
}

func runTooLarge(s *suite) {
	s.serve()
	d := device("acme", "d1")
	c := s.connect(Dial{Principal: d, V5: true, MaxPacket: 200})
	s.subscribe(c, own(d, "chunk/#"))
	in := s.fetch(c)
	prefix := own(d, "chunk/t/")
	fits := 200 - 2 - 2 - len(prefix) - 2 - 2 // as in replyTooLarge; the index has two digits, no properties are one byte
	parts := []link.Part{{Index: 10, Payload: make([]byte, fits)}, {Index: 99, Payload: make([]byte, fits+1)}}
	run := link.Run{Prefix: prefix, Parts: parts}
	if n, err := in.Reply.TrySendRun(run); n != 0 || err != nil && !errors.Is(err, link.ErrTooLarge) {
		s.Errorf("try: %d, %v", n, err)
	}
	if err := in.Reply.SendRun(s.Context(), run); !errors.Is(err, link.ErrTooLarge) {
		s.Errorf("send: %v", err)
	}
	run.Parts = parts[:1] // nothing of the others was written
	if err := in.Reply.SendRun(s.Context(), run); err != nil {
		s.Errorf("send of 200 bytes: %v", err)
	}
	s.wantNext(c, prefix+"10", strings.Repeat("\x00", fits), false)
	in.Ack.Done(link.Success)
}

func runAfterTheEnd(s *suite) {
	s.serve()
	d := device("acme", "d1")
	c := s.connect(Dial{Principal: d})
	in := s.fetch(c)
	in.Ack.Done(link.Success)
	s.close(c)
	run := runOf(own(d, "chunk/t/"), 4, 16<<10)
	s.eventually("a run to a closed connection errs", func() bool { return in.Reply.SendRun(s.Context(), run) != nil })
	if n, err := in.Reply.TrySendRun(run); n != 0 {
		s.Errorf("a closed connection takes %d: %v", n, err)
	}
}

// A memo is the connection's: the next message finds it, another connection does not.
func memoIsTheConnections(s *suite) {
	s.serve()
	d := device("acme", "d1")
	for range 2 {
		c := s.connect(Dial{Principal: d})
		for i := range 3 {
			in := s.fetch(c)
			if in.Memo == nil {
				s.Fatal("no memo")
			}
			switch last, _ := (*in.Memo).(int); {
			case *in.Memo == nil && i > 0, i > 0 && last != i, i == 0 && *in.Memo != nil:
				s.Errorf("message %d finds %v", i, *in.Memo)
			}
			*in.Memo = i + 1
			in.Ack.Done(link.Success)
		}
		s.close(c)
	}
}
