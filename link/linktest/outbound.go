package linktest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

func operatorNamed(n ident.Name) topics.Principal {
	return topics.Principal{Tenant: ident.MustTenant("acme"), Role: topics.RoleOperator, Name: n}
}

// eventually polls for what the broker does in its own time.
func (s *suite) eventually(what string, ok func() bool) {
	s.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(Patience); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			s.Fatalf("not within %v: %s", Patience, what)
		}
	}
}

func publishReaches(s *suite) {
	d := device("acme", "d1")
	s.versions(func(v5 bool) {
		c := s.connect(Dial{Principal: d, V5: v5})
		s.subscribe(c, own(d, "permit"))
		s.subscribe(c, own(d, "chunk/#"))
		for i := range 20 {
			s.publish(link.Message{Topic: own(d, "permit"), Payload: fmt.Append(nil, i), QoS: 1})
			s.wantNext(c, own(d, "permit"), fmt.Sprint(i), false)
		}
		s.publish(link.Message{Topic: own(d, "chunk/t/0"), Payload: nil})
		s.wantNext(c, own(d, "chunk/t/0"), "", false)
		s.publish(link.Message{Topic: own(d, "receipt")}) // nobody subscribed
		s.wantNothing(c)
		s.close(c)
	})
}

func tenantsAreApart(s *suite) {
	mine, theirs := s.connect(Dial{Principal: operator("acme")}), s.connect(Dial{Principal: operator("evil"), V5: true})
	d := s.connect(Dial{Principal: device("acme", "d2"), V5: true})
	s.subscribe(mine, "fleet/v1/acme/#")
	s.subscribe(theirs, "fleet/v1/evil/#")
	s.subscribe(d, own(device("acme", "d2"), "permit"))
	for _, f := range []string{"fleet/v1/acme/#", "fleet/v1/+/campaign/c/progress", "#", "$share/g/fleet/v1/acme/#", "$SYS/#"} {
		if err := theirs.Subscribe(f); err == nil {
			s.Errorf("another tenant may subscribe to %s", f)
		}
	}
	for _, f := range []string{own(device("acme", "d1"), "permit"), "fleet/v1/acme/device/+/permit", "fleet/v1/acme/campaign/c/progress"} {
		if err := d.Subscribe(f); err == nil {
			s.Errorf("a device may subscribe to %s", f)
		}
	}
	s.publish(link.Message{Topic: "fleet/v1/acme/campaign/c/event", Payload: []byte("e")})
	s.wantNext(mine, "fleet/v1/acme/campaign/c/event", "e", false)
	// A wildcard shows what the table allows, not all that it matches.
	s.publish(link.Message{Topic: "fleet/v1/acme/reply/other", Payload: []byte("private")})
	s.wantNothing(mine)
	s.wantNothing(theirs)
	s.wantNothing(d)
}

// What clients publish is for the bridge: no other client sees it, denied or not.
func uplinkStaysUplink(s *suite) {
	s.serve()
	s.done()
	op, d := s.connect(Dial{Principal: operator("acme"), V5: true}), device("acme", "d1")
	s.subscribe(op, "fleet/v1/acme/#")
	c := s.connect(Dial{Principal: d, V5: true})
	if _, err := c.Publish(link.Message{Topic: report(d), Payload: []byte("r"), QoS: 1, Retain: true}); err != nil {
		s.Fatal(err)
	}
	for _, topic := range []string{own(d, "manifest"), report(device("acme", "d2")), "fleet/v1/acme/campaign/c/event", "fleet/v1/evil/device/d1/report"} {
		code, err := c.Publish(link.Message{Topic: topic, Payload: []byte("x"), QoS: 1, Retain: true})
		if err == nil && code == link.Success {
			s.Errorf("a device may publish on %s", topic)
		}
		if err != nil {
			c = s.connect(Dial{Principal: d, V5: true})
		}
	}
	s.wantNothing(op)
}

func properties(s *suite) {
	s.serve()
	op := operator("acme")
	want := link.Properties{
		ContentType: "application/cbor", ResponseTopic: "fleet/v1/acme/reply/operator/x", CorrelationData: []byte{0, 1, 0xff}, Expiry: 100,
		User: []link.Property{{Key: "idempotency-key", Value: "k1"}, {Key: "traceparent", Value: ""}, {Key: "idempotency-key", Value: "k2"}},
	}
	equal := func(a, b link.Properties) bool {
		// A message that waited may have an expiry that is lower by the wait.
		return a.ContentType == b.ContentType && a.ResponseTopic == b.ResponseTopic && string(a.CorrelationData) == string(b.CorrelationData) &&
			fmt.Sprint(a.User) == fmt.Sprint(b.User) && a.Expiry <= b.Expiry && a.Expiry+5 >= b.Expiry
	}
	c := s.connect(Dial{Principal: op, V5: true})
	s.subscribe(c, "fleet/v1/acme/reply/operator/#")
	published := make(chan struct{})
	go func() { // QoS 1: the case answers below
		defer close(published)
		if _, err := c.Publish(link.Message{Topic: "fleet/v1/acme/command/server/info", Payload: []byte("{}"), QoS: 1, Props: want}); err != nil {
			s.Errorf("publish: %v", err)
		}
	}()
	in := s.next()
	if !equal(in.Props, want) {
		s.Errorf("inbound: got %+v, want %+v", in.Props, want)
	}
	// By reply and by publish, both before the acknowledgement: a client may see its reply first.
	if err := in.Reply.Send(s.Context(), link.Message{Topic: want.ResponseTopic, Payload: []byte("1"), Props: want}); err != nil {
		s.Fatal(err)
	}
	in.Ack.Done(link.Success)
	<-published
	if m := s.wantNext(c, want.ResponseTopic, "1", false); !equal(m.Props, want) {
		s.Errorf("reply: got %+v, want %+v", m.Props, want)
	}
	s.publish(link.Message{Topic: want.ResponseTopic, Payload: []byte("2"), Props: want})
	if m := s.wantNext(c, want.ResponseTopic, "2", false); !equal(m.Props, want) {
		s.Errorf("publish: got %+v, want %+v", m.Props, want)
	}
	old := s.connect(Dial{Principal: op})
	s.subscribe(old, want.ResponseTopic)
	s.publish(link.Message{Topic: want.ResponseTopic, Payload: []byte("3"), Props: want})
	s.wantNext(old, want.ResponseTopic, "3", false) // 3.1.1 gets the payload alone
}

