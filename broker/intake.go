package broker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/link"
)

// intake is the handler that Serve brought, and how many messages it has in hand.
type intake struct {
	mu      sync.Mutex
	handler link.Handler // nil: nobody serves
	ctx     context.Context
	inHand  int
	empty   chan struct{} // closed when drain may return; nil when nobody drains

	once   sync.Once
	served chan struct{} // closed by the first open
}

var errServing = errors.New("another Serve runs")

func (i *intake) open(ctx context.Context, h link.Handler) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.handler != nil || i.empty != nil {
		return errServing
	}
	i.handler, i.ctx = h, ctx
	i.once.Do(func() { close(i.served) })
	return nil
}

// drain lets no more messages in and returns after the last one in hand is answered.
func (i *intake) drain() {
	i.mu.Lock()
	i.handler, i.ctx = nil, nil
	empty := make(chan struct{})
	if i.inHand == 0 {
		close(empty)
	}
	i.empty = empty
	i.mu.Unlock()
	<-empty
	i.mu.Lock()
	i.empty = nil
	i.mu.Unlock()
}

// enter takes one message in hand; the handler is nil if nobody serves.
func (i *intake) enter() (context.Context, link.Handler) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.handler != nil {
		i.inHand++
	}
	return i.ctx, i.handler
}

func (i *intake) leave() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.inHand--; i.inHand == 0 && i.empty != nil {
		close(i.empty)
	}
}

// verdict is how a message was answered: with a code, or refused with an error.
type verdict struct {
	code    link.Code
	refused error
}

// ack is the link.Ack of one message. The first answer counts.
type ack struct {
	said   atomic.Bool
	answer chan verdict // holds one
}

// Done implements link.Ack.
func (a *ack) Done(code link.Code) { a.say(verdict{code: code}) }

// Refuse implements link.Ack.
func (a *ack) Refuse(err error) {
	if err == nil {
		err = errors.New("refused")
	}
	a.say(verdict{refused: err})
}

func (a *ack) say(v verdict) {
	if a.said.CompareAndSwap(false, true) {
		a.answer <- v
	}
}

var errNotServing = errors.New("nobody serves the link")

// deliver gives a message to the handler and waits for its answer. It runs in the connection's read goroutine: while it
// waits, that client's next packets wait in the socket, and nobody else does.
func (b *Broker) deliver(c *conn, in link.Inbound) verdict {
	ctx, h := b.intake.enter()
	if h == nil {
		return verdict{refused: errNotServing}
	}
	defer b.intake.leave()
	a := &ack{answer: make(chan verdict, 1)}
	in.Ack, in.Reply = a, replier{c}
	h.Handle(ctx, in)
	return <-a.answer
}

// OnPublish is the only place before PUBACK where a message can be held back.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl.Net.Inline {
		return pk, nil // ours
	}
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return pk, packets.ErrRejectPacket
	}
	v := h.b.deliver(c, inbound(c, pk))
	if v.refused != nil {
		h.b.stats.refused.Add(1)
		h.b.refusal("message refused", "topic", pk.TopicName, "principal", c.principal.String(), "err", v.refused)
		h.b.disconnect(c, packets.ErrServerBusy)
	} else {
		h.b.stats.handled.Add(1)
	}
	return pk, mochiAnswer(v, c.v5, pk.FixedHeader.Qos)
}

// mochiAnswer maps a verdict to what mochi can be told without harm, and is the one place that does: an error that is
// none of these it acknowledges and delivers, an error code it acknowledges and delivers for MQTT 3.1.1 and QoS 0, and
// a wrapped code it panics on.
func mochiAnswer(v verdict, v5 bool, qos byte) error {
	switch {
	case v.refused != nil:
		return packets.ErrRejectPacket // no PUBACK; the caller has closed the connection
	case v.code < link.Unspecified || !v5 || qos != 1:
		return packets.CodeSuccessIgnore // acknowledged if that is due, and consumed
	}
	switch v.code {
	case link.ImplementationErr, link.NotAuthorized, link.TopicNameInvalid, link.QuotaExceeded, link.PayloadFormatError:
		return packets.Code{Code: byte(v.code), Reason: "message refused for good"}
	}
	return packets.ErrUnspecifiedError // the only code left that PUBACK may carry [MQTT-3.4.2-1]
}

// inbound copies what may outlive the packet, whose buffer its strings alias.
func inbound(c *conn, pk packets.Packet) link.Inbound {
	in := link.Inbound{
		Topic:     strings.Clone(pk.TopicName),
		Payload:   pk.Payload,
		QoS:       pk.FixedHeader.Qos,
		Retain:    pk.FixedHeader.Retain,
		Dup:       pk.FixedHeader.Dup,
		Principal: c.principal,
		Client:    c.clientID,
		V5:        c.v5,
		MaxPacket: c.client.Properties.Props.MaximumPacketSize,
		Memo:      &c.memo,
	}
	p := &pk.Properties
	in.Props.ContentType = strings.Clone(p.ContentType)
	in.Props.ResponseTopic = strings.Clone(p.ResponseTopic)
	in.Props.Expiry = p.MessageExpiryInterval
	if len(p.CorrelationData) > 0 {
		in.Props.CorrelationData = append([]byte(nil), p.CorrelationData...)
	}
	for _, u := range p.User {
		in.Props.User = append(in.Props.User, link.Property{Key: strings.Clone(u.Key), Value: strings.Clone(u.Val)})
	}
	return in
}
