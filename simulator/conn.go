package simulator

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"time"

	"fleetbridge/simulator/lean"
)

// conn is a device's connection. One goroutine owns it and calls all methods but Abort.
type conn interface {
	// Publish sends a message and returns the identifier that its Ack event will have, 0 at QoS 0.
	Publish(topic string, payload []byte, qos byte) (uint16, error)
	// Subscribe asks for filters; a Subscribed event follows.
	Subscribe(filters []string) (uint16, error)
	// Next waits for the next event; lean.ErrTimeout after deadline. The event is valid until the next call.
	Next(deadline time.Time) (lean.Event, error)
	// Disconnect ends the connection with DISCONNECT.
	Disconnect() error
	// Abort ends it without; any goroutine may call it.
	Abort()
}

// dial opens the network connection of device i.
func (c Config) dial(ctx context.Context, i int) (net.Conn, error) {
	if c.Dial != nil {
		return c.Dial(ctx)
	}
	s, err := parseServer(c.Server)
	if err != nil {
		return nil, err
	}
	dialer, address := c.dialer(s.host, i), net.JoinHostPort(s.host, s.port)
	if s.secure {
		return (&tls.Dialer{NetDialer: dialer, Config: c.TLS}).DialContext(ctx, "tcp", address)
	}
	return dialer.DialContext(ctx, "tcp", address)
}

// address is a server's, in its parts.
type address struct {
	host, port string
	secure     bool
}

// parseServer parses mqtt://host:port and mqtts://host:port; without a port it is 1883 and 8883.
func parseServer(s string) (address, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Scheme != "mqtt" && u.Scheme != "mqtts" {
		return address{}, fmt.Errorf("server address %q: want mqtt://host:port or mqtts://host:port: %w", s, ErrConfig)
	}
	a := address{host: u.Hostname(), port: u.Port(), secure: u.Scheme == "mqtts"}
	switch {
	case a.port != "":
	case a.secure:
		a.port = "8883"
	default:
		a.port = "1883"
	}
	return a, nil
}

// connect opens the device's MQTT connection within Timing.Dial.
func (d *device) connect(ctx context.Context) (conn, error) {
	select {
	case d.fleet.dials <- struct{}{}:
		defer func() { <-d.fleet.dials }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c := d.fleet.config
	ctx, cancel := context.WithTimeout(ctx, c.Timing.Dial)
	defer cancel()
	nc, err := c.dial(ctx, d.index)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	o := lean.Options{ClientID: d.id.Device.String(), User: d.user, Password: d.id.Token, KeepAlive: c.Timing.KeepAlive,
		MaxPacket: maxPacket}
	if d.paho {
		return connectPaho(ctx, nc, o)
	}
	return lean.Connect(ctx, nc, o)
}

// maxPacket is the largest packet that a device takes: the largest chunk with its topic, or an envelope.
const maxPacket = 256<<10 + 4<<10
