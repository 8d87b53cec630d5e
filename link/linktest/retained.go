package linktest

import (
	"fmt"
	"strconv"
	"sync"

	"fleetbridge/link"
)

// state changes the state of a topic as the bridge does: first the store, then the publish.
func (s *suite) state(topic, payload string) {
	s.Helper()
	s.SetRetained(topic, payload)
	s.publish(link.Message{Topic: topic, Payload: []byte(payload), QoS: 1, Retain: true})
}

func retainedState(s *suite) {
	s.versions(func(v5 bool) {
		d := device("acme", "d1")
		topic := own(d, "manifest")
		early := s.connect(Dial{Principal: d, V5: v5})
		s.subscribe(early, topic)
		s.wantNothing(early) // no state yet
		s.state(topic, "one")
		s.wantNext(early, topic, "one", false) // live, and so not flagged [MQTT-3.3.1-12]
		s.subscribe(early, topic)
		s.wantNext(early, topic, "one", true) // again for a repeated SUBSCRIBE [MQTT-3.8.4-3]
		s.wantNothing(early)                  // the answer has ended: a change during it may come with the flag as well
		s.state(topic, "two")
		s.wantNext(early, topic, "two", false)
		s.close(early)

		late := s.connect(Dial{Principal: d, V5: v5})
		s.subscribe(late, topic)
		s.wantNext(late, topic, "two", true)
		s.wantNothing(late)
		s.state(topic, "")
		s.wantNext(late, topic, "", false)
		s.subscribe(late, topic)
		s.wantNothing(late)
		s.close(late)
	})
}

func retainedThroughFilters(s *suite) {
	const n = 50
	for i := range n {
		s.SetRetained(own(device("acme", fmt.Sprintf("d%d", i)), "manifest"), "m"+strconv.Itoa(i))
	}
	s.SetRetained(own(device("evil", "d1"), "manifest"), "theirs")
	s.SetRetained("fleet/v1/acme/campaign/c/progress", "p")
	op := s.connect(Dial{Principal: operator("acme")})
	s.subscribe(op, "fleet/v1/acme/#")
	got := map[string]string{}
	for range n + 1 {
		m, err := op.Next()
		if err != nil {
			s.Fatal(err)
		}
		if !m.Retain {
			s.Errorf("%s has no retain flag", m.Topic)
		}
		got[m.Topic] = m.Payload
	}
	s.wantNothing(op)
	for i := range n {
		if topic := own(device("acme", fmt.Sprintf("d%d", i)), "manifest"); got[topic] != "m"+strconv.Itoa(i) {
			s.Errorf("%s: got %q", topic, got[topic])
		}
	}
	if got["fleet/v1/acme/campaign/c/progress"] != "p" {
		s.Error("the state of progress is missing")
	}
	shared := s.connect(Dial{Principal: operator("acme")})
	s.subscribe(shared, "$share/g/fleet/v1/acme/#")
	s.wantNothing(shared) // MQTT 5 section 4.8.2
}

// Whoever subscribes while the state changes ends with the last state, however the two meet.
func retainedIsNeverStale(s *suite) { neverStale(s, s.state) }

// neverStale has devices subscribe while change is called with one state after the other.
func neverStale(s *suite, change func(topic, state string)) {
	const rounds, changes = 40, 20
	d := device("acme", "d1")
	topic := own(d, "manifest")
	for round := range rounds {
		c := s.connect(Dial{Principal: d, V5: round%2 == 0})
		first, last := round*changes, (round+1)*changes-1
		s.SetRetained(topic, strconv.Itoa(first))
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := first + 1; i <= last; i++ {
				change(topic, strconv.Itoa(i))
			}
		})
		s.subscribe(c, topic)
		wg.Wait()
		seen := "nothing"
		for _, m := range s.drain(c) {
			seen = m.Payload
		}
		if seen != strconv.Itoa(last) {
			s.Fatalf("round %d: the last state seen is %s, want %d", round, seen, last)
		}
		s.close(c)
	}
}
