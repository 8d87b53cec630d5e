package simulator_test

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
	"fleetbridge/simulator"
)

var (
	vendor = firmware.VendorID("example.com")
	class  = firmware.ClassID(vendor, "th-2")
)

// author signs manifests for tests.
type author struct {
	t   *testing.T
	key cose.PrivateKey
	id  ident.Key
}

func newAuthor(t *testing.T) author {
	t.Helper()
	key, err := cose.GeneratePrivateKey(cose.P256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := ident.ParseKey("author")
	if err != nil {
		t.Fatal(err)
	}
	return author{t, key, id}
}

func (a author) anchor() firmware.Anchor {
	a.t.Helper()
	anchor, err := firmware.NewAnchor(a.id, a.key.Public(), cose.ESP256, time.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	return anchor
}

func (a author) sign(spec firmware.Spec) []byte {
	a.t.Helper()
	unsigned, err := firmware.Create(spec)
	if err != nil {
		a.t.Fatal(err)
	}
	envelope, err := firmware.Sign(unsigned, a.key, cose.ESP256, a.id, rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return envelope
}

func spec(payload []byte) firmware.Spec {
	return firmware.Spec{Vendor: vendor, Class: class, Sequence: 1000, Image: ident.SumDigest(payload), Size: int64(len(payload)), Version: "2.5.1"}
}

// image makes a payload in which no two chunks are alike.
func image(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i/251)
	}
	return b
}

func identities(t *testing.T, n int) []simulator.Identity {
	t.Helper()
	ids := make([]simulator.Identity, n)
	for i := range ids {
		d, err := ident.ParseDevice(fmt.Sprintf("d-%04d", i))
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = simulator.Identity{Tenant: ident.MustTenant("acme"), Device: d, Token: "secret"}
	}
	return ids
}

// only is a mix in which every device has the fault k.
func only(k simulator.Kind) simulator.Mix {
	if k == simulator.None {
		return nil
	}
	return simulator.Mix{k: 100}
}

// bench is one device against a scripted server.
type bench struct {
	*server
	author  author
	payload []byte
	config  simulator.Config
}

func newBench(t *testing.T, size int) *bench {
	t.Helper()
	payload := image(size)
	a := newAuthor(t)
	s := newServer(t, a.sign(spec(payload)), payload)
	return &bench{server: s, author: a, payload: payload, config: simulator.Config{
		Dial: s.dial, Devices: identities(t, 1), Seed: 1, ChunkSize: 1024, Window: 4,
		Model: simulator.Model{Vendor: vendor, Class: class, Anchors: []firmware.Anchor{a.anchor()}},
	}}
}

func (b *bench) fleet(t *testing.T) *simulator.Fleet {
	t.Helper()
	f, err := simulator.New(b.config)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
