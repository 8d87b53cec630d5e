// Package mqtt is the least of MQTT 3.1.1 that a load needs: it builds a client's packets and takes a server's apart, without
// a goroutine, a timer or a copy, so that a load costs little beside what it loads. It checks what a benchmark must not get
// wrong and nothing else; a device is simulator/lean.
package mqtt

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Control packet types (2.2.1).
const (
	Connack  = 2
	Publish  = 3
	Puback   = 4
	Suback   = 9
	Pingresp = 13
)

// ErrMalformed is wrapped where a server sends what no server may.
var ErrMalformed = errors.New("malformed packet")

// AppendConnect appends a CONNECT with a clean session (3.1). keepAlive is in seconds, 0 for none; user "" sends no
// credentials.
func AppendConnect(b []byte, id, user, password string, keepAlive uint16) []byte {
	const clean, userName, pass = 0x02, 0x80, 0x40
	flags, n := byte(clean), 10+2+len(id)
	if user != "" {
		flags, n = flags|userName|pass, n+4+len(user)+len(password)
	}
	b = appendHead(b, 1<<4, n)
	b = append(appendString(b, "MQTT"), 4, flags)
	b = binary.BigEndian.AppendUint16(b, keepAlive)
	b = appendString(b, id)
	if user != "" {
		b = appendString(appendString(b, user), password)
	}
	return b
}

// AppendSubscribe appends a SUBSCRIBE that asks for one QoS on every filter (3.8).
func AppendSubscribe(b []byte, id uint16, qos byte, filters ...string) []byte {
	n := 2
	for _, f := range filters {
		n += 2 + len(f) + 1
	}
	b = appendHead(b, 8<<4|2, n)
	b = binary.BigEndian.AppendUint16(b, id)
	for _, f := range filters {
		b = append(appendString(b, f), qos)
	}
	return b
}

// AppendPublish appends a PUBLISH; id 0 means QoS 0, any other QoS 1 (3.3).
func AppendPublish[T []byte | string](b []byte, topic T, payload []byte, id uint16) []byte {
	return append(AppendPublishHead(b, topic, len(payload), id), payload...)
}

// AppendPublishHead appends all of a PUBLISH but its payload of n bytes.
func AppendPublishHead[T []byte | string](b []byte, topic T, n int, id uint16) []byte {
	first, n := byte(Publish<<4), 2+len(topic)+n
	if id != 0 {
		first, n = first|2, n+2
	}
	b = appendHead(b, first, n)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(topic))), topic...)
	if id != 0 {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	return b
}

func appendHead(b []byte, first byte, remain int) []byte {
	b = append(b, first)
	for ; remain > 0x7f; remain >>= 7 {
		b = append(b, byte(remain)|0x80)
	}
	return append(b, byte(remain))
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// Head is a fixed header, and of a PUBLISH the topic and packet identifier too.
type Head struct {
	Type   byte
	Topic  []byte // of a PUBLISH; points into the bytes that were parsed
	ID     uint16 // of a PUBLISH at QoS 1
	Remain int    // bytes that follow what was parsed: the payload of a PUBLISH, all but the fixed header of another packet
}

// Parse reads a head from the start of b and returns its length; 0 while b is too short.
func Parse(b []byte) (h Head, n int, err error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h.Type = b[0] >> 4
	shift := 0
	for n = 1; ; n++ {
		if n > 4 { // [MQTT-2.2.3-1]
			return h, 0, fmt.Errorf("remaining length: %w", ErrMalformed)
		}
		if n == len(b) {
			return h, 0, nil
		}
		h.Remain |= int(b[n]&0x7f) << shift
		shift += 7
		if b[n]&0x80 == 0 {
			n++
			break
		}
	}
	if h.Type != Publish {
		return h, n, nil
	}
	qos := b[0] >> 1 & 3
	if len(b) < n+2 {
		return h, 0, nil
	}
	size := int(binary.BigEndian.Uint16(b[n:]))
	rest := size + 2
	if qos > 0 {
		rest += 2
	}
	if rest > h.Remain {
		return h, 0, fmt.Errorf("topic of %d bytes in a PUBLISH of %d: %w", size, h.Remain, ErrMalformed)
	}
	if len(b) < n+rest {
		return h, 0, nil
	}
	h.Topic = b[n+2 : n+2+size]
	if qos > 0 {
		h.ID = binary.BigEndian.Uint16(b[n+2+size:])
	}
	h.Remain -= rest
	return h, n + rest, nil
}
