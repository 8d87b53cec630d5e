package simulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/google/uuid"

	"fleetbridge/firmware"
	"fleetbridge/firmware/encrypt"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// ErrConfig is wrapped by New where a Config can't be used.
var ErrConfig = errors.New("invalid simulator configuration")

// Identity is who one device is and what it connects with.
type Identity struct {
	Tenant ident.Tenant
	Device ident.Device
	User   string // CONNECT user name; "" means tenant/device
	Token  string // CONNECT password
	Labels map[string]string
}

// Model is what all devices of a fleet have in common.
type Model struct {
	Vendor uuid.UUID
	Class  uuid.UUID
	// Component is the updated component in text; "" means "00".
	Component string
	// Anchors are the author's keys that the devices trust.
	Anchors []firmware.Anchor
	// Terse devices don't say in their hello which algorithms they understand.
	Terse bool
	// Keys are what the devices decrypt payloads with.
	Keys []encrypt.Key `json:"-"`
	// Space is the size of the update slot in bytes; 0 means no bound. A larger payload is rejected with no-space.
	Space int64
}

// Config describes a fleet. Zero values of the optional members mean the defaults named beside them. As JSON it is all but
// what only one process can hold: TLS, Dial, Logger and the model's keys.
type Config struct {
	// Server is the broker's address: mqtt://host:port, or mqtts://host:port with TLS.
	Server string
	// TLS is used for mqtts; nil means the system's roots.
	TLS *tls.Config `json:"-"`
	// Dial replaces the network; tests use it. nil means TCP to Server.
	Dial func(ctx context.Context) (net.Conn, error) `json:"-"`

	Devices []Identity
	// First is the number of Devices[0] where several Fleets, in as many processes, share the devices of one. What is
	// drawn for a device, and how it speaks, depends on its name and its number in the whole, so a fleet comes out the same
	// however it is divided.
	First int
	Model Model
	// Image is what the devices hold at start. A zero digest means one derived from the model.
	Image topics.Installed
	// Images are the bytes of images that devices hold; a delta applies only to one of them, or to what was made from one.
	// All devices share them.
	Images [][]byte
	// Target is the payload that devices with the fault Current hold already; without it they hold Image.
	Target topics.Installed

	// Seed decides every fault and all jitter.
	Seed   uint64
	Faults Mix

	ChunkSize uint32 // bytes per chunk, default 4096
	Window    uint32 // chunks per fetch, default 16
	// Progress is how many reports a device sends while it downloads, default 2; negative means none.
	Progress int
	// PahoEvery makes every n-th device speak MQTT 5 through paho.golang, with JSON bodies; 0 means none. The others
	// speak MQTT 3.1.1 through package lean, with CBOR bodies.
	PahoEvery int
	// Receipts makes devices keep each report until its receipt instead of its PUBACK, as an external broker demands.
	Receipts bool
	// Permits makes devices ask before they install, and wait for the answer.
	Permits bool
	Timing  Timing

	Logger *slog.Logger `json:"-"` // nil means silence
}

// Timing is how fast a device is. The defaults suit a demo: seconds where a real device takes minutes.
type Timing struct {
	Spread       time.Duration // first connects are spread over it, default 500 ms
	BackoffMin   time.Duration // first wait after a lost connection, default 200 ms; doubles, with jitter
	BackoffMax   time.Duration // longest wait, default 10 s
	Dial         time.Duration // for connect and CONNACK, default 10 s
	KeepAlive    time.Duration // default 60 s
	AckTimeout   time.Duration // a QoS 1 message without PUBACK for so long ends the connection, default 20 s
	ChunkTimeout time.Duration // a fetch without a chunk for so long is sent again, doubling, default 3 s
	Install      time.Duration // installing takes half to all of it, default 200 ms
	Reboot       time.Duration // a boot takes half to all of it, default 200 ms
	Permit       time.Duration // a device that waits for a permit asks again after half to all of it, default 5 s
	Late         time.Duration // a late device holds each report for up to so long, default 500 ms
	SlowRate     int           // a slow device takes so many bytes per second, default 256 KiB
}

func (t Timing) withDefaults() Timing {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.Spread, 500*time.Millisecond)
	def(&t.BackoffMin, 200*time.Millisecond)
	def(&t.BackoffMax, 10*time.Second)
	def(&t.Dial, 10*time.Second)
	def(&t.KeepAlive, time.Minute)
	def(&t.AckTimeout, 20*time.Second)
	def(&t.ChunkTimeout, 3*time.Second)
	def(&t.Install, 200*time.Millisecond)
	def(&t.Reboot, 200*time.Millisecond)
	def(&t.Permit, 5*time.Second)
	def(&t.Late, 500*time.Millisecond)
	if t.SlowRate == 0 {
		t.SlowRate = 256 << 10
	}
	return t
}

func (c Config) complete() (Config, error) {
	if c.ChunkSize == 0 {
		c.ChunkSize = 4096
	}
	if c.Window == 0 {
		c.Window = 16
	}
	if c.Progress == 0 {
		c.Progress = 2
	}
	if c.Model.Component == "" {
		c.Model.Component = "00"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Timing = c.Timing.withDefaults()
	c.Image = c.image(c.Image, "factory image")
	if c.Target.Digest.IsZero() {
		c.Target = c.Image
	}
	c.Target = c.image(c.Target, "")
	return c, c.check()
}

// image completes an installed image: the component, and a digest that no payload has by accident.
func (c Config) image(i topics.Installed, what string) topics.Installed {
	if i.Component == "" {
		i.Component = c.Model.Component
	}
	if i.Digest.IsZero() {
		i.Digest = ident.SumDigest([]byte(what + c.Model.Vendor.String() + c.Model.Class.String()))
	}
	return i
}

func (c Config) check() error {
	switch {
	case len(c.Devices) == 0:
		return fmt.Errorf("no devices: %w", ErrConfig)
	case c.First < 0:
		return fmt.Errorf("first device is number %d: %w", c.First, ErrConfig)
	case c.ChunkSize < topics.MinChunk || c.ChunkSize > topics.MaxChunk:
		return fmt.Errorf("chunk size %d, want %d to %d: %w", c.ChunkSize, topics.MinChunk, topics.MaxChunk, ErrConfig)
	case c.Window > topics.MaxWindow:
		return fmt.Errorf("window %d, at most %d: %w", c.Window, topics.MaxWindow, ErrConfig)
	case int64(c.Window)*int64(c.ChunkSize) > topics.MaxFetch:
		return fmt.Errorf("window of %d chunks of %d bytes, at most %d bytes in all: %w", c.Window, c.ChunkSize, topics.MaxFetch, ErrConfig)
	case c.Timing.SlowRate < 0:
		return fmt.Errorf("slow rate %d is negative: %w", c.Timing.SlowRate, ErrConfig)
	}
	if c.Dial == nil {
		if _, err := parseServer(c.Server); err != nil {
			return err
		}
	}
	seen := make(map[string]bool, len(c.Devices))
	for _, d := range c.Devices {
		if d.Tenant.IsZero() || d.Device.IsZero() {
			return fmt.Errorf("a device without tenant or name: %w", ErrConfig)
		}
		name := d.Tenant.String() + "/" + d.Device.String()
		if seen[name] {
			return fmt.Errorf("device %s twice: %w", name, ErrConfig)
		}
		seen[name] = true
	}
	return nil
}
