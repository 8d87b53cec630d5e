package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"fleetbridge/ident"
	"fleetbridge/internal/bench"
)

// Protocol is how chunks are asked for.
type Protocol string

// The protocols of what serves chunks.
const (
	Ours   Protocol = "ours"   // MQTT 3.1.1 and the topics of fleetbridge
	Broker Protocol = "broker" // the same topics on a broker with a responder, who takes requests of twelve bytes
	Range  Protocol = "range"  // HTTP/1.1 on a kept connection, one chunk a request
	Raw    Protocol = "raw"    // eight bytes ask, raw bytes answer
)

// ChunkParams say what the role [Chunks] does: every device asks for a window of chunks, waits for all of it, and asks for
// the next, around the payload without end.
type ChunkParams struct {
	Target
	Protocol Protocol     `json:"protocol"`
	Tenant   ident.Tenant `json:"tenant"`
	Devices  []Device     `json:"devices"`
	// Payload is the file that the chunks are compared with, Path its URL path for Range.
	Payload string       `json:"payload"`
	Path    string       `json:"path"`
	Digest  ident.Digest `json:"digest"`
	// Manifest, if not zero, is reported as received before the device begins, so that nobody offers it again meanwhile.
	Manifest ident.Digest `json:"manifest"`
	Chunk    int          `json:"chunk"` // bytes
	Window   int          `json:"window"`
}

// Device is one client.
type Device struct {
	ID    ident.Device `json:"id"`
	User  string       `json:"user,omitempty"`
	Token string       `json:"token,omitempty"`
}

// ChunksReady is what the role says when all devices are connected.
type ChunksReady struct {
	Cipher string `json:"cipher"` // of TLS; "" for TCP
}

// fetcher is one device's connection.
type fetcher interface {
	// setup says what must be said before the first fetch.
	setup(*stream) error
	// fetch asks for count chunks from first on, and takes them.
	fetch(s *stream, first, count int) error
}

// chunks is the running role.
type chunks struct {
	p       ChunkParams
	payload []byte
	devices []*chunkDevice

	units, bytes atomic.Uint64
	wrong        complaint
	took         bench.Histogram
}

type chunkDevice struct {
	stream *stream
	fetcher
	next int           // the chunk to ask for
	done atomic.Uint64 // fetches
	seen uint64        // of done, at the last mark
}

// Chunks is the role of devices that fetch.
func Chunks(ctx context.Context, w *bench.Worker) error {
	c := &chunks{}
	if err := w.Params(&c.p); err != nil {
		return err
	}
	var err error
	if c.payload, err = os.ReadFile(c.p.Payload); err != nil {
		return fmt.Errorf("read payload: %w", err)
	}
	if c.p.Chunk < 1 || c.p.Window < 1 || len(c.payload)%(c.p.Chunk*c.p.Window) != 0 {
		return fmt.Errorf("windows of %d × %d bytes don't fill a payload of %d", c.p.Window, c.p.Chunk, len(c.payload))
	}
	cipher, err := c.connect(ctx)
	if err != nil {
		return err
	}
	if err := w.Ready(ChunksReady{Cipher: cipher}); err != nil {
		return err
	}
	return w.Serve(c.begin, c.mark)
}

// connect opens all connections, and returns what they are encrypted with.
func (c *chunks) connect(ctx context.Context) (string, error) {
	d, err := c.p.dialer()
	if err != nil {
		return "", err
	}
	c.devices = make([]*chunkDevice, len(c.p.Devices))
	windows := len(c.payload) / (c.p.Chunk * c.p.Window)
	err = each(ctx, len(c.devices), func(ctx context.Context, i int) error {
		conn, err := d.dial(ctx, i)
		if err != nil {
			return fmt.Errorf("device %d: %w", i, err)
		}
		dev := &chunkDevice{stream: newStream(conn, c.payload), fetcher: c.fetcher(i), next: i % windows * c.p.Window}
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			return err
		}
		if err := dev.setup(dev.stream); err != nil {
			return fmt.Errorf("device %d: %w", i, err)
		}
		c.devices[i] = dev
		return conn.SetDeadline(time.Time{})
	})
	if err != nil || len(c.devices) == 0 {
		return "", err
	}
	return cipherOf(c.devices[0].stream.conn), nil
}

func cipherOf(conn net.Conn) string {
	if t, ok := conn.(*tls.Conn); ok {
		s := t.ConnectionState()
		return tls.VersionName(s.Version) + " " + tls.CipherSuiteName(s.CipherSuite)
	}
	return ""
}

func (c *chunks) fetcher(i int) fetcher {
	switch c.p.Protocol {
	case Range:
		return &rangeFetcher{host: c.p.Addr, path: c.p.Path, chunk: c.p.Chunk}
	case Raw:
		return rawFetcher{chunk: c.p.Chunk}
	}
	return newMQTTFetcher(&c.p, c.p.Devices[i])
}

func (c *chunks) begin() {
	for _, d := range c.devices {
		go c.run(d)
	}
}

// run fetches until the process ends, or something is wrong.
func (c *chunks) run(d *chunkDevice) {
	total := len(c.payload) / c.p.Chunk
	for {
		asked := time.Now()
		if err := d.fetch(d.stream, d.next, c.p.Window); err != nil {
			c.wrong.add(err)
			return
		}
		c.took.Add(time.Since(asked))
		d.done.Add(1)
		c.units.Add(uint64(c.p.Window))
		c.bytes.Add(uint64(c.p.Window * c.p.Chunk))
		d.next = (d.next + c.p.Window) % total
	}
}

func (c *chunks) mark() any {
	n := bench.Counts{Units: c.units.Load(), Bytes: c.bytes.Load(), Quantiles: c.took.Take()}
	n.Failed, n.Problem = c.wrong.get()
	for _, d := range c.devices {
		done := d.done.Load()
		if done == d.seen {
			n.Starved++
		}
		d.seen = done
	}
	return n
}
