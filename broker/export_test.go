package broker

import (
	"encoding/binary"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Serving says whether Serve has begun, which no caller outside of tests needs to know.
func Serving(b *Broker) bool {
	b.intake.mu.Lock()
	defer b.intake.mu.Unlock()
	return b.intake.handler != nil
}

// MochiClients is how many clients mochi has in its map.
func MochiClients(b *Broker) int { return b.server.Clients.Len() }

// MochiRetained is how many messages mochi retains; it must be none.
func MochiRetained(b *Broker) int { return b.server.Topics.Retained.Len() }

// Frame feeds a framer with b in parts.
func Frame(b []byte, part int, v5 bool) error {
	f := framer{v5: v5}
	for part = max(1, part); len(b) > 0; {
		n := min(part, len(b))
		if err := f.feed(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// DecodeAll gives the SUBSCRIBE packets of a stream to mochi's decoder.
func DecodeAll(b []byte, v5 bool) {
	for len(b) > 1 {
		size, n := binary.Uvarint(b[1:])
		if n <= 0 || n > 4 || uint64(len(b)-1-n) < size {
			return
		}
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: b[0] >> 4, Remaining: int(size)}, ProtocolVersion: 4}
		if v5 {
			pk.ProtocolVersion = 5
		}
		if pk.FixedHeader.Type == packets.Subscribe {
			// An error is as good as success: what counts is that it returns.
			_ = pk.SubscribeDecode(b[1+n : 1+n+int(size)])
		}
		b = b[1+n+int(size):]
	}
}
