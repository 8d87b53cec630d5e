package lean_test

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"fleetbridge/simulator/lean"
)

// BenchmarkChunks takes chunks of 16 KiB that come one after the other, eight in a write, over TCP on loopback.
func BenchmarkChunks(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	const chunk, window, topic = 16 << 10, 8, "fleet/v1/acme/device/d-0001/chunk/b1u2t0-1/0"
	packet := binary.AppendUvarint([]byte{0x30}, uint64(2+len(topic)+chunk)) // a Remaining Length is such a number
	packet = binary.BigEndian.AppendUint16(packet, uint16(len(topic)))
	packet = append(append(packet, topic...), make([]byte, chunk)...)
	var run []byte
	for range window {
		run = append(run, packet...)
	}
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 512)); err != nil {
			return
		}
		if _, err := conn.Write([]byte{0x20, 2, 0, 0}); err != nil {
			return
		}
		for {
			if _, err := conn.Write(run); err != nil {
				return
			}
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	c, err := lean.Connect(b.Context(), conn, lean.Options{ClientID: "d"})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Abort()
	b.SetBytes(chunk)
	b.ReportAllocs()
	for b.Loop() {
		e, err := c.Next(time.Time{})
		if err != nil || len(e.Payload) != chunk {
			b.Fatalf("%d bytes, %v", len(e.Payload), err)
		}
	}
}
