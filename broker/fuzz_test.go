package broker_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"fleetbridge/broker"
)

// seeds are streams that a client may send after an accepted CONNECT.
func seeds() map[string][]byte {
	c := &raw{version: v5}
	old := &raw{version: v4}
	user := append(append([]byte{0x26}, str("k")...), str("v")...)
	return map[string][]byte{
		"truncated subscribe": {0x82, 0x06, 0x00, 0x01, 0x00, 0x00, 0x01, 0x61},
		"report":              c.publishBytes(2, report, 1, []byte("r"), user),
		"report 3.1.1":        old.publishBytes(2, report, 1, []byte("r")),
		"qos 2":               c.publishBytes(4, report, 1, []byte("r")),
		"subscribe":           c.subscribeBytes("fleet/v1/acme/device/d1/manifest", 0x2d, []byte{0x0b, 1}),
		"subscribe 3.1.1":     old.subscribeBytes("fleet/v1/acme/device/d1/manifest", 1),
		"shared":              c.subscribeBytes("$share/g/#", 0),
		"unsubscribe":         encode(0xa2, num16(1), []byte{0}, str("fleet/v1/acme/device/d1/manifest")),
		"ping and disconnect": {0xc0, 0, 0xe0, 2, 0, 0},
		"long length":         {0x30, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"second connect":      c.connectBytes(login{user: "acme/d1", password: "secret"}),
		"auth":                {0xf0, 0},
	}
}

// FuzzConnection feeds a whole connection, first with these bytes alone and then with a good CONNECT before them. It may
// end in any way but a panic, a message of somebody else's topic, or a connection that stays.
func FuzzConnection(f *testing.F) {
	if found, err := filepath.Glob("testdata/fuzz/FuzzConnection/*"); err != nil || len(found) == 0 {
		f.Fatalf("no corpus: %v", err)
	}
	for _, s := range seeds() {
		f.Add(s, true)
		f.Add(s, false)
	}
	s := start(f)
	f.Fuzz(func(t *testing.T, b []byte, old bool) {
		for _, login := range []bool{false, true} {
			fuzzOne(t, s, b, old, login)
		}
		if n := s.b.Stats().Panics; n != 0 {
			t.Fatalf("%d panics", n)
		}
		for len(s.h.got) > 0 {
			if in := <-s.h.got; in.Principal.Name.String() != "d1" || in.QoS > 1 || !strings.HasPrefix(in.Topic, "fleet/v1/acme/device/d1/") {
				t.Fatalf("handler got %+v", in)
			}
		}
	})
}

func fuzzOne(t *testing.T, s *bench, b []byte, old, withLogin bool) {
	client, server := net.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() { s.b.ServeConn(server) })
	wg.Go(func() { _, _ = io.Copy(io.Discard, client) }) // reads until the end, whatever it is
	c := &raw{t: t, conn: client, version: v5}
	if old {
		c.version = v4
	}
	if err := client.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if withLogin {
		b = append(c.connectBytes(login{user: "acme/d1", password: "secret", id: "fuzz"}), b...)
	}
	if _, err := client.Write(b); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the broker stopped reading: % x", b)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

// FuzzReader cuts a stream into packets, whole and in parts, with the same result. What passes as a SUBSCRIBE must not panic in
// mochi's decoder.
func FuzzReader(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s, 1, true)
		f.Add(s, 3, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, part int, five bool) {
		whole, err := broker.Cut(b, len(b), five)
		parts, perr := broker.Cut(b, part, five)
		if !slices.EqualFunc(whole, parts, bytes.Equal) || err.Error() != perr.Error() {
			t.Fatalf("whole: %d packets, %v; in parts of %d: %d, %v", len(whole), err, part, len(parts), perr)
		}
		for _, p := range whole {
			broker.Decode(p, five)
		}
	})
}
