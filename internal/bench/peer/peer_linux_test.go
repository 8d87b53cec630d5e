package peer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fleetbridge/ident"
	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/mqtt"
)

// TestMain lets children of the test binary be roles.
func TestMain(m *testing.M) {
	roles := map[string]bench.Role{"floor": Floor, "responder": Responder}
	if len(os.Args) == 4 && os.Args[1] == "bench" && os.Args[2] == "role" {
		if err := bench.Work(context.Background(), os.Stdin, os.Stdout, roles[os.Args[3]]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func open(t *testing.T) (*bench.Bench, string, []byte) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	b, err := bench.New(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	content := make([]byte, 64<<10)
	for i := range content {
		content[i] = byte(i / 7)
	}
	path := filepath.Join(b.Dir, "payload")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return b, path, content
}

// orSkip skips a test whose peer is not installed, unless it must be.
func orSkip(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, ErrMissing) && os.Getenv("FLEETBRIDGE_REQUIRE_SERVICES") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func ask(at, size, count int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(at))
	return binary.BigEndian.AppendUint32(b, uint32(size<<8|count))
}

func TestFloor(t *testing.T) {
	b, path, content := open(t)
	var at Listening
	if _, err := b.Role(t.Context(), "floor", FloorParams{Payload: path}, &at, time.Minute); err != nil {
		t.Fatal(err)
	}
	c := dial(t, at.Addr)
	for _, r := range []struct{ at, size, count int }{{0, 100, 1}, {4096, 1000, 8}, {0, 256, 255}, {len(content) - 512, 512, 1}} {
		if _, err := c.Write(ask(r.at, r.size, r.count)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, r.size*r.count)
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, content[r.at:r.at+len(got)]) {
			t.Errorf("%+v: wrong bytes, %v", r, err)
		}
	}
	if _, err := c.Write(ask(len(content)-1, 2, 1)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("a request past the end got %d bytes, %v", n, err)
	}
}

func TestNginx(t *testing.T) {
	b, path, content := open(t)
	cert, key, err := bench.Certify(b.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]Web{
		"TCP": {Root: b.Dir},
		"TLS": {Root: b.Dir, Cert: cert, Key: key, Cipher: "TLS_AES_128_GCM_SHA256"},
	} {
		p, addr, err := Nginx(t.Context(), b, w)
		orSkip(t, err)
		if w.Cert != "" {
			continue // that it speaks TLS as we do is checked by bench chunks itself
		}
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+"/"+filepath.Base(path), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Range", "bytes=1000-1999")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusPartialContent || !bytes.Equal(got, content[1000:2000]) {
			t.Errorf("%s: status %d, %d bytes, %v", name, resp.StatusCode, len(got), err)
		}
		if u, err := p.Usage(); err != nil || u.RSS == 0 {
			t.Errorf("its workers take %+v, %v", u, err)
		}
	}
}

func TestResponder(t *testing.T) {
	b, path, content := open(t)
	_, addr, err := Mosquitto(t.Context(), b)
	orSkip(t, err)
	if _, err := b.Role(t.Context(), "responder", ResponderParams{Addr: addr, Tenant: ident.MustTenant("t"), Payload: path}, nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	c := dial(t, addr)
	const topic = "fleet/v1/t/device/d/"
	out := mqtt.AppendConnect(nil, "d", "", "", 0)
	out = mqtt.AppendSubscribe(out, 1, 0, topic+"chunk/#")
	request := binary.BigEndian.AppendUint32(nil, 1000) // chunks 3, 4 and 5 of 1000 bytes
	request = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(request, 3), 3)
	out = mqtt.AppendPublish(out, topic+"fetch", request, 0)
	if _, err := c.Write(out); err != nil {
		t.Fatal(err)
	}
	var in []byte
	for next := 3; next < 6; {
		h, n, err := mqtt.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 || len(in) < n+h.Remain {
			more := make([]byte, 4096)
			got, err := c.Read(more)
			if err != nil {
				t.Fatalf("before chunk %d: %v", next, err)
			}
			in = append(in, more[:got]...)
			continue
		}
		if h.Type == mqtt.Publish {
			if want := fmt.Sprintf("%schunk/b/%d", topic, next); string(h.Topic) != want || !bytes.Equal(in[n:n+h.Remain], content[next*1000:(next+1)*1000]) {
				t.Errorf("%d bytes on %s, want chunk %d", h.Remain, h.Topic, next)
			}
			next++
		}
		in = in[n+h.Remain:]
	}
}

func TestMissing(t *testing.T) {
	if _, err := find("no-such-server"); !errors.Is(err, ErrMissing) {
		t.Errorf("a program that is not there: %v", err)
	}
}
