package bridge_test

import (
	"context"
	"fmt"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// gatedStore holds every View back while its gate is shut.
type gatedStore struct {
	campaign.Store
	gate chan chan struct{} // holds the gate that is shut, if one is
}

func (s gatedStore) View(ctx context.Context, fn func(campaign.Reader) error) error {
	select {
	case shut := <-s.gate:
		s.gate <- shut
		select {
		case <-shut:
		case <-ctx.Done():
			return ctx.Err()
		}
	default:
	}
	return s.Store.View(ctx, fn)
}

// TestScansRunApart: a command that reads everything is acknowledged at once and answered later; one tenant can hold a few
// places, and none of another's; what is over them is refused, not queued without end.
func TestScansRunApart(t *testing.T) {
	gate := make(chan chan struct{}, 1)
	f := start(t, func(s campaign.Store) campaign.Store { return gatedStore{s, gate} })
	f.fleet(3)
	shut := make(chan struct{})
	gate <- shut
	ask := func(p topics.Principal, n int) string {
		in := link.Inbound{Topic: topics.CommandTopic(p.Tenant, "selector", "test"), QoS: 1,
			Payload: must(topics.Encode(topics.SelectorTest{Filter: `id != "x"`}, topics.JSON))}
		in.Props.CorrelationData = fmt.Append(nil, "scan ", n)
		want := string(in.Props.CorrelationData)
		if out := f.link.publish(t, p, in); !out.done || out.code != link.Success {
			t.Fatalf("%+v", out)
		}
		for _, b := range [][]byte{in.Payload, in.Props.CorrelationData} {
			clear(b) // the link's again
		}
		return want
	}
	answered := func(p topics.Principal, id string) func(link.Message) bool {
		return func(m link.Message) bool {
			return m.Topic == topics.ReplyTopic(p.Tenant, p.Name) && string(m.Props.CorrelationData) == id
		}
	}
	var ids []string
	for n := range 4 {
		ids = append(ids, ask(operator, n))
	}
	if got := f.link.on(topics.ReplyTopic(acme, operator.Name)); len(got) != 0 {
		t.Fatalf("answered while the store is shut: %s", got[0].Payload)
	}
	m, _ := f.link.await(t, "refusal", 0, answered(operator, ask(operator, 5)))
	if p := topics.DecodeProblem(m.Payload); p == nil || p.Type != topics.ProblemQuota {
		t.Errorf("one scan too many: %s", m.Payload)
	}
	theirs := ask(stranger, 6)
	<-gate
	close(shut)
	for _, id := range ids {
		m, _ := f.link.await(t, id, 0, answered(operator, id))
		var v topics.SelectorTested
		if _, err := topics.Decode(m.Payload, &v); err != nil || v.Matched != 3 {
			t.Errorf("%s: %s", id, m.Payload)
		}
	}
	f.link.await(t, theirs, 0, answered(stranger, theirs))
	f.ok("selector", "test", topics.SelectorTest{Filter: `id != "x"`}, nil)
}

// TestScanEndsWithItsDeadline: waiting for a turn counts, and the bridge ends though one waits.
func TestScanEndsWithItsDeadline(t *testing.T) {
	gate := make(chan chan struct{}, 1)
	f := start(t, func(s campaign.Store) campaign.Store { return gatedStore{s, gate} })
	f.fleet(1)
	gate <- make(chan struct{})
	in := link.Inbound{Topic: topics.CommandTopic(acme, "server", "check"), QoS: 1, Payload: []byte("{}")}
	in.Props.Expiry = 1
	f.link.publish(t, operator, in)
	m, _ := f.link.await(t, "reply", 0, func(m link.Message) bool { return m.Topic == topics.ReplyTopic(acme, operator.Name) })
	if p := topics.DecodeProblem(m.Payload); p == nil || p.Type != topics.ProblemDeadlinePassed {
		t.Errorf("%s", m.Payload)
	}
	in.Props.Expiry = 0
	f.link.publish(t, operator, in)
	f.stop()
	<-gate
}
