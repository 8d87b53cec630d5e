package broker_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"fleetbridge/internal/mapped"
	"fleetbridge/link"
)

// A run out of a mapped file that somebody has cut off ends its connection, whether the system finds out or the copy of what the
// socket left of a packet, and nothing else.
func TestTrySendRunOfAFileThatWasCut(t *testing.T) {
	s := start(t)
	page := os.Getpagesize()
	m := cutFile(t, 8*page, int64(page))
	for what, payload := range map[string][]byte{"a packet that begins in the file": m, "a packet of which only the header is there": m[page:]} {
		_, reply := s.replier(t, v4)
		run := link.Run{Prefix: "fleet/v1/acme/device/d1/chunk/t/", Parts: []link.Part{{Payload: payload}}}
		n, err := reply.TrySendRun(run)
		if n != 0 || !errors.Is(err, link.ErrClosed) || !errors.Is(err, mapped.ErrFault) && !errors.Is(err, syscall.EFAULT) {
			t.Errorf("%s: %d packets, %v", what, n, err)
		}
		eventually(t, "the client is closed", func() bool { return s.b.Stats().Sockets == 0 })
	}
	_, reply := s.replier(t, v4)
	run := link.Run{Prefix: "fleet/v1/acme/device/d1/chunk/t/", Parts: []link.Part{{Payload: m[:page]}}}
	if n, err := reply.TrySendRun(run); n != 1 || err != nil {
		t.Errorf("the next client, of what is left: %d packets, %v", n, err)
	}
}

// cutFile maps a file of size bytes and then cuts it off at left.
func cutFile(t *testing.T, size int, left int64) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "payload"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(size)); err != nil {
		t.Fatal(err)
	}
	m, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(left), f.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	return m
}
