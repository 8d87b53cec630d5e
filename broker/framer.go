package broker

import (
	"encoding/binary"
	"errors"

	"github.com/mochi-mqtt/server/v2/packets"
)

// maxSubscribe bounds a SUBSCRIBE packet in bytes; 128 filters of full length fit.
const maxSubscribe = 64 << 10

var (
	errLength    = errors.New("remaining length has more than 4 bytes")
	errSubscribe = errors.New("malformed SUBSCRIBE")
)

// framer follows the packets in a stream of bytes and refuses a malformed SUBSCRIBE before its last byte is handed on:
// mochi's decoder panics on an MQTT 5 filter without its options byte.
type framer struct {
	v5    bool
	kind  byte // packet type with the top bit set; 0 before a packet's first byte
	sized bool // the remaining length is complete
	shift uint
	left  int    // bytes of the body still to come
	body  []byte // of a SUBSCRIBE
}

// feed takes the next bytes of the stream.
func (f *framer) feed(p []byte) error {
	for len(p) > 0 {
		switch {
		case f.kind == 0:
			// The flags are mochi's to check; no packet has type 0, which it refuses as well.
			f.kind, f.sized, f.shift, f.left = p[0]>>4|0x80, false, 0, 0
			p = p[1:]
			continue
		case !f.sized:
			if f.shift > 21 { // [MQTT-1.5.5-1]
				return errLength
			}
			f.left |= int(p[0]&0x7f) << f.shift
			f.shift += 7
			f.sized = p[0]&0x80 == 0
			p = p[1:]
		default:
			n := min(len(p), f.left)
			if f.subscribe() {
				f.body = append(f.body, p[:n]...)
			}
			f.left -= n
			p = p[n:]
		}
		if err := f.packetEnd(); err != nil {
			return err
		}
	}
	return nil
}

func (f *framer) subscribe() bool { return f.kind == packets.Subscribe|0x80 }

// packetEnd looks whether the packet in hand is complete or too large.
func (f *framer) packetEnd() error {
	if !f.sized {
		return nil
	}
	if f.subscribe() && f.left+len(f.body) > maxSubscribe {
		return errSubscribe
	}
	if f.left > 0 {
		return nil
	}
	var err error
	if f.subscribe() {
		err = checkSubscribe(f.body, f.v5)
	}
	f.kind, f.body = 0, nil
	return err
}

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
