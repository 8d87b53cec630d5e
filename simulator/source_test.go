package simulator

import (
	"context"
	"net"
	"runtime"
	"testing"
)

func TestLoopbackSources(t *testing.T) {
	tests := []struct {
		server string
		device int
		want   string // "": left to the system
	}{
		{"127.0.0.1", 0, ""},
		{"127.0.0.1", perSource - 1, ""},
		{"127.0.0.1", perSource, "127.0.0.2"},
		{"127.1.2.3", 3*perSource - 1, "127.0.0.3"},
		{"127.0.0.1", 200 * perSource, "127.0.0.201"},
		{"127.0.0.1", 1000 * perSource, ""},
		{"10.0.0.1", perSource, ""},
		{"::1", perSource, ""},
		{"localhost", perSource, ""},
		{"broker.example", perSource, ""},
	}
	for _, tt := range tests {
		got := ""
		if a := loopbackSource(tt.server, tt.device); a.IsValid() {
			got = a.String()
		}
		if got != tt.want {
			t.Errorf("device %d to %s: from %q, want %q", tt.device, tt.server, got, tt.want)
		}
	}
}

// A device that is far back in its fleet really connects from another address, and again after it was there.
func TestDialFromAnotherSource(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems have one loopback address")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := Config{Server: "mqtt://" + l.Addr().String()}
	for _, want := range []string{"127.0.0.1", "127.0.0.3", "127.0.0.3"} {
		device := 0
		if want != "127.0.0.1" {
			device = 2*perSource + 7
		}
		conn, err := c.dial(context.Background(), device)
		if err != nil {
			t.Fatal(err)
		}
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if host, _, _ := net.SplitHostPort(peer.RemoteAddr().String()); host != want {
			t.Errorf("device %d came from %s, want %s", device, host, want)
		}
		conn.Close()
		peer.Close()
	}
}
