package load_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleetbridge/ident"
	"fleetbridge/internal/bench"
	"fleetbridge/internal/bench/load"
	"fleetbridge/internal/bench/mqtt"
	"fleetbridge/topics"
)

const (
	chunkSize = 1024
	window    = 4
)

// payload is what honest servers serve, as a file.
func payload(t *testing.T) (string, []byte) {
	t.Helper()
	b := make([]byte, 16*chunkSize)
	rand.NewChaCha8([32]byte{1}).Read(b)
	path := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, b
}

// run lets devices fetch until something is wrong or each has come around the payload, and returns what the load says.
func run(t *testing.T, p load.ChunkParams) bench.Counts {
	t.Helper()
	cmdR, cmdW := io.Pipe()
	outR, outW := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- bench.Work(t.Context(), cmdR, outW, load.Chunks); outW.Close() }()
	out := bufio.NewReader(outR)
	say := func(line string, into any) {
		t.Helper()
		go io.WriteString(cmdW, line+"\n")
		reply, err := out.ReadBytes('\n')
		if err != nil {
			t.Fatalf("after %s: %v, %v", line, err, <-ended)
		}
		if err := json.Unmarshal(reply, into); err != nil {
			t.Fatal(err)
		}
	}
	params, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var none struct{}
	say(string(params), &none)
	say("begin", &none)
	var c bench.Counts
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if say("mark", &c); c.Failed > 0 || c.Units >= uint64(len(p.Devices)*32) {
			break
		}
	}
	cmdW.Close()
	if err := <-ended; err != nil {
		t.Errorf("the role ended with %v", err)
	}
	return c
}

func devices(t *testing.T, n int) []load.Device {
	t.Helper()
	var out []load.Device
	for i := range n {
		id, err := ident.ParseDevice(fmt.Sprintf("d%d", i))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, load.Device{ID: id})
	}
	return out
}

// check holds what the load says of a server against what the server did.
func check(t *testing.T, name string, c bench.Counts, want string) {
	t.Helper()
	switch {
	case want == "" && (c.Failed > 0 || c.Units == 0 || c.Bytes != c.Units*chunkSize):
		t.Errorf("%s: an honest server gives %+v", name, c)
	case want != "" && (c.Failed == 0 || !strings.Contains(c.Problem, want)):
		t.Errorf("%s: %+v, want a failure with %q", name, c, want)
	}
}

// serve accepts connections on loopback and gives each to fn.
func serve(t *testing.T, fn func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); fn(conn) }()
		}
	}()
	return l.Addr().String()
}

func TestRaw(t *testing.T) {
	path, bytes := payload(t)
	for name, tt := range map[string]struct {
		answer func(at, n int) []byte
		want   string
	}{
		"honest":              {func(at, n int) []byte { return bytes[at : at+n] }, ""},
		"always the start":    {func(at, n int) []byte { return bytes[:n] }, "wrong bytes"},
		"zeros":               {func(at, n int) []byte { return make([]byte, n) }, "wrong bytes"},
		"too much":            {func(at, n int) []byte { return bytes[at : at+n+1 : len(bytes)] }, "wrong bytes"},
		"ends the connection": {func(at, n int) []byte { return nil }, "EOF"},
	} {
		addr := serve(t, func(c net.Conn) {
			var ask [8]byte
			for {
				if _, err := io.ReadFull(c, ask[:]); err != nil {
					return
				}
				form := binary.BigEndian.Uint32(ask[4:])
				at, n := int(binary.BigEndian.Uint32(ask[:])), int(form>>8)*int(form&0xff)
				if at+n == len(bytes) && name == "too much" {
					n--
				}
				if b := tt.answer(at, n); b == nil || write(c, b) != nil {
					return
				}
			}
		})
		check(t, name, run(t, load.ChunkParams{Target: load.Target{Addr: addr}, Protocol: load.Raw, Devices: devices(t, 3), Payload: path,
			Chunk: chunkSize, Window: window}), tt.want)
	}
}

func write(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}

func TestRange(t *testing.T) {
	path, content := payload(t)
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"honest": {func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "payload", time.Time{}, bytes.NewReader(content))
		}, ""},
		"all of it":  {func(w http.ResponseWriter, r *http.Request) { _ = write(w, content) }, "200 OK"},
		"not there":  {http.NotFound, "404"},
		"less of it": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(206); _ = write(w, content[:chunkSize-1]) }, "206 Partial"},
		"wrong bytes": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(206)
			_ = write(w, make([]byte, chunkSize))
		}, "wrong bytes"},
	} {
		s := httptest.NewServer(tt.handler)
		check(t, name, run(t, load.ChunkParams{Target: load.Target{Addr: s.Listener.Addr().String()}, Protocol: load.Range, Devices: devices(t, 3),
			Payload: path, Path: "/payload", Chunk: chunkSize, Window: window}), tt.want)
		s.CloseClientConnections()
		s.Close()
	}
}

