// Package lean is a small MQTT 3.1.1 client for simulated devices: CONNECT with a clean session, SUBSCRIBE, PUBLISH at
// QoS 0 and 1, and keep-alive. It exists because a fleet is tens of thousands of connections in one process: a Client
// has no goroutine, timer or channel of its own and keeps half a KiB of buffer; the bytes of a larger packet live in a
// pooled buffer while it is being read. One goroutine owns a Client and calls all its methods but Abort.
//
// Section numbers are those of MQTT 3.1.1.
package lean

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Control packet types (2.2.1).
const (
	typeConnect    = 1
	typeConnack    = 2
	typePublish    = 3
	typePuback     = 4
	typeSubscribe  = 8
	typeSuback     = 9
	typePingreq    = 12
	typePingresp   = 13
	typeDisconnect = 14
)

// Errors of the packet parser.
var (
	// ErrMalformed is wrapped where a server sends what no server may.
	ErrMalformed = errors.New("malformed packet")
	// ErrTooLarge is wrapped where a packet is larger than the client takes.
	ErrTooLarge = errors.New("packet too large")
)

// maxRemaining is the largest Remaining Length that the wire can say (2.2.3).
const maxRemaining = 268435455

// header is a fixed header (2.2).
type header struct {
	kind   byte
	flags  byte
	size   int // bytes of the header itself
	remain int // bytes that follow it
}

// parseHeader reads a fixed header from the start of b; ok is false while b is too short to tell.
func parseHeader(b []byte) (h header, ok bool, err error) {
	if len(b) < 2 {
		return header{}, false, nil
	}
	h = header{kind: b[0] >> 4, flags: b[0] & 0x0f}
	for i := 1; i < len(b); i++ {
		if i > 4 { // [MQTT-2.2.3-1] at most four bytes
			return header{}, false, fmt.Errorf("remaining length of more than 4 bytes: %w", ErrMalformed)
		}
		h.remain |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i]&0x80 == 0 {
			h.size = i + 1
			return h, true, h.check()
		}
	}
	if len(b) > 4 {
		return header{}, false, fmt.Errorf("remaining length of more than 4 bytes: %w", ErrMalformed)
	}
	return header{}, false, nil
}

// check applies what a fixed header alone can break: only packets that a server sends, with their flags
// [MQTT-2.2.2-2] and, where it is fixed, their length.
func (h header) check() error {
	fixed := -1
	switch h.kind {
	case typePublish:
		return checkPublishFlags(h.flags)
	case typeConnack, typePuback:
		fixed = 2
	case typePingresp:
		fixed = 0
	case typeSuback:
	default:
		return fmt.Errorf("packet type %d from a server: %w", h.kind, ErrMalformed)
	}
	if h.flags != 0 {
		return fmt.Errorf("packet type %d with flags %d: %w", h.kind, h.flags, ErrMalformed)
	}
	if fixed >= 0 && h.remain != fixed {
		return fmt.Errorf("packet type %d of %d bytes: %w", h.kind, h.remain, ErrMalformed)
	}
	return nil
}

func checkPublishFlags(flags byte) error {
	qos, dup := flags>>1&3, flags&8 != 0
	if qos > 1 { // we never ask for QoS 2, and 3 is not allowed [MQTT-3.3.1-4]
		return fmt.Errorf("PUBLISH at QoS %d: %w", qos, ErrMalformed)
	}
	if qos == 0 && dup { // [MQTT-3.3.1-2]
		return fmt.Errorf("PUBLISH at QoS 0 with DUP: %w", ErrMalformed)
	}
	return nil
}

// publish is a parsed PUBLISH; its slices point into the packet.
type publish struct {
	topic, payload []byte
	id             uint16 // 0 at QoS 0
	retain         bool
}

func parsePublish(flags byte, body []byte) (publish, error) {
	if len(body) < 2 {
		return publish{}, fmt.Errorf("PUBLISH without topic: %w", ErrMalformed)
	}
	n := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	if n == 0 || n > len(body) { // [MQTT-4.7.3-1]
		return publish{}, fmt.Errorf("PUBLISH with a topic of %d bytes in %d: %w", n, len(body), ErrMalformed)
	}
	p := publish{topic: body[:n], payload: body[n:], retain: flags&1 != 0}
	if flags>>1&3 == 0 {
		return p, nil
	}
	if len(p.payload) < 2 {
		return publish{}, fmt.Errorf("PUBLISH without packet identifier: %w", ErrMalformed)
	}
	p.id = binary.BigEndian.Uint16(p.payload)
	p.payload = p.payload[2:]
	if p.id == 0 { // [MQTT-2.3.1-1]
		return publish{}, fmt.Errorf("PUBLISH with packet identifier 0: %w", ErrMalformed)
	}
	return p, nil
}

// parseID reads the packet identifier that a PUBACK or SUBACK starts with.
func parseID(body []byte) (id uint16, rest []byte, err error) {
	if len(body) < 2 {
		return 0, nil, fmt.Errorf("acknowledgement without packet identifier: %w", ErrMalformed)
	}
	if id = binary.BigEndian.Uint16(body); id == 0 {
		return 0, nil, fmt.Errorf("acknowledgement with packet identifier 0: %w", ErrMalformed)
	}
	return id, body[2:], nil
}

// appendHeader appends a fixed header; remain is at most maxRemaining.
func appendHeader(b []byte, first byte, remain int) []byte {
	b = append(b, first)
	for {
		d := byte(remain & 0x7f)
		if remain >>= 7; remain == 0 {
			return append(b, d)
		}
		b = append(b, d|0x80)
	}
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// appendConnect appends a CONNECT with a clean session (3.1).
func appendConnect(b []byte, o Options) []byte {
	const clean, userName, password = 0x02, 0x80, 0x40
	flags, n := byte(clean), 10+2+len(o.ClientID)
	if o.User != "" {
		flags, n = flags|userName|password, n+2+len(o.User)+2+len(o.Password)
	}
	b = appendHeader(b, typeConnect<<4, n)
	b = appendString(b, "MQTT")
	b = append(b, 4, flags) // protocol level 4 is 3.1.1
	b = binary.BigEndian.AppendUint16(b, uint16(o.KeepAlive.Seconds()))
	b = appendString(b, o.ClientID)
	if o.User != "" {
		b = appendString(b, o.User)
		b = appendString(b, o.Password)
	}
	return b
}

// appendSubscribe appends a SUBSCRIBE that asks for QoS 1 on every filter (3.8).
func appendSubscribe(b []byte, id uint16, filters []string) []byte {
	n := 2
	for _, f := range filters {
		n += 2 + len(f) + 1
	}
	b = appendHeader(b, typeSubscribe<<4|2, n)
	b = binary.BigEndian.AppendUint16(b, id)
	for _, f := range filters {
		b = append(appendString(b, f), 1)
	}
	return b
}

// appendPublish appends a PUBLISH; id 0 means QoS 0, any other QoS 1 (3.3).
func appendPublish(b []byte, topic string, payload []byte, id uint16) []byte {
	first, n := byte(typePublish<<4), 2+len(topic)+len(payload)
	if id != 0 {
		first, n = first|2, n+2
	}
	b = appendHeader(b, first, n)
	b = appendString(b, topic)
	if id != 0 {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	return append(b, payload...)
}
