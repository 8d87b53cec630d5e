package broker

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"
)

// subscribe answers a SUBSCRIBE and then tells the state of its topics. Everything is granted at QoS 0.
func (c *conn) subscribe(body []byte) packets.Code {
	b := c.b
	if checkSubscribe(body, c.v5) != nil {
		return packets.ErrMalformedPacket // before mochi's decoder, which panics on some
	}
	pk := c.decode(packets.Subscribe, len(body))
	if err := pk.SubscribeDecode(body); err != nil {
		return packets.ErrMalformedPacket
	}
	if code := pk.SubscribeValidate(); code != packets.CodeSuccess {
		return code
	}
	if len(c.subs)+len(pk.Filters) > b.o.MaxSubscriptions {
		b.refusal("too many subscriptions", "principal", c.principal.String())
		return packets.ErrQuotaExceeded
	}
	var grants []grant
	codes := make([]byte, len(pk.Filters))
	for i := range pk.Filters {
		f := &pk.Filters[i]
		if f.NoLocal && isShared(f.Filter) {
			return packets.ErrProtocolViolationInvalidSharedNoLocal // [MQTT-3.8.3-4]
		}
		codes[i] = c.mayNotSubscribe(f.Filter)
		if codes[i] != 0 {
			continue
		}
		s := &subscription{c: c, filter: strings.Clone(f.Filter), shared: isShared(f.Filter), published: f.RetainAsPublished, id: uint32(f.Identifier)}
		existed := c.put(s)
		if s.shared || f.RetainHandling == 2 || f.RetainHandling == 1 && existed {
			continue // [MQTT-3.3.1-10], [MQTT-3.3.1-11], MQTT 5 section 4.8.2
		}
		grants = append(grants, grant{filter: s.filter, ids: s.ids()})
	}
	if code := c.answer(ackPacket(packets.Suback, pk.PacketID, c.v5, codes)); code != packets.CodeSuccess {
		return code
	}
	return b.tellRetained(c, grants)
}

// mayNotSubscribe is the failure code of SUBACK, 0 if the filter is granted.
func (c *conn) mayNotSubscribe(filter string) byte {
	code := byte(0)
	switch {
	case checkFilter(filter) != nil && len(filter) > 0:
		code = packets.ErrNotAuthorized.Code
	case !validFilter(filter):
		code = packets.ErrTopicFilterInvalid.Code
	case c.b.o.Access.MaySubscribe(c.principal, filter) != nil:
		code = packets.ErrNotAuthorized.Code
	}
	if code != 0 {
		c.b.stats.denied.Add(1)
		if !c.v5 {
			code = packets.ErrUnspecifiedError.Code
		}
	}
	return code
}

// put makes s one of the connection's subscriptions, instead of one with the same filter [MQTT-3.8.4-3].
func (c *conn) put(s *subscription) (existed bool) {
	if i := c.find(s.filter); i >= 0 {
		c.b.index.remove(c.subs[i])
		c.subs[i] = s
		existed = true
	} else {
		c.subs = append(c.subs, s)
	}
	c.b.index.add(s)
	return existed
}

func (c *conn) find(filter string) int {
	return slices.IndexFunc(c.subs, func(s *subscription) bool { return s.filter == filter })
}

func (s *subscription) ids() []uint32 {
	if s.id == 0 {
		return nil
	}
	return []uint32{s.id}
}

// unsubscribe answers an UNSUBSCRIBE.
func (c *conn) unsubscribe(body []byte) packets.Code {
	pk := c.decode(packets.Unsubscribe, len(body))
	if err := pk.UnsubscribeDecode(body); err != nil {
		return packets.ErrMalformedPacket
	}
	if code := pk.UnsubscribeValidate(); code != packets.CodeSuccess {
		return code
	}
	if slices.ContainsFunc(pk.Filters, func(s packets.Subscription) bool { return checkFilter(s.Filter) != nil }) {
		return packets.ErrTopicFilterInvalid
	}
	codes := make([]byte, len(pk.Filters))
	for i, f := range pk.Filters {
		codes[i] = packets.CodeNoSubscriptionExisted.Code
		if at := c.find(f.Filter); at >= 0 {
			c.b.index.remove(c.subs[at])
			c.subs = slices.Delete(c.subs, at, at+1)
			codes[i] = packets.CodeSuccess.Code
		}
	}
	if !c.v5 {
		codes = nil // an UNSUBACK of MQTT 3.1.1 has no payload
	}
	return c.answer(ackPacket(packets.Unsuback, pk.PacketID, c.v5, codes))
}

// unsubscribeAll ends all subscriptions of a connection that has ended.
func (c *conn) unsubscribeAll() {
	for _, s := range c.subs {
		c.b.index.remove(s)
	}
	c.subs = nil
}

// decode prepares one of mochi's packets for its decoder; its strings will alias the packet's bytes.
func (c *conn) decode(kind byte, size int) packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: kind, Qos: 1, Remaining: size}, ProtocolVersion: 4}
	if c.v5 {
		pk.ProtocolVersion = 5
	}
	return pk
}

// isShared says whether a filter is a shared subscription, whatever the case of its first level.
func isShared(filter string) bool {
	first, _, _ := strings.Cut(filter, "/")
	return strings.EqualFold(first, "$share")
}

// validFilter holds a filter to MQTT 5 sections 4.7.1 and 4.8.2.
func validFilter(filter string) bool {
	if filter == "" {
		return false // [MQTT-4.7.3-1]
	}
	if isShared(filter) {
		_, rest, _ := strings.Cut(filter, "/")
		group, rest, more := strings.Cut(rest, "/")
		if group == "" || rest == "" || !more || strings.ContainsAny(group, "+#") {
			return false // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
		}
		filter = rest
	}
	for more := true; more; {
		var level string
		level, filter, more = strings.Cut(filter, "/")
		if len(level) > 1 && strings.ContainsAny(level, "+#") || level == "#" && more {
			return false // [MQTT-4.7.1-1], [MQTT-4.7.1-2]
		}
	}
	return true
}

var errSubscribe = packets.ErrMalformedPacket

// checkSubscribe holds the body of a SUBSCRIBE to MQTT 5 section 3.8 and MQTT 3.1.1 section 3.8: each filter has its
// options byte, whose reserved bits are 0.
func checkSubscribe(b []byte, v5 bool) error {
	if len(b) < 2 {
		return errSubscribe
	}
	b = b[2:]
	reserved := byte(0xfc)
	if v5 {
		reserved = 0xc0 // [MQTT-3.8.3-5]
		n, size := binary.Uvarint(b[:min(len(b), 4)])
		if size <= 0 || n > uint64(len(b)-size) {
			return errSubscribe
		}
		b = b[size+int(n):]
	}
	if len(b) == 0 {
		return errSubscribe // [MQTT-3.8.3-2]
	}
	for len(b) > 0 {
		if len(b) < 2 {
			return errSubscribe
		}
		n := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+n+1 {
			return errSubscribe
		}
		options := b[2+n]
		if options&reserved != 0 || options&3 == 3 || v5 && options>>4&3 == 3 {
			return errSubscribe
		}
		b = b[2+n+1:]
	}
	return nil
}
