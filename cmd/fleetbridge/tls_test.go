package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/internal/config"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// certify writes a certificate for loopback that certifies itself, and its key.
func certify(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "loopback"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// A whole update over TLS, by devices of both kinds; who does not know the certificate gets nowhere.
func TestUpdateOverTLS(t *testing.T) {
	cert, key := certify(t)
	home := filepath.Join(t.TempDir(), "home")
	c := config.Defaults()
	c.Data, c.HTTP.Listen = "data", ""
	if err := makeHome(t.Context(), home, ident.MustTenant("acme"), c); err != nil {
		t.Fatal(err)
	}
	c.Data, c.MQTT.Listen, c.TLS.Cert, c.TLS.Key = filepath.Join(home, "data"), "127.0.0.1:0", cert, key
	srv, err := openServer(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	if !strings.HasPrefix(srv.mqttURL(), "mqtts://") {
		t.Errorf("the server is at %s", srv.mqttURL())
	}
	read, err := config.ReadContext(filepath.Join(home, "operator.toml"))
	if err != nil {
		t.Fatal(err)
	}
	op := client.Context{Server: srv.mqttURL(), User: read.User, Token: string(read.Token), CA: cert, Timeout: 10 * time.Second}
	stranger := op
	stranger.CA, stranger.Timeout = "", time.Second
	if cl, err := client.Dial(t.Context(), stranger); err == nil {
		cl.Close()
		t.Error("a client without the authority trusts the server")
	}
	cl, err := client.Dial(t.Context(), op)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	if conf := cl.TLS(); conf == nil || conf.MinVersion < tls.VersionTLS12 {
		t.Fatalf("the client's TLS is %+v", conf)
	}
	s := &fleetSetup{cl: cl, name: "tls", devices: 4, seed: 1, mix: simulator.Mix{}, size: 64 << 10, paho: 2}
	if err := s.publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	ids, err := s.provision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.fleet(srv.mqttURL(), ids)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(powerOn(t, f))
	if err := waitReady(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	id, err := s.campaign(t.Context(), topics.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan topics.Progress, 64)
	if err := cl.Subscribe(t.Context(), topics.ProgressTopic(cl.Tenant(), id), func(_ string, body []byte) {
		var p topics.Progress
		if _, err := topics.Decode(body, &p); err == nil && p.State == string(campaign.Stopped) {
			over <- p
		}
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case p := <-over:
		if p.Outcome != string(campaign.Succeeded) || p.Counts[string(campaign.Confirmed)] != 4 {
			t.Errorf("ended %+v", p)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the campaign did not end")
	}
}
