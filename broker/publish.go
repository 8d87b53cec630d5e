package broker

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/link"
)

// published is a client's PUBLISH.
type published struct {
	topic   []byte
	id      uint16
	props   link.Properties
	payload []byte
}

// publish hands a PUBLISH to the handler, or answers it.
func (c *conn) publish(head byte, body []byte) packets.Code {
	qos := head >> 1 & 3
	p, code := parsePublish(qos, body, c.v5)
	if code != packets.CodeSuccess {
		return code
	}
	topic, code := c.mayPublish(p.topic)
	switch code {
	case packets.CodeSuccess:
		c.hand(head, topic, p)
	case packets.ErrNotAuthorized:
		return c.deny(qos, p.id)
	}
	return code
}

// parsePublish decodes a PUBLISH, MQTT 5 section 3.3, and refuses what no PUBLISH to us may be.
func parsePublish(qos byte, body []byte, v5 bool) (p published, code packets.Code) {
	if len(body) < 2 {
		return p, packets.ErrMalformedTopic
	}
	n := int(binary.BigEndian.Uint16(body))
	if body = body[2:]; n > len(body) {
		return p, packets.ErrMalformedTopic
	}
	p.topic, body = body[:n], body[n:]
	if qos > 0 {
		if len(body) < 2 {
			return p, packets.ErrMalformedPacketID
		}
		p.id, body = binary.BigEndian.Uint16(body), body[2:]
		if p.id == 0 {
			return p, packets.ErrProtocolViolationNoPacketID // [MQTT-2.2.1-3]
		}
	}
	switch {
	case qos > 1:
		return p, packets.ErrQosNotSupported // [MQTT-3.2.2-11]
	case n > 0 && p.topic[0] == '$':
		return p, packets.ErrTopicNameInvalid
	case bytes.ContainsAny(p.topic, "+#"):
		return p, packets.ErrProtocolViolationSurplusWildcard // [MQTT-3.3.2-2]
	}
	aliased := false
	if v5 {
		if body, aliased, code = p.properties(body); code != packets.CodeSuccess {
			return p, code
		}
	}
	switch {
	case aliased:
		return p, packets.ErrTopicAliasInvalid // [MQTT-3.3.2-9]; CONNACK allows none
	case n == 0:
		return p, packets.ErrProtocolViolationNoTopic
	}
	p.payload = body
	return p, packets.CodeSuccess
}

// properties takes the properties off the front of b; most packets have none.
func (p *published) properties(b []byte) (rest []byte, aliased bool, code packets.Code) {
	if len(b) > 0 && b[0] == 0 {
		return b[1:], false, packets.CodeSuccess
	}
	return p.decodeProperties(b)
}

// decodeProperties copies what may outlive the packet, whose buffer the decoded strings alias.
func (p *published) decodeProperties(b []byte) (rest []byte, aliased bool, code packets.Code) {
	var in packets.Properties
	n, err := in.Decode(packets.Publish, bytes.NewBuffer(b))
	if err != nil || n > len(b) {
		return nil, false, packets.ErrMalformedProperties
	}
	if len(in.SubscriptionIdentifier) > 0 {
		return nil, false, packets.ErrProtocolViolationSurplusSubID // [MQTT-3.3.4-6]
	}
	p.props = link.Properties{
		ContentType:     strings.Clone(in.ContentType),
		ResponseTopic:   strings.Clone(in.ResponseTopic),
		CorrelationData: bytes.Clone(in.CorrelationData),
		Expiry:          in.MessageExpiryInterval,
	}
	if len(in.CorrelationData) == 0 {
		p.props.CorrelationData = nil
	}
	for _, u := range in.User {
		p.props.User = append(p.props.User, link.Property{Key: strings.Clone(u.Key), Value: strings.Clone(u.Val)})
	}
	return b[n:], in.TopicAliasFlag, packets.CodeSuccess
}

// allowed is the topics that a connection published to last: a device has three, and Access always says the same.
type allowed struct {
	topics [3]string
	next   uint8
}

// mayPublish asks Access, once for each of the last topics.
func (c *conn) mayPublish(topic []byte) (string, packets.Code) {
	a := &c.allowed
	for _, t := range a.topics {
		if t == string(topic) { // without an allocation
			return t, packets.CodeSuccess
		}
	}
	t := string(topic)
	if !utf8.ValidString(t) || strings.ContainsRune(t, 0) {
		return t, packets.ErrMalformedTopic // [MQTT-1.5.4-1], [MQTT-1.5.4-2]
	}
	if checkName(t) != nil || c.b.o.Access.MayPublish(c.principal, t) != nil {
		c.b.stats.denied.Add(1)
		c.b.refusal("publish denied", "principal", c.principal.String(), "topic", t)
		return t, packets.ErrNotAuthorized
	}
	a.topics[a.next] = t
	a.next = (a.next + 1) % uint8(len(a.topics))
	return t, packets.CodeSuccess
}

// deny answers a PUBLISH that its client may not make. MQTT 3.1.1 can only be closed [MQTT-3.3.5-2].
func (c *conn) deny(qos byte, id uint16) packets.Code {
	if !c.v5 {
		return packets.CodeDisconnect
	}
	if qos == 0 {
		return packets.CodeSuccess
	}
	a := &ack{c: c, id: id, qos: qos, code: link.NotAuthorized}
	a.state.Store(answered)
	c.mu.Lock()
	for c.inHand >= maxInHand {
		c.waitLocked(true)
	}
	c.push(a)
	c.mu.Unlock()
	c.ackSoon()
	return packets.CodeSuccess
}

// hand gives a message to the handler. It may return before the message is answered; the message has memory of its own.
func (c *conn) hand(head byte, topic string, p published) {
	a := &ack{c: c, id: p.id, qos: head >> 1 & 3}
	s := c.enter(a)
	if s == nil {
		c.b.refuseUnserved(c)
		return
	}
	defer c.left(a)
	s.h.Handle(s.ctx, link.Inbound{
		Topic:     topic,
		Payload:   bytes.Clone(p.payload),
		QoS:       a.qos,
		Retain:    head&1 == 1,
		Dup:       head&8 != 0,
		Props:     p.props,
		Principal: c.principal,
		Client:    c.clientID,
		V5:        c.v5,
		MaxPacket: c.limit,
		Memo:      &c.memo,
		Ack:       a,
		Reply:     replier{c},
	})
	a.ran = true
}

// left is called once the handler has returned, or has panicked: then the message is refused, so that nobody waits for it.
func (c *conn) left(a *ack) {
	switch {
	case !a.state.CompareAndSwap(handling, returned):
		if a.qos > 0 {
			c.ackSoon()
		}
	case !a.ran:
		a.Refuse(errPanicked)
	}
	c.leave()
}

// refuseUnserved ends the connection of a client whose message nobody takes.
func (b *Broker) refuseUnserved(c *conn) {
	b.stats.refused.Add(1)
	b.refusal("message refused", "principal", c.principal.String(), "err", "nobody serves the link")
	c.refused.Store(true)
}
