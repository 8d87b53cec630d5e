package bridge

import (
	"context"
	"errors"
	"hash/maphash"
	"iter"
	"sync"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/internal/failpoint"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// slots serialises what is said on one device's manifest topic: whoever holds the device's lock reads the store and
// publishes. Two devices may share a lock; nobody holds two.
type slots struct {
	seed  maphash.Seed
	locks [256]sync.Mutex
}

func newSlots() *slots { return &slots{seed: maphash.MakeSeed()} }

func (s *slots) of(t ident.Tenant, d ident.Device) *sync.Mutex {
	h := maphash.Comparable(s.seed, [2]string{t.String(), d.String()})
	return &s.locks[h%uint64(len(s.locks))]
}

// announce says what a committed transaction obliges us to say. Nothing here is lost by a crash: a topic's state is in
// the store, an unanswered offer comes again by the due index, and events are best effort.
func (b *Bridge) announce(ctx context.Context, t ident.Tenant, res campaign.Result) {
	ctx = context.WithoutCancel(ctx) // it is committed, so it is said even when its cause has gone
	for d := range topicsOf(res) {
		b.refresh(ctx, t, d)
	}
	for _, p := range res.Permits {
		b.publishPermit(ctx, t, p)
	}
	b.note(t, res)
}

// announceSoon is announce by the speaker, for whoever must not wait for the link.
func (b *Bridge) announceSoon(t ident.Tenant, res campaign.Result) {
	for d := range topicsOf(res) {
		b.speaker.put(word{owner: owner{t, d}})
	}
	for _, p := range res.Permits {
		b.speaker.put(word{owner{t, p.Device}, &p})
	}
	b.note(t, res)
}

// topicsOf are the devices whose manifest topics have changed.
func topicsOf(res campaign.Result) iter.Seq[ident.Device] {
	return func(yield func(ident.Device) bool) {
		for _, o := range res.Offers {
			if !yield(o.Device) {
				return
			}
		}
		for _, c := range res.Clears {
			if !yield(c.Device) {
				return
			}
		}
	}
}

// note has the events of res, the progress of its campaigns, and their next turns taken care of. It waits for nobody.
func (b *Bridge) note(t ident.Tenant, res campaign.Result) {
	b.queueEvents(t, res.Transitions)
	if len(res.Campaigns) == 0 {
		return
	}
	now := b.o.Now()
	for _, c := range res.Campaigns {
		b.progress.mark(job{t, c})
		b.turns.want(job{t, c}, now.Add(settle))
	}
}

// remind is announce after a transaction whose commit failed: it may be there all the same. What topics hold is said
// again, from the store, so it is right either way; events of what perhaps did not happen are not.
func (b *Bridge) remind(ctx context.Context, t ident.Tenant, res campaign.Result) {
	res.Transitions = nil
	b.announce(ctx, t, res)
}

// refresh publishes what a device's manifest topic holds now. It reads the store under the device's lock, so the last
// message is never older than the last commit, however the callers were scheduled.
func (b *Bridge) refresh(ctx context.Context, t ident.Tenant, d ident.Device) {
	failpoint.At("topic: before publish", "")
	topic := topics.ManifestTopic(t, d)
	if !b.heard(topic) {
		return // a device that is away is told when it subscribes
	}
	lock := b.slots.of(t, d)
	lock.Lock()
	defer lock.Unlock()
	var envelope []byte
	err := b.manifests.view(ctx, b.o.Store, func(r manifestReader) error {
		var err error
		envelope, err = onTopic(r, t, d)
		return err
	})
	if err != nil {
		b.o.Logger.Error("manifest could not be read for its topic", "tenant", t, "device", d, "err", err)
		return
	}
	b.publish(ctx, link.Message{Topic: topic, Payload: envelope, QoS: 1, Retain: true})
}

// heard says whether anybody may be listening to topic. Asked after a commit: whoever subscribes later is told its state from
// the store.
func (b *Bridge) heard(topic string) bool { return b.audience == nil || b.audience.Subscribed(topic) }

// publish hands m to the link. A link that is closing takes no more; what it missed is in the store.
func (b *Bridge) publish(ctx context.Context, m link.Message) {
	err := b.o.Link.Publish(ctx, m)
	if err != nil && !errors.Is(err, link.ErrClosed) {
		b.o.Logger.Warn("message could not be published", "topic", m.Topic, "err", err)
	}
}
