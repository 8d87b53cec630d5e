// Package load has the loads of `fleetbridge bench`: roles ([bench.Role]) that are many clients in one process. A load is
// cheap, so that the machine is left to what it loads, and it is strict: what is not served right fails the benchmark.
package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Target is where a load connects.
type Target struct {
	Addr string `json:"addr"` // host:port on loopback
	// CA is the PEM file of the certificate to expect; "" means TCP.
	CA string `json:"ca,omitempty"`
}

// perSource is how many connections leave one loopback address: Linux gives out about 28,000 ports for each.
const perSource = 20_000

// dialer connects to one target.
type dialer struct {
	addr string
	tls  *tls.Config // nil: TCP
}

func (t Target) dialer() (*dialer, error) {
	d := &dialer{addr: t.Addr}
	if t.CA == "" {
		return d, nil
	}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	host, _, err := net.SplitHostPort(t.Addr)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	d.tls = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: host, MinVersion: tls.VersionTLS13}
	if !d.tls.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", t.CA)
	}
	return d, nil
}

// dial opens the i-th connection of a load.
func (d *dialer) dial(ctx context.Context, i int) (net.Conn, error) {
	nd := net.Dialer{}
	if n := i / perSource; n > 0 {
		nd.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(n))}
	}
	conn, err := nd.DialContext(ctx, "tcp", d.addr)
	if err != nil || d.tls == nil {
		return conn, err
	}
	secure := tls.Client(conn, d.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

// atOnce is how many connections are set up at a time.
const atOnce = 64

// each calls fn for 0 … n-1, some at a time, until one fails.
func each(ctx context.Context, n int, fn func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error { return fn(ctx, i) })
	}
	return g.Wait()
}

// complaint keeps the first of many failures, and their number.
type complaint struct {
	mu    sync.Mutex
	n     uint64
	first string
}

func (c *complaint) add(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n++; c.n == 1 {
		c.first = err.Error()
	}
}

func (c *complaint) get() (uint64, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n, c.first
}