func publishRefusesNonsense(s *suite) {
	for _, topic := range []string{"", "a/+", "fleet/v1/acme/#", "$SYS/broker/version", strings.Repeat("a/", 200)} {
		if err := s.Link.Publish(s.Context(), link.Message{Topic: topic}); err == nil {
			s.Errorf("published on %.40q", topic)
		}
	}
	ended, cancel := context.WithCancel(s.Context())
	cancel()
	if err := s.Link.Publish(ended, link.Message{Topic: "a"}); !errors.Is(err, context.Canceled) {
		s.Errorf("publish in an ended context: %v", err)
	}
}

func replyGoesToOne(s *suite) {
	s.serve()
	d := device("acme", "d1")
	c, op := s.connect(Dial{Principal: d}), s.connect(Dial{Principal: operator("acme")})
	s.subscribe(c, own(d, "chunk/#"))
	s.subscribe(op, "fleet/v1/acme/#")
	const n = 300
	var messages []link.Message
	for i := range n {
		messages = append(messages, link.Message{Topic: fmt.Sprint(own(d, "chunk/t/"), i), Payload: []byte(strings.Repeat("x", i))})
	}
	messages[n-1].Payload = make([]byte, 256<<10)
	for _, qos := range []byte{0, 1} {
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Publish(link.Message{Topic: own(d, "fetch"), Payload: []byte("f"), QoS: qos}); err != nil {
				s.Errorf("publish: %v", err)
			}
		})
		in := s.next()
		if err := in.Reply.Send(s.Context(), messages...); err != nil {
			s.Fatalf("reply: %v", err)
		}
		in.Ack.Done(link.Success)
		wg.Wait()
		for _, m := range messages {
			s.wantNext(c, m.Topic, string(m.Payload), false)
		}
	}
	s.wantNothing(op)
}

func replyTooLarge(s *suite) {
	s.serve()
	d := device("acme", "d1")
	c := s.connect(Dial{Principal: d, V5: true, MaxPacket: 200})
	s.subscribe(c, own(d, "chunk/#"))
	if _, err := c.Publish(link.Message{Topic: own(d, "fetch")}); err != nil {
		s.Fatal(err)
	}
	in := s.next()
	topic := own(d, "chunk/t/0")
	fits := 200 - 2 - 2 - len(topic) - 2 // two bytes of length, since more than 127 follow; no properties is one byte
	err := in.Reply.Send(s.Context(), link.Message{Topic: topic, Payload: []byte("small")}, link.Message{Topic: topic, Payload: make([]byte, fits+1)})
	if !errors.Is(err, link.ErrTooLarge) {
		s.Errorf("reply of more than 200 bytes: %v", err)
	}
	// The small one was not written either: the next message is another.
	if err := in.Reply.Send(s.Context(), link.Message{Topic: topic, Payload: make([]byte, fits-1)}); err != nil {
		s.Errorf("reply of 200 bytes: %v", err)
	}
	s.wantNext(c, topic, strings.Repeat("\x00", fits-1), false)
	in.Ack.Done(link.Success)
}

// A message is answered from another goroutine, after its Done, while the next one is in hand.
func replyAfterDone(s *suite) {
	s.serve()
	s.versions(func(v5 bool) {
		d := device("acme", "d1")
		c := s.connect(Dial{Principal: d, V5: v5})
		s.subscribe(c, own(d, "chunk/#"))
		var wg sync.WaitGroup
		for _, body := range []string{"first", "second"} {
			if _, err := c.Publish(link.Message{Topic: own(d, "fetch"), Payload: []byte(body)}); err != nil {
				s.Fatal(err)
			}
			in := s.next()
			in.Ack.Done(link.Success)
			wg.Go(func() {
				if err := in.Reply.Send(s.Context(), link.Message{Topic: own(d, "chunk/t/0"), Payload: []byte(body)}); err != nil {
					s.Errorf("reply after Done: %v", err)
				}
			})
			s.wantNext(c, own(d, "chunk/t/0"), body, false)
		}
		wg.Wait()
		s.close(c)
	})
}

func replyAfterTheEnd(s *suite) {
	s.serve()
	d := device("acme", "d1")
	c := s.connect(Dial{Principal: d})
	if _, err := c.Publish(link.Message{Topic: own(d, "fetch")}); err != nil {
		s.Fatal(err)
	}
	in := s.next()
	s.close(c)
	s.eventually("a reply to a closed connection errs", func() bool {
		return in.Reply.Send(s.Context(), link.Message{Topic: own(d, "chunk/t/0"), Payload: make([]byte, 64<<10)}) != nil
	})
	in.Ack.Done(link.Success)
}
