package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Errors that a caller branches on.
var (
	ErrUnreachable = errors.New("server unreachable")
	ErrDenied      = errors.New("credential refused")
	ErrTimeout     = errors.New("no reply in time")
	ErrClosed      = errors.New("client closed")
	ErrServer      = errors.New("not a server address")
)

// Context is where and as whom a client connects.
type Context struct {
	// Server is mqtt://host:port, mqtts://host:port, ws://host:port/mqtt or wss://host:port/mqtt.
	Server string
	// User is tenant/name, Token its secret.
	User  string
	Token string
	// CA is a PEM file of authorities to trust instead of the system's; "" means the system's.
	CA string
	// Timeout bounds each command, reconnects and repeats included; 0 means DefaultTimeout.
	Timeout time.Duration
}

// DefaultTimeout is how long a command waits for its reply.
const DefaultTimeout = 10 * time.Second

// maxPacket is the largest packet in bytes that the client takes.
const maxPacket = 1 << 20

// target is a parsed server address.
type target struct {
	url  *url.URL
	addr string // host:port
	tls  *tls.Config
}

var defaultPorts = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}

func parseTarget(c Context) (target, error) {
	u, err := url.Parse(c.Server)
	if err != nil {
		return target{}, fmt.Errorf("%w: %w", ErrServer, err)
	}
	port, known := defaultPorts[u.Scheme]
	if !known || u.Hostname() == "" || u.User != nil {
		return target{}, fmt.Errorf("%w: %q: want mqtt://host:port, or mqtts, ws, wss", ErrServer, u.Redacted())
	}
	if u.Port() != "" {
		port = u.Port()
	}
	t := target{url: u, addr: net.JoinHostPort(u.Hostname(), port)}
	if !strings.HasSuffix(u.Scheme, "s") || u.Scheme == "ws" {
		return t, nil
	}
	t.tls = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return target{}, fmt.Errorf("read authorities: %w", err)
		}
		t.tls.RootCAs = x509.NewCertPool()
		if !t.tls.RootCAs.AppendCertsFromPEM(pem) {
			return target{}, fmt.Errorf("read authorities: %s has no certificate", c.CA)
		}
	}
	return t, nil
}

// TLS is how connections to the server are secured; nil: not at all. The error wraps ErrServer, or is that of reading CA.
func (c Context) TLS() (*tls.Config, error) {
	t, err := parseTarget(c)
	return t.tls, err
}

// dial opens the transport.
func (t target) dial(ctx context.Context) (net.Conn, error) {
	if strings.HasPrefix(t.url.Scheme, "ws") {
		return t.dialWebSocket(ctx)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", t.addr)
	if err != nil || t.tls == nil {
		return conn, err
	}
	secure := tls.Client(conn, t.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

func (t target) dialWebSocket(ctx context.Context) (net.Conn, error) {
	o := &websocket.DialOptions{Subprotocols: []string{"mqtt"}, CompressionMode: websocket.CompressionDisabled}
	if t.tls != nil {
		o.HTTPClient = httpClient(t.tls)
	}
	ws, _, err := websocket.Dial(ctx, t.url.String(), o)
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(maxPacket)
	// The connection outlives the dial, so it has a context of its own; Close ends it.
	return websocket.NetConn(context.WithoutCancel(ctx), ws, websocket.MessageBinary), nil
}
