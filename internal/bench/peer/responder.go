package peer

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strconv"

	"fleetbridge/ident"
	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/mqtt"
)

// ResponderParams say what the role [Responder] answers.
type ResponderParams struct {
	Addr    string       `json:"addr"` // of the broker
	Tenant  ident.Tenant `json:"tenant"`
	Payload string       `json:"payload"` // a file, held in memory
}

// Responder is the role of a broker's client that answers fetches with chunks: what one would write beside a broker that
// knows nothing of payloads. It is as cheap as can be: requests are twelve bytes (chunk size, first chunk, number of chunks),
// nobody is checked, and the chunks of all requests that have come go out in one vectored write.
func Responder(ctx context.Context, w *bench.Worker) error {
	var p ResponderParams
	if err := w.Params(&p); err != nil {
		return err
	}
	r := &responder{in: make([]byte, 256<<10)}
	var err error
	if r.payload, err = os.ReadFile(p.Payload); err != nil {
		return fmt.Errorf("read payload: %w", err)
	}
	if r.conn, err = new(net.Dialer).DialContext(ctx, "tcp", p.Addr); err != nil {
		return err
	}
	hello := mqtt.AppendConnect(nil, "responder", "", "", 0)
	hello = mqtt.AppendSubscribe(hello, 1, 0, "fleet/v1/"+p.Tenant.String()+"/device/+/fetch")
	if _, err := r.conn.Write(hello); err != nil {
		return err
	}
	subscribed, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- r.answer(subscribed) }()
	select {
	case <-subscribed:
	case err := <-ended:
		return err
	}
	if err := w.Ready(struct{}{}); err != nil {
		return err
	}
	return w.Serve(nil, nil) // a broker that hangs up shows as devices that get nothing
}

// responder is the running role.
type responder struct {
	conn    net.Conn
	payload []byte
	in      []byte
	heads   []byte      // of the chunks in out
	out     net.Buffers // heads and chunks in turn
	topic   []byte
}

// mostOut is how many bytes are gathered before they are written.
const mostOut = 1 << 20

// answer serves until the connection ends.
func (r *responder) answer(subscribed chan<- struct{}) error {
	unread := 0
	for {
		if unread == len(r.in) {
			return fmt.Errorf("packet of more than %d bytes", len(r.in))
		}
		n, err := r.conn.Read(r.in[unread:])
		if n == 0 && err != nil {
			return err
		}
		unread += n
		at := 0
		for {
			h, head, err := mqtt.Parse(r.in[at:unread])
			if err != nil {
				return err
			}
			if head == 0 || unread-at < head+h.Remain {
				break
			}
			body := r.in[at+head : at+head+h.Remain]
			at += head + h.Remain
			switch h.Type {
			case mqtt.Suback:
				close(subscribed)
			case mqtt.Publish:
				if err := r.request(h.Topic, body); err != nil {
					return err
				}
			}
		}
		if err := r.flush(); err != nil {
			return err
		}
		unread = copy(r.in, r.in[at:unread])
	}
}

// request gathers the answer to one request.
func (r *responder) request(topic, body []byte) error {
	if len(body) != 12 || !bytes.HasSuffix(topic, []byte("/fetch")) {
		return fmt.Errorf("request of %d bytes on %s", len(body), topic)
	}
	size, first, count := int(binary.BigEndian.Uint32(body)), int(binary.BigEndian.Uint32(body[4:])), int(binary.BigEndian.Uint32(body[8:]))
	if (first+count)*size > len(r.payload) {
		return fmt.Errorf("request past the end: %d + %d chunks of %d bytes", first, count, size)
	}
	prefix := append(append(r.topic[:0], topic[:len(topic)-len("fetch")]...), "chunk/b/"...)
	for i := first; i < first+count; i++ {
		r.topic = strconv.AppendInt(prefix, int64(i), 10)
		from := len(r.heads)
		r.heads = mqtt.AppendPublishHead(r.heads, r.topic, size, 0)
		r.out = append(r.out, r.heads[from:], r.payload[i*size:(i+1)*size])
	}
	if len(r.out)/2*size < mostOut {
		return nil
	}
	return r.flush()
}

func (r *responder) flush() error {
	if len(r.out) == 0 {
		return nil
	}
	whole := r.out
	_, err := r.out.WriteTo(r.conn)
	r.out, r.heads = whole[:0], r.heads[:0]
	return err
}
