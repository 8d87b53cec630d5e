package bridge

import (
	"context"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// Events are best effort, and come in bursts: a slice of the engine moves hundreds of devices at once. They are spread
// out so that a subscriber's queue, which is short, has room for what it must not miss.
const (
	eventQueue = 8192                 // more are dropped and counted
	eventBurst = 16                   // published at once
	eventPause = 2 * time.Millisecond // between bursts
)

// event is a transition to be published.
type event struct {
	tenant ident.Tenant
	campaign.Transition
}

// queueEvents hands transitions that anybody listens to to runEvents.
func (b *Bridge) queueEvents(t ident.Tenant, list []campaign.Transition) {
	var asked ident.Campaign // the campaigns of a list are mostly one
	var heard bool
	for _, tr := range list {
		if tr.Campaign != asked {
			asked, heard = tr.Campaign, b.heard(topics.EventTopic(t, tr.Campaign))
		}
		if !heard {
			continue
		}
		select {
		case b.events <- event{t, tr}:
		default:
			b.stats.eventsDropped.Add(1)
		}
	}
}

// runEvents publishes what was queued until ctx ends.
func (b *Bridge) runEvents(ctx context.Context) error {
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case e := <-b.events:
			b.publishEvent(ctx, e)
		}
		if n%eventBurst == 0 {
			if err := sleep(ctx, eventPause, nil); err != nil {
				return nil // ctx has ended
			}
		}
	}
}

func (b *Bridge) publishEvent(ctx context.Context, e event) {
	body, err := topics.Encode(eventOf(e.Transition), topics.JSON)
	if err != nil {
		b.o.Logger.Error("event could not be encoded", "tenant", e.tenant, "campaign", e.Campaign, "err", err)
		return
	}
	b.publish(ctx, link.Message{Topic: topics.EventTopic(e.tenant, e.Campaign), Payload: body})
}
