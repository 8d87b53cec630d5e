package linktest

import (
	"fleetbridge/link"
)

// audience: whoever would get a message is found, by whatever filter.
func audience(s *suite) {
	a, ok := s.Link.(link.Audience)
	if !ok {
		s.Skip("the link does not know who listens")
	}
	d := device("acme", "d1")
	topic := own(d, "manifest")
	for _, c := range []struct {
		filter string
		who    Dial
	}{
		{topic, Dial{Principal: d}},
		{topic, Dial{Principal: d, V5: true}},
		{"fleet/v1/acme/device/+/manifest", Dial{Principal: operator("acme")}},
		{"fleet/v1/acme/#", Dial{Principal: operator("acme")}},
		{"$share/g/fleet/v1/acme/#", Dial{Principal: operator("acme")}},
	} {
		if a.Subscribed(topic) {
			s.Errorf("%s: somebody is found before anybody subscribed", c.filter)
		}
		cl := s.connect(c.who)
		s.subscribe(cl, c.filter)
		if !a.Subscribed(topic) {
			s.Errorf("%s: its subscriber is not found", c.filter)
		}
		s.close(cl)
		s.eventually("nobody is subscribed", func() bool { return !a.Subscribed(topic) })
	}
}

// audienceIsNeverStale: whoever subscribes while the state changes ends with the last one, also if it is published only to
// those who are found then.
func audienceIsNeverStale(s *suite) {
	a, ok := s.Link.(link.Audience)
	if !ok {
		s.Skip("the link does not know who listens")
	}
	neverStale(s, func(topic, state string) {
		if s.SetRetained(topic, state); a.Subscribed(topic) {
			s.publish(link.Message{Topic: topic, Payload: []byte(state), QoS: 1, Retain: true})
		}
	})
}
