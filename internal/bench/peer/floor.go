package peer

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"

	"fleetbridge/internal/bench"
)

// FloorParams say what the role [Floor] serves.
type FloorParams struct {
	Payload string `json:"payload"` // a file, held in memory
}

// Listening is what a role that serves says when it is ready.
type Listening struct {
	Addr string `json:"addr"`
}

// Floor is the role of the least that a Go server of chunks can do: a goroutine for each connection reads requests of eight
// bytes (where to begin; chunk size in 24 bits and number of chunks in 8) and writes the bytes from memory, all chunks of a
// request in one vectored write. No protocol, no check of who asks, no fairness.
func Floor(_ context.Context, w *bench.Worker) error {
	var p FloorParams
	if err := w.Params(&p); err != nil {
		return err
	}
	payload, err := os.ReadFile(p.Payload)
	if err != nil {
		return fmt.Errorf("read payload: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveRaw(conn, payload)
		}
	}()
	if err := w.Ready(Listening{l.Addr().String()}); err != nil {
		return err
	}
	return w.Serve(nil, nil)
}

func serveRaw(conn net.Conn, payload []byte) {
	defer conn.Close()
	var ask [8]byte
	var parts [256][]byte
	for {
		if _, err := io.ReadFull(conn, ask[:]); err != nil {
			return
		}
		at, form := int(binary.BigEndian.Uint32(ask[:])), binary.BigEndian.Uint32(ask[4:])
		size, count := int(form>>8), int(form&0xff)
		if at+size*count > len(payload) {
			return
		}
		for i := range count {
			parts[i] = payload[at+i*size : at+(i+1)*size]
		}
		run := net.Buffers(parts[:count])
		if _, err := run.WriteTo(conn); err != nil {
			return
		}
	}
}
