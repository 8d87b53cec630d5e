package linktest

import (
	"context"
	"fmt"
	"sync"

	"fleetbridge/ident"
	"fleetbridge/link"
)

type answer struct {
	code link.Code
	err  error
}

// publishing publishes at QoS 1 from another goroutine.
func publishing(c Client, topic, payload string) <-chan answer {
	got := make(chan answer, 1)
	go func() {
		code, err := c.Publish(link.Message{Topic: topic, Payload: []byte(payload), QoS: 1})
		got <- answer{code, err}
	}()
	return got
}

func pubackAfterDone(s *suite) {
	s.serve()
	s.versions(func(v5 bool) {
		d1, d2 := device("acme", "d1"), device("acme", "d2")
		c, other := s.connect(Dial{Principal: d1, V5: v5}), s.connect(Dial{Principal: d2, V5: v5})
		acked := publishing(c, report(d1), "held")
		held := s.next()
		// A whole exchange of another connection goes by while the first is held.
		second := publishing(other, report(d2), "other")
		s.next().Ack.Done(link.Success)
		if a := <-second; a.err != nil {
			s.Fatalf("publish: %v", a.err)
		}
		select {
		case a := <-acked:
			s.Fatalf("answered before Done: %+v", a)
		default:
		}
		go held.Ack.Done(link.Success) // from any goroutine
		if a := <-acked; a.err != nil || a.code != link.Success {
			s.Fatalf("after Done: %+v", a)
		}
		s.close(c)
		s.close(other)
	})
}

func refusedComesAgain(s *suite) {
	s.serve()
	s.versions(func(v5 bool) {
		d := device("acme", "d1")
		c := s.connect(Dial{Principal: d, V5: v5})
		acked := publishing(c, report(d), "r")
		s.next().Ack.Refuse(errStore)
		if a := <-acked; a.err == nil {
			s.Fatalf("v5=%v: a refused message is acknowledged with %#x", v5, a.code)
		}
		again := s.connect(Dial{Principal: d, V5: v5})
		acked = publishing(again, report(d), "r")
		in := s.next()
		if string(in.Payload) != "r" {
			s.Errorf("got %q again", in.Payload)
		}
		in.Ack.Done(link.Success)
		if a := <-acked; a.err != nil {
			s.Errorf("the second time: %v", a.err)
		}
		s.close(again)
	})
}

func codesEndTheExchange(s *suite) {
	s.serve()
	codes := []link.Code{link.Success, link.Unspecified, link.ImplementationErr, link.NotAuthorized, link.TopicNameInvalid, link.QuotaExceeded, link.PayloadFormatError}
	s.versions(func(v5 bool) {
		d := device("acme", "d1")
		c := s.connect(Dial{Principal: d, V5: v5})
		for _, code := range codes {
			acked := publishing(c, report(d), "r")
			s.next().Ack.Done(code)
			want := code
			if !v5 {
				want = link.Success
			}
			if a := <-acked; a.err != nil || a.code != want {
				s.Errorf("v5=%v, Done(%#x): %+v", v5, code, a)
			}
		}
		s.close(c)
	})
}

func inboundTellsWho(s *suite) {
	s.serve()
	d, op := device("acme", "d1"), operator("acme")
	c := s.connect(Dial{Principal: d})
	for _, channel := range []string{"hello", "report", "fetch"} {
		acked := publishing(c, own(d, channel), channel)
		in := s.next()
		if in.Topic != own(d, channel) || string(in.Payload) != channel || in.QoS != 1 || in.Retain || in.V5 || in.MaxPacket != 0 {
			s.Errorf("got %+v", in)
		}
		if !in.Principal.IsZero() && in.Principal != d { // an external broker hides it
			s.Errorf("published by %v, want %v", in.Principal, d)
		}
		in.Ack.Done(link.Success)
		<-acked
	}
	o := s.connect(Dial{Principal: op, V5: true, MaxPacket: 5000})
	command := "fleet/v1/acme/command/campaign/list"
	if _, err := o.Publish(link.Message{Topic: command, Payload: []byte("c"), Retain: true}); err != nil {
		s.Fatal(err)
	}
	in := s.next()
	if in.Topic != command || in.QoS != 0 || !in.Retain || !in.V5 || in.MaxPacket != 5000 {
		s.Errorf("got %+v", in)
	}
	in.Ack.Done(link.Success)
}

