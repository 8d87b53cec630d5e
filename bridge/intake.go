package bridge

import (
	"context"
	"fmt"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// Handle takes one message of an uplink channel. It ends the Ack of a fetch or a command before it returns, that of a hello or
// a report when the store has it. See link.Handler.
func (b *Bridge) Handle(ctx context.Context, in link.Inbound) {
	a, err := memoOf(in).parse(in.Topic)
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
	r := &arrival{b: b, ctx: ctx, addr: a, in: in, seq: rep.Seq}
	r.apply = func(tx campaign.Tx, now time.Time) (campaign.Result, error) {
		return campaign.ApplyReport(tx, now, a.Tenant, a.Device, reportOf(rep, format))
	}
	r.follow = func(res campaign.Result) {
		b.countVerdict(res.Verdict)
		if rep.Receipt {
			b.receipts.put(ctx, a, in, topics.Receipt{Seq: rep.Seq, Verdict: topics.Verdict(res.Verdict)}, format)
		}
	}
	b.record(r)
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

// handleHello records what a device says of itself, which may prove an update.
func (b *Bridge) handleHello(ctx context.Context, a topics.Address, in link.Inbound) {
	h, _, err := topics.DecodeHello(in.Payload)
	if err != nil {
		b.undecodable(a, in, err)
		return
	}
	r := &arrival{b: b, ctx: ctx, addr: a, in: in, seq: h.Seq}
	r.apply = func(tx campaign.Tx, now time.Time) (campaign.Result, error) {
		return campaign.ApplyHello(tx, now, a.Tenant, a.Device, helloOf(h))
	}
	r.follow = func(res campaign.Result) {
		b.stats.hellos.Add(1)
		if res.Verdict == campaign.NoRoom {
			b.stats.turnedAway.Add(1)
			b.o.Logger.Warn("device was not registered: the tenant's quota of devices is used up", "tenant", a.Tenant, "device", a.Device)
		}
	}
	b.record(r)
}
