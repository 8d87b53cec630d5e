package broker_test

import (
	"context"
	"testing"

	"fleetbridge/link"
)

func TestReportIsAcknowledgedAfterDone(t *testing.T) {
	for _, version := range []byte{v4, v5} {
		s := start(t)
		hold := make(chan struct{})
		s.h.answerWith(func(in link.Inbound) {
			go func() {
				<-hold
				in.Ack.Done(link.Success)
			}()
		})
		c := s.client(version, "acme/d1")
		c.write(c.publishBytes(2, "fleet/v1/acme/device/d1/report", 7, []byte("r")))
		in := s.h.next(t)
		if in.Topic != "fleet/v1/acme/device/d1/report" || string(in.Payload) != "r" || in.Principal.String() != "acme/device/d1" || in.Client != "d1" {
			t.Errorf("handler got %+v", in)
		}
		close(hold)
		c.want(tPuback)
	}
}

func TestPublishReachesSubscribers(t *testing.T) {
	s := start(t)
	c := s.client(v5, "acme/d1")
	if code := c.subscribe("fleet/v1/acme/device/d1/manifest", 1); code != 0 {
		t.Fatalf("SUBACK %#x, want QoS 0", code)
	}
	c.ping() // the answer, that there is no state, has ended
	m := link.Message{Topic: "fleet/v1/acme/device/d1/manifest", Payload: []byte("m"), QoS: 1, Retain: true}
	if err := s.b.Publish(context.Background(), m); err != nil {
		t.Fatal(err)
	}
	if got := c.next(); got.payload != "m" || got.qos != 0 || got.retain {
		t.Errorf("got %+v", got)
	}
}
