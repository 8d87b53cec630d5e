package bridge

import (
	"context"
	"fmt"

	"fleetbridge/campaign"
	"fleetbridge/internal/failpoint"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// Handle takes one message of an uplink channel and ends its Ack before it returns. See link.Handler.
func (b *Bridge) Handle(ctx context.Context, in link.Inbound) {
	a, err := topics.Parse(in.Topic)
	if err != nil {
		b.misplaced(in, link.TopicNameInvalid, err)
		return
	}
	// The tenant is the connection's, never the topic's: the link has checked it, and so do we.
	if in.Principal.IsZero() || a.Tenant != in.Principal.Tenant {
		b.misplaced(in, link.NotAuthorized, fmt.Errorf("publish on %s: %w", in.Topic, topics.ErrDenied))
		return
	}
	var handle func(context.Context, topics.Address, link.Inbound)
	own := in.Principal.Role == topics.RoleDevice && in.Principal.Name.String() == a.Device.String()
	switch a.Channel {
	case topics.ChannelHello:
		handle = b.handleHello
	case topics.ChannelReport:
		handle = b.handleReport
	case topics.ChannelFetch:
		handle = b.handleFetch
	case topics.ChannelCommand:
		handle, own = b.handleCommand, true // its role is the command's question
	default:
		b.misplaced(in, link.TopicNameInvalid, fmt.Errorf("publish on %s: %w", in.Topic, topics.ErrTopic))
		return
	}
	if !own {
		b.misplaced(in, link.NotAuthorized, fmt.Errorf("publish on %s: %w", in.Topic, topics.ErrDenied))
		return
	}
	handle(ctx, a, in)
}

// misplaced ends a message that should not have come: sending it again can't help.
func (b *Bridge) misplaced(in link.Inbound, code link.Code, err error) {
	b.stats.misplaced.Add(1)
	b.o.Logger.Debug("misplaced message was dropped", "principal", in.Principal.String(), "err", err)
	in.Ack.Done(code)
}

// undecodable ends a message whose body means nothing: sending it again can't help.
func (b *Bridge) undecodable(a topics.Address, in link.Inbound, err error) {
	b.stats.undecodable.Add(1)
	b.o.Logger.Debug("undecodable message was dropped", "tenant", a.Tenant, "device", a.Device, "channel", string(a.Channel), "err", err)
	in.Ack.Done(link.PayloadFormatError)
}

// refuse ends a message that the store could not take: it must come again.
func (b *Bridge) refuse(a topics.Address, in link.Inbound, err error) {
	b.stats.refused.Add(1)
	b.o.Logger.Warn("message was refused", "tenant", a.Tenant, "device", a.Device, "channel", string(a.Channel), "err", err)
	in.Ack.Refuse(err)
}

// record runs fn in one transaction and ends the message; false means that it was refused. Its Done stands after the
// commit and nowhere else: this order is what a device's PUBACK is worth.
func (b *Bridge) record(ctx context.Context, a topics.Address, in link.Inbound, what string, fn func(tx campaign.Tx) (campaign.Result, error)) (campaign.Result, bool) {
	var res campaign.Result
	err := b.commit(ctx, func(tx campaign.Tx) (err error) {
		res, err = fn(tx)
		failpoint.At("device: before commit", string(a.Channel))
		return err
	})
	failpoint.At("device: after commit", string(a.Channel))
	if err != nil {
		b.refuse(a, in, fmt.Errorf("record %s: %w", what, err))
		b.remind(ctx, a.Tenant, res)
		return res, false
	}
	in.Ack.Done(codeOf(res.Verdict)) // durable: the commit above has returned
	failpoint.At("device: after PUBACK", string(a.Channel))
	return res, true
}

// codeOf is how a recorded message is answered. A device that has no room hears of it where the protocol can say so.
func codeOf(v campaign.Verdict) link.Code {
	if v == campaign.NoRoom {
		return link.QuotaExceeded
	}
	return link.Success
}

// handleReport records a report, then says what follows from it.
func (b *Bridge) handleReport(ctx context.Context, a topics.Address, in link.Inbound) {
	rep, format, err := topics.DecodeReport(in.Payload)
	if err != nil {
		b.undecodable(a, in, err)
		return
	}
	now := b.o.Now()
	res, ok := b.record(ctx, a, in, fmt.Sprintf("report %d", rep.Seq), func(tx campaign.Tx) (campaign.Result, error) {
		return campaign.ApplyReport(tx, now, a.Tenant, a.Device, reportOf(rep, format))
	})
	if !ok {
		return
	}
	b.countVerdict(res.Verdict)
	if rep.Receipt {
		b.sendReceipt(ctx, a, in, topics.Receipt{Seq: rep.Seq, Verdict: topics.Verdict(res.Verdict)}, format)
	}
	b.announce(ctx, a.Tenant, res)
}

func (b *Bridge) countVerdict(v campaign.Verdict) {
	switch v {
	case campaign.Recorded:
		b.stats.recorded.Add(1)
	case campaign.Duplicate:
		b.stats.duplicates.Add(1)
	case campaign.Stale:
		b.stats.stale.Add(1)
	case campaign.Unknown:
		b.stats.unknown.Add(1)
	}
}

// sendReceipt is best effort: a device that gets none sends its report again.
func (b *Bridge) sendReceipt(ctx context.Context, a topics.Address, in link.Inbound, r topics.Receipt, f topics.Format) {
	body, err := topics.Encode(r, f)
	if err == nil {
		err = in.Reply.Send(ctx, link.Message{Topic: topics.ReceiptTopic(a.Tenant, a.Device), Payload: body})
	}
	if err != nil {
		b.o.Logger.Debug("receipt could not be sent", "tenant", a.Tenant, "device", a.Device, "err", err)
	}
}

// handleHello records what a device says of itself, which may prove an update.
func (b *Bridge) handleHello(ctx context.Context, a topics.Address, in link.Inbound) {
	h, _, err := topics.DecodeHello(in.Payload)
	if err != nil {
		b.undecodable(a, in, err)
		return
	}
	now := b.o.Now()
	res, ok := b.record(ctx, a, in, fmt.Sprintf("hello %d", h.Seq), func(tx campaign.Tx) (campaign.Result, error) {
		return campaign.ApplyHello(tx, now, a.Tenant, a.Device, helloOf(h))
	})
	if !ok {
		return
	}
	b.stats.hellos.Add(1)
	if res.Verdict == campaign.NoRoom {
		b.stats.turnedAway.Add(1)
		b.o.Logger.Warn("device was not registered: the tenant's quota of devices is used up", "tenant", a.Tenant, "device", a.Device)
	}
	b.announce(ctx, a.Tenant, res)
}