func orderPerConnection(s *suite) {
	s.serve()
	const devices, messages = 5, 100
	var wg sync.WaitGroup
	for i := range devices {
		d := device("acme", fmt.Sprintf("d%d", i))
		c := s.connect(Dial{Principal: d})
		wg.Go(func() {
			for n := range messages {
				if _, err := c.Publish(link.Message{Topic: own(d, "fetch"), Payload: fmt.Append(nil, n)}); err != nil {
					s.Errorf("publish: %v", err)
				}
			}
		})
	}
	next := map[string]int{}
	for range devices * messages {
		in := s.next()
		if want := fmt.Sprint(next[in.Topic]); string(in.Payload) != want {
			s.Fatalf("%s: got message %s, want %s", in.Topic, in.Payload, want)
		}
		next[in.Topic]++
		in.Ack.Done(link.Success)
	}
	wg.Wait()
}

// A message in hand holds up nobody else's, however many there are.
func connectionsAreApart(s *suite) {
	s.serve()
	const held = 20
	var hold []link.Inbound
	var acks []<-chan answer
	for i := range held {
		d := device("acme", fmt.Sprintf("held%d", i))
		acks = append(acks, publishing(s.connect(Dial{Principal: d}), report(d), "h"))
		hold = append(hold, s.next())
	}
	d := device("acme", "free")
	acked := publishing(s.connect(Dial{Principal: d}), report(d), "f")
	s.next().Ack.Done(link.Success)
	if a := <-acked; a.err != nil {
		s.Error(a.err)
	}
	for i, in := range hold {
		in.Ack.Done(link.Success)
		if a := <-acks[i]; a.err != nil {
			s.Error(a.err)
		}
	}
}

func nobodyServes(s *suite) {
	s.versions(func(v5 bool) {
		d := device("acme", "d1")
		c := s.connect(Dial{Principal: d, V5: v5})
		if code, err := c.Publish(link.Message{Topic: report(d), QoS: 1}); err == nil {
			s.Errorf("v5=%v: acknowledged with %#x while nobody serves", v5, code)
		}
	})
}

func serveDrains(s *suite) {
	ctx, cancel := context.WithCancel(context.Background())
	stop := s.serve() // waits until the link is served
	stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Link.Serve(ctx, s) }()
	d := device("acme", "d1")
	var acked <-chan answer
	var in link.Inbound
	for in.Ack == nil { // until the second Serve takes messages
		acked = publishing(s.connect(Dial{Principal: d}), report(d), "last")
		select {
		case in = <-s.got:
		case <-acked:
		}
	}
	cancel()
	// While the message is in hand, Serve has not returned; new messages are refused as soon as it knows of ctx.
	other := device("acme", "d2")
	for refused := false; !refused; {
		late := publishing(s.connect(Dial{Principal: other}), report(other), "late")
		select {
		case a := <-late:
			refused = a.err != nil
		case early := <-s.got:
			early.Ack.Done(link.Success)
			<-late
		}
	}
	select {
	case err := <-ended:
		s.Fatalf("serve returned (%v) with a message in hand", err)
	case a := <-acked:
		s.Fatalf("answered before Done: %+v", a)
	default:
	}
	in.Ack.Done(link.Success)
	if err := <-ended; err != nil {
		s.Errorf("serve: %v", err)
	}
	if a := <-acked; a.err != nil {
		s.Errorf("the last message: %v", a.err)
	}
}

func oneServeAtATime(s *suite) {
	s.serve()
	if err := s.Link.Serve(s.Context(), s); err == nil {
		s.Error("a second Serve has no error")
	}
	d := device("acme", "d1")
	acked := publishing(s.connect(Dial{Principal: d}), report(d), "r")
	s.next().Ack.Done(link.Success)
	if a := <-acked; a.err != nil {
		s.Errorf("the first Serve: %v", a.err)
	}
}

func presence(s *suite) {
	p, ok := s.Link.(link.Presence)
	if !ok {
		s.Skip("the link knows no presence")
	}
	s.serve()
	s.done()
	d := device("acme", "d1")
	if p.Connected(d) {
		s.Error("connected before it is")
	}
	c := s.connect(Dial{Principal: d})
	if _, err := c.Publish(link.Message{Topic: report(d), QoS: 1}); err != nil {
		s.Fatal(err)
	}
	if !p.Connected(d) || p.Connected(device("evil", "d1")) || p.Connected(device("acme", "d2")) {
		s.Error("who is connected is not told right")
	}
	if n, err := ident.ParseName("d1"); err != nil || p.Connected(operatorNamed(n)) {
		s.Error("another role of the same name is taken for it")
	}
	s.close(c)
	s.eventually("it is gone", func() bool { return !p.Connected(d) })
}
