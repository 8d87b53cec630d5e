package main

import (
	"bytes"
	"crypto/rand"
	"net"
	"testing"
	"time"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
	"fleetbridge/simulator"
	"fleetbridge/simulator/lean"
	"fleetbridge/topics"
)

// TestTheBytesThatWereSigned uploads an envelope and reads it back as devices do, before and after a kill -9: whoever says no
// algorithm gets what was uploaded, byte for byte; whoever says one gets the same without the other signature.
func TestTheBytesThatWereSigned(t *testing.T) {
	v := newVictim(t)
	v.start()
	s := &fleetSetup{cl: v.dial(), name: "exact", devices: 2, seed: 1, size: 4096}
	ctx := t.Context()
	key, err := s.trustKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	second, err := ident.ParseKey("second")
	if err != nil {
		t.Fatal(err)
	}
	payload := seededBytes(s.seed, s.size)
	begin := topics.PayloadBegin{Digest: ident.SumDigest(payload), Size: s.size, Name: s.name}
	if _, err := pushPayload(ctx, s.cl, bytes.NewReader(payload), begin, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	if err := s.cl.Do(ctx, "trust", "add", topics.TrustAdd{ID: second, Key: key.Public().PEM(), Alg: cose.ES256.String()}, nil); err != nil {
		t.Fatal(err)
	}
	unsigned, err := firmware.Create(firmware.Spec{Vendor: s.vendor, Class: s.class, Sequence: uint64(time.Now().Unix()),
		Image: begin.Digest, Size: s.size, Version: simVersion, Description: "text that is severed"})
	if err != nil {
		t.Fatal(err)
	}
	one, err := firmware.Sign(unsigned, key, s.anchor.Alg, s.anchor.ID, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	both, err := firmware.Sign(one, key, cose.ES256, second, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cl.Do(ctx, "manifest", "create", topics.ManifestCreate{Envelope: both}, &s.manifest); err != nil {
		t.Fatal(err)
	}
	ids, err := s.provision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := map[ident.Device][]byte{ids[0].Device: both, ids[1].Device: one}
	said := map[ident.Device][]int64{ids[1].Device: {int64(s.anchor.Alg)}}
	check := func(when string, list []*manifestReader) {
		t.Helper()
		for i, r := range list {
			if got := r.await(); !bytes.Equal(got, want[ids[i].Device]) {
				t.Errorf("%s: %s holds %d bytes that are not the %d that were signed", when, ids[i].Device, len(got), len(want[ids[i].Device]))
			}
		}
	}
	read := func() (list []*manifestReader) {
		for _, id := range ids {
			list = append(list, readManifest(t, v.addr, id, s, said[id.Device]...))
		}
		return list
	}
	list := read()
	if _, err := s.campaign(ctx, topics.Policy{}); err != nil {
		t.Fatal(err)
	}
	check("published", list)
	check("retained", read())
	v.kill()
	v.start()
	check("after kill -9", read())
	if p, err := suit.Split(both); err != nil || p.Digest != s.manifest.Digest {
		t.Errorf("the digest is %s: %v", s.manifest.Digest, err)
	}
}

// manifestReader is a device of plain MQTT 3.1.1 that reads its manifest topic.
type manifestReader struct {
	t    *testing.T
	cl   *lean.Client
	held []byte // what the topic held last; nil for nothing
}

// readManifest says hello and subscribes; what the topic held by then is in held.
func readManifest(t *testing.T, addr string, id simulator.Identity, s *fleetSetup, algs ...int64) *manifestReader {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	r := &manifestReader{t: t}
	if r.cl, err = lean.Connect(t.Context(), conn, lean.Options{ClientID: id.Device.String(), User: id.User, Password: id.Token, MaxPacket: 256 << 10}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.cl.Abort)
	if _, err := r.cl.Subscribe([]string{topics.ManifestTopic(id.Tenant, id.Device)}); err != nil {
		t.Fatal(err)
	}
	r.until(lean.Subscribed)
	hello, err := topics.Encode(topics.Hello{Seq: uint64(time.Now().UnixNano()), Vendor: s.vendor, Class: s.class, Algs: algs}, topics.CBOR)
	if err == nil {
		_, err = r.cl.Publish(topics.HelloTopic(id.Tenant, id.Device), hello, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.until(lean.Ack)
	return r
}

// await waits for a manifest.
func (r *manifestReader) await() []byte {
	r.t.Helper()
	for len(r.held) == 0 {
		r.until(lean.Message)
	}
	return r.held
}

// until reads events to the next one of a kind, and keeps what the topic holds.
func (r *manifestReader) until(kind lean.Kind) {
	r.t.Helper()
	for {
		e, err := r.cl.Next(time.Now().Add(30 * time.Second))
		if err != nil {
			r.t.Fatal(err)
		}
		if e.Kind == lean.Message {
			r.held = bytes.Clone(e.Payload)
		}
		if e.Kind == kind {
			return
		}
	}
}
