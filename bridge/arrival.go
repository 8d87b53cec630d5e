package bridge

import (
	"context"
	"fmt"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/internal/failpoint"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// arrival is a hello or a report on its way into the store. Its connection waits for nothing: commit runs on the store's
// goroutine, and committed when it is durable, in the order in which the connection's messages came.
type arrival struct {
	b      *Bridge
	ctx    context.Context // of Handle
	addr   topics.Address
	in     link.Inbound
	seq    uint64
	apply  func(campaign.Tx, time.Time) (campaign.Result, error)
	follow func(campaign.Result) // what follows a commit, beside announcing it; waits for nobody

	began  time.Time
	res    campaign.Result
	failed error // of apply
}

// record gives r to the store. Its Done stands in committed and nowhere else: this order is what a device's PUBACK is worth.
func (b *Bridge) record(r *arrival) {
	b.underway.add()
	r.began = b.o.Now()
	b.o.Store.Submit(r.ctx, r.commit, r.committed)
}

// commit is r's transaction.
func (r *arrival) commit(tx campaign.Tx) error {
	r.res, r.failed = r.apply(tx, r.began)
	failpoint.At("device: before commit", string(r.addr.Channel))
	return r.failed
}

// committed ends the message, and has said what follows from it. err is the store's word: nil means durable. It holds up the
// answers to everybody, so whatever could wait goes to the speaker.
func (r *arrival) committed(err error) {
	b := r.b
	defer b.underway.done()
	failpoint.At("device: after commit", string(r.addr.Channel))
	if err != nil {
		if r.failed == nil {
			err = fmt.Errorf("%w: %w", campaign.ErrUnavailable, err)
		}
		b.refuse(r.addr, r.in, fmt.Errorf("record %s %d: %w", r.addr.Channel, r.seq, err))
		r.res.Transitions = nil // it may be there all the same, see remind
		b.announceSoon(r.addr.Tenant, r.res)
		return
	}
	b.stats.commits.add(b.o.Now().Sub(r.began))
	r.in.Ack.Done(codeOf(r.res.Verdict)) // durable: the store has said so
	failpoint.At("device: after PUBACK", string(r.addr.Channel))
	r.follow(r.res)
	b.announceSoon(r.addr.Tenant, r.res)
}
