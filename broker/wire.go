package broker

import (
	"encoding/binary"

	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/link"
)

// publishHead appends all of a QoS 0 PUBLISH but its payload (MQTT 5 section 3.3), so that the payload need not be
// copied. subscription is the subscription identifier, 0 for none. Strings longer than MQTT's 65,535 bytes are cut.
func publishHead(dst []byte, v5 bool, m link.Message, subscription int) []byte {
	var props []byte
	size := 2 + min(len(m.Topic), maxString) + len(m.Payload)
	if v5 {
		props = appendProperties(nil, m.Props, subscription)
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

func appendProperties(dst []byte, p link.Properties, subscription int) []byte {
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
	if subscription > 0 {
		dst = binary.AppendUvarint(append(dst, packets.PropSubscriptionIdentifier), uint64(subscription))
	}
	for _, u := range p.User {
		dst = appendString(append(dst, packets.PropUser), u.Key)
		dst = appendString(dst, u.Value)
	}
	return dst
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
