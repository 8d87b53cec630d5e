package broker

import (
	"encoding/binary"
	"strconv"

	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/link"
)

// publishHead appends all of a QoS 0 PUBLISH but its payload (MQTT 5 section 3.3), so that the payload need not be
// copied. ids are subscription identifiers. Strings longer than MQTT's 65,535 bytes are cut.
func publishHead(dst []byte, v5 bool, m link.Message, ids []uint32) []byte {
	var props []byte
	size := 2 + min(len(m.Topic), maxString) + len(m.Payload)
	if v5 {
		props = appendProperties(nil, m.Props, ids)
		size += uvarintLen(len(props)) + len(props)
	}
	first := packets.Publish << 4
	if m.Retain {
		first |= 1
	}
	dst = append(dst, first)
	dst = binary.AppendUvarint(dst, uint64(size))
	dst = appendString(dst, m.Topic)
	if v5 {
		dst = binary.AppendUvarint(dst, uint64(len(props)))
		dst = append(dst, props...)
	}
	return dst
}

const maxString = 1<<16 - 1

func appendProperties(dst []byte, p link.Properties, ids []uint32) []byte {
	if p.Expiry > 0 {
		dst = binary.BigEndian.AppendUint32(append(dst, packets.PropMessageExpiryInterval), p.Expiry)
	}
	if p.ContentType != "" {
		dst = appendString(append(dst, packets.PropContentType), p.ContentType)
	}
	if p.ResponseTopic != "" {
		dst = appendString(append(dst, packets.PropResponseTopic), p.ResponseTopic)
	}
	if len(p.CorrelationData) > 0 {
		dst = appendString(append(dst, packets.PropCorrelationData), string(p.CorrelationData))
	}
	for _, id := range ids {
		dst = binary.AppendUvarint(append(dst, packets.PropSubscriptionIdentifier), uint64(id))
	}
	for _, u := range p.User {
		dst = appendString(append(dst, packets.PropUser), u.Key)
		dst = appendString(dst, u.Value)
	}
	return dst
}

// maxParts is how many packets one vectored write takes: a header and a payload for each.
const maxParts = maxVec / 2

// maxRunHead is the longest header of a run's packet without the prefix of its topic.
const maxRunHead = 1 + 4 + 2 + 10 + 1

// appendRunHead is publishHead for a part of a run.
func appendRunHead(dst []byte, v5 bool, prefix string, p link.Part) []byte {
	topic := len(prefix) + decimals(p.Index)
	dst = append(dst, packets.Publish<<4)
	dst = binary.AppendUvarint(dst, runRemaining(v5, topic, p))
	dst = binary.BigEndian.AppendUint16(dst, uint16(topic))
	dst = append(dst, prefix...)
	dst = strconv.AppendUint(dst, uint64(p.Index), 10)
	if v5 {
		dst = append(dst, 0) // no properties
	}
	return dst
}

// runRemaining is the remaining length of a part's packet.
func runRemaining(v5 bool, topic int, p link.Part) uint64 {
	n := 2 + topic + len(p.Payload)
	if v5 {
		n++
	}
	return uint64(n)
}

// runHeadSize is the size of what appendRunHead appends.
func runHeadSize(v5 bool, prefix string, p link.Part) int64 {
	n := runRemaining(v5, len(prefix)+decimals(p.Index), p)
	return int64(1 + uvarintLen(int(n)) + int(n) - len(p.Payload))
}

func decimals(n uint32) int {
	digits := 1
	for ; n >= 10; n /= 10 {
		digits++
	}
	return digits
}

func appendString(dst []byte, s string) []byte {
	s = s[:min(len(s), maxString)]
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

func uvarintLen(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// appendPuback encodes a PUBACK. A code that it can't carry [MQTT-3.4.2-1] becomes "unspecified error" or success.
func appendPuback(dst []byte, id uint16, code link.Code, v5 bool) []byte {
	if !v5 || code < link.Unspecified {
		return append(dst, packets.Puback<<4, 2, byte(id>>8), byte(id))
	}
	switch code {
	case link.ImplementationErr, link.NotAuthorized, link.TopicNameInvalid, link.QuotaExceeded, link.PayloadFormatError:
	default:
		code = link.Unspecified
	}
	return append(dst, packets.Puback<<4, 3, byte(id>>8), byte(id), byte(code))
}

// ackPacket encodes a SUBACK or UNSUBACK; codes are at most as many as a SUBSCRIBE has filters.
func ackPacket(kind byte, id uint16, v5 bool, codes []byte) []byte {
	size := 2 + len(codes)
	if v5 {
		size++
	}
	p := binary.AppendUvarint([]byte{kind << 4}, uint64(size))
	p = binary.BigEndian.AppendUint16(p, id)
	if v5 {
		p = append(p, 0) // no properties
	}
	return append(p, codes...)
}