// answer sends the chunks of a fetch, as a server of some character does.
type answer func(send func(level string, payload []byte), f topics.Fetch, content []byte)

func TestOurs(t *testing.T) {
	path, content := payload(t)
	chunk := func(i uint32) []byte { return content[i*chunkSize : (i+1)*chunkSize] }
	level := func(f topics.Fetch, i uint32) string { return fmt.Sprintf("chunk/%s/%d", f.Token, i) }
	all := func(f topics.Fetch, fn func(i uint32)) {
		for i := f.First; i < f.First+f.Count; i++ {
			fn(i)
		}
	}
	for name, tt := range map[string]struct {
		answer answer
		want   string
	}{
		"honest, with a manifest between": {func(send func(string, []byte), f topics.Fetch, _ []byte) {
			send("manifest", content[:100])
			all(f, func(i uint32) { send(level(f, i), chunk(i)) })
		}, ""},
		"wrong bytes": {func(send func(string, []byte), f topics.Fetch, _ []byte) {
			all(f, func(i uint32) { send(level(f, i), chunk((i+1)%16)) })
		}, "wrong bytes"},
		"a short chunk": {func(send func(string, []byte), f topics.Fetch, _ []byte) {
			all(f, func(i uint32) { send(level(f, i), chunk(i)[1:]) })
		}, "of 1023 bytes"},
		"one chunk twice": {func(send func(string, []byte), f topics.Fetch, _ []byte) {
			all(f, func(uint32) { send(level(f, f.First), chunk(f.First)) })
		}, "want"},
		"refused": {func(send func(string, []byte), f topics.Fetch, _ []byte) { send("chunk/t/error", []byte("{}")) }, "refused"},
	} {
		addr := serve(t, func(c net.Conn) { fakeBroker(c, content, tt.answer) })
		p := load.ChunkParams{Target: load.Target{Addr: addr}, Protocol: load.Ours, Tenant: ident.MustTenant("t"), Devices: devices(t, 3),
			Payload: path, Digest: ident.SumDigest(content), Manifest: ident.SumDigest([]byte("m")), Chunk: chunkSize, Window: window}
		check(t, name, run(t, p), tt.want)
	}
}

// fakeBroker answers CONNECT, SUBSCRIBE and reports, and fetches as it is told.
func fakeBroker(c net.Conn, content []byte, answer answer) {
	in := bufio.NewReader(c)
	for {
		packet, err := readPacket(in)
		if err != nil {
			return
		}
		switch packet[0] >> 4 {
		case 1:
			err = write(c, []byte("\x20\x02\x00\x00"))
		case 8:
			err = write(c, []byte{0x90, 4, packet[2], packet[3], 0, 0})
		case mqtt.Publish:
			h, n, perr := mqtt.Parse(packet)
			if perr != nil {
				return
			}
			if h.ID != 0 {
				err = write(c, []byte{0x40, 2, byte(h.ID >> 8), byte(h.ID)})
				break
			}
			f, _, ferr := topics.DecodeFetch(packet[n:])
			if ferr != nil {
				return
			}
			prefix := strings.TrimSuffix(string(h.Topic), "fetch")
			answer(func(level string, payload []byte) { _ = write(c, mqtt.AppendPublish(nil, prefix+level, payload, 0)) }, f, content)
		}
		if err != nil {
			return
		}
	}
}

// readPacket reads a packet of less than 16 KiB.
func readPacket(in *bufio.Reader) ([]byte, error) {
	head, err := in.Peek(3)
	if err != nil {
		return nil, err
	}
	n := int(head[1]) + 2
	if head[1]&0x80 != 0 {
		n = int(head[1]&0x7f) | int(head[2])<<7 + 3
	}
	b := make([]byte, n)
	_, err = io.ReadFull(in, b)
	return b, err
}

// Parameters that can't be served are refused before anything is measured.
func TestChunksRefuses(t *testing.T) {
	path, _ := payload(t)
	for name, p := range map[string]load.ChunkParams{
		"no payload":        {Payload: path + "x", Chunk: chunkSize, Window: window},
		"no chunk":          {Payload: path, Window: window},
		"windows too large": {Payload: path, Chunk: chunkSize, Window: 7},
		"nobody listens":    {Target: load.Target{Addr: "127.0.0.1:1"}, Payload: path, Chunk: chunkSize, Window: window, Devices: devices(t, 1)},
		"no certificate":    {Target: load.Target{Addr: "127.0.0.1:1", CA: path}, Payload: path, Chunk: chunkSize, Window: window, Devices: devices(t, 1)},
	} {
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := bench.Work(t.Context(), strings.NewReader(string(text)+"\n"), io.Discard, load.Chunks); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
