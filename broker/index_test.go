package broker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"fleetbridge/broker"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// Whatever is subscribed and ended, in whatever order, the index finds what topics.Match says, once each.
func TestIndexAgreesWithMatch(t *testing.T) {
	words := []string{"a", "b", "", "+"}
	some := func(most int, words []string) string {
		var levels []string
		for range 1 + rand.IntN(most) {
			levels = append(levels, words[rand.IntN(len(words))])
		}
		return strings.Join(levels, "/")
	}
	for range 300 {
		x := broker.NewIndex()
		live := map[int]string{}
		for i := range 60 {
			filter := some(4, words)
			if rand.IntN(3) == 0 {
				filter = strings.TrimPrefix(filter+"/#", "/")
			}
			if filter == "" {
				continue
			}
			if rand.IntN(5) == 0 {
				filter = "$share/g/" + filter
			}
			x.Add(i, filter)
			live[i] = filter
			if rand.IntN(2) == 0 {
				for gone := range live {
					x.Remove(gone)
					delete(live, gone)
					break
				}
			}
		}
		for range 40 {
			topic := some(5, words[:3])
			if topic == "" {
				continue
			}
			got := x.Match(topic)
			for i, filter := range live {
				want := topics.Match(strings.TrimPrefix(filter, "$share/g/"), topic)
				if n := got[i]; n > 1 || (n == 1) != want {
					t.Fatalf("%q on %q: found %d times, want %v", filter, topic, n, want)
				}
				delete(got, i)
			}
			if len(got) != 0 {
				t.Fatalf("%q: found what has ended: %v", topic, got)
			}
		}
		for i := range live {
			x.Remove(i)
		}
		if n := x.Len(); n != 0 {
			t.Fatalf("%d keys are left", n)
		}
	}
}

// What was read of a client before its credential was revoked is not handed on.
func TestRevocationStopsWhatWasRead(t *testing.T) {
	s := start(t)
	s.h.answerWith(func(in link.Inbound) {
		s.b.Disconnect(in.Principal)
		in.Ack.Done(link.Success)
	})
	c := s.client(v5, "acme/d1")
	c.ping()
	c.write(c.reports(1, 5)) // one segment
	c.wantEnd()
	eventually(t, "the connection has ended", func() bool { return s.b.Stats().Sockets == 0 })
	s.h.next(t)
	s.h.empty(t)
}

// A repeated SUBSCRIBE replaces a subscription, and UNSUBSCRIBE ends it.
func TestSubscriptionIsReplacedAndEnded(t *testing.T) {
	s := start(t)
	permit := "fleet/v1/acme/device/d1/permit"
	for _, version := range []byte{v4, v5} {
		c := s.client(version, "acme/d1")
		for _, id := range []byte{1, 9} {
			if code := c.subscribe(permit, 0, []byte{0x0b, id}); code != 0 {
				t.Fatalf("SUBACK %#x", code)
			}
		}
		if err := s.b.Publish(context.Background(), link.Message{Topic: permit, Payload: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		if m := c.next(); m.payload != "x" || version == v5 && m.props.subscription != 9 {
			t.Errorf("got %+v", m)
		}
		for _, want := range []byte{0, 0x11} {
			c.write(encode(0xa2, num16(7), c.props(), str(permit)))
			p := c.want(tUnsuback)
			if version == v5 && (len(p.body) != 4 || p.body[3] != want) || version == v4 && len(p.body) != 2 {
				t.Errorf("version %d: UNSUBACK %v", version, p)
			}
		}
		if broker.Subscriptions(s.b) != 0 {
			t.Error("a subscription is left")
		}
		if got := c.ping(); len(got) != 0 {
			t.Errorf("got %v", got)
		}
		if err := c.conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkPublish shows what a message costs that is for nobody, beside one that is for one of many.
func BenchmarkPublish(b *testing.B) {
	x := broker.NewIndex()
	for i := range 100_000 {
		x.Add(2*i, fmt.Sprintf("fleet/v1/acme/device/d%d/manifest", i))
		x.Add(2*i+1, fmt.Sprintf("fleet/v1/acme/device/d%d/chunk/#", i))
	}
	for name, topic := range map[string]string{"nobody": "fleet/v1/acme/device/d200000/manifest", "one": "fleet/v1/acme/device/d777/manifest"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.Subscribed(topic)
			}
		})
	}
	b.Run("publish to nobody", func(b *testing.B) {
		s := startUnserved(b)
		m := link.Message{Topic: "fleet/v1/acme/device/d200000/manifest"}
		b.ReportAllocs()
		for b.Loop() {
			if err := s.b.Publish(context.Background(), m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
