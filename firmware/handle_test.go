package firmware_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"fleetbridge/firmware"
	"fleetbridge/ident"
)

func handle(t *testing.T, c *firmware.Catalogue, d ident.Digest) *firmware.Handle {
	t.Helper()
	h, err := c.Handle(acme, d)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func release(t *testing.T, h *firmware.Handle) {
	t.Helper()
	if err := h.Release(); err != nil {
		t.Error(err)
	}
}

// Who holds a removed payload goes on with it; nobody takes hold of it any more.
func TestHandleOfARemovedPayload(t *testing.T) {
	c := open(t, t.TempDir(), firmware.CatalogueOptions{})
	data := []byte("payload")
	d := put(t, c, data)
	h := handle(t, c, d)
	if !h.Hold() {
		t.Fatal("a live payload can't be held")
	}
	release(t, h)
	if err := c.Remove(acme, d); err != nil {
		t.Fatal(err)
	}
	if h.Hold() {
		t.Error("a removed payload can be held")
	}
	if _, err := c.Handle(acme, d); !errors.Is(err, firmware.ErrNoPayload) {
		t.Errorf("handle of a removed payload: %v", err)
	}
	b := make([]byte, len(data))
	if _, err := h.ReadAt(b, 0); err != nil || !bytes.Equal(b, data) || h.Size() != int64(len(data)) {
		t.Errorf("its last user reads %q, %v", b, err)
	}
	if m := h.Mapped(); m != nil && !bytes.Equal(m, data) {
		t.Errorf("its mapping is %q", m)
	}
	release(t, h)
	if h.Hold() {
		t.Error("a closed payload can be held")
	}
	put(t, c, data)
	again := handle(t, c, d)
	if again == h || !again.Hold() {
		t.Error("an upload of the same bytes has no handle of its own")
	}
	release(t, again)
	release(t, again)
}

// A payload whose file somebody else has taken away is forgotten all the same.
func TestRemoveWithoutAFile(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, firmware.CatalogueOptions{})
	d := put(t, c, []byte("payload"))
	h := handle(t, c, d)
	defer release(t, h)
	if err := errors.Join(os.Remove(filepath.Join(dir, acme.String(), d.Hex())), c.Remove(acme, d)); err != nil {
		t.Fatal(err)
	}
	if h.Hold() {
		t.Error("a removed payload can be held")
	}
}

// Of more payloads than are kept, one that was used goes later than one that was not.
func TestHandleLetGo(t *testing.T) {
	c := open(t, t.TempDir(), firmware.CatalogueOptions{MaxOpen: 2})
	used, idle := handle(t, c, put(t, c, []byte("used"))), handle(t, c, put(t, c, []byte("idle")))
	if !used.Hold() {
		t.Fatal("can't be held")
	}
	release(t, used)
	third := handle(t, c, put(t, c, []byte("third")))
	if used.Hold() {
		release(t, used)
	} else {
		t.Error("the payload that was used is let go")
	}
	if idle.Hold() {
		t.Error("three payloads are kept, want 2")
	}
	b := make([]byte, 4)
	if _, err := idle.ReadAt(b, 0); err != nil || string(b) != "idle" {
		t.Errorf("who holds it still reads %q, %v", b, err)
	}
	for _, h := range []*firmware.Handle{used, idle, third} {
		release(t, h)
	}
}

// Holds, releases, and removals of one payload at once: nobody reads a closed file, and the last one closes it.
func TestHandlesAtOnce(t *testing.T) {
	c := open(t, t.TempDir(), firmware.CatalogueOptions{})
	data := bytes.Repeat([]byte("payload."), 100)
	d := put(t, c, data)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var last *firmware.Handle
			for range 2000 {
				if last == nil || !last.Hold() {
					h, err := c.Handle(acme, d)
					if errors.Is(err, firmware.ErrNoPayload) {
						last = nil
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					last = h
				}
				var b [8]byte
				if _, err := last.ReadAt(b[:], 8); err != nil || string(b[:]) != "payload." {
					t.Errorf("read %q, %v", b, err)
				}
				release(t, last)
			}
		})
	}
	for range 20 {
		if err := c.Remove(acme, d); err != nil {
			t.Fatal(err)
		}
		put(t, c, data)
	}
	wg.Wait()
}

// A file that was cut off while it is mapped ends a write of it in an error, and not the process.
func TestWriteOfAFileThatWasCut(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, firmware.CatalogueOptions{})
	page := os.Getpagesize()
	d := put(t, c, bytes.Repeat([]byte{7}, 8*page))
	h := handle(t, c, d)
	defer release(t, h)
	m := h.Mapped()
	if m == nil {
		t.Skip("this system maps no files")
	}
	if err := os.Truncate(filepath.Join(dir, acme.String(), d.Hex()), int64(page)); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan int64)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			close(got)
			return
		}
		defer conn.Close()
		n, err := io.Copy(io.Discard, conn)
		if err != nil {
			t.Error(err)
		}
		got <- n
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	bufs := net.Buffers{[]byte("head"), m[:page], m[page : 2*page], m[2*page:]}
	if n, err := bufs.WriteTo(conn); err == nil {
		t.Errorf("%d bytes were written of a file that has %d", n, page)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if n := <-got; n > int64(page)+4 {
		t.Errorf("the client got %d bytes of a file that has %d", n, page)
	}
	if _, err := h.ReadAt(make([]byte, page), int64(page)); err == nil {
		t.Error("a read beyond the end has no error")
	}
}

// BenchmarkHold is what a fetch pays for its payload: with a handle that it remembers, and by asking the catalogue.
func BenchmarkHold(b *testing.B) {
	c, err := firmware.OpenCatalogue(b.TempDir(), firmware.CatalogueOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	data := []byte("payload")
	d := ident.SumDigest(data)
	if _, err := c.Begin(acme, d, int64(len(data))); err != nil {
		b.Fatal(err)
	}
	if _, err := c.Append(acme, d, 0, data); err != nil {
		b.Fatal(err)
	}
	if err := c.Commit(acme, d); err != nil {
		b.Fatal(err)
	}
	h, err := c.Handle(acme, d)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Release()
	b.Run("held", func(b *testing.B) {
		for b.Loop() {
			if !h.Hold() {
				b.Fatal("gone")
			}
			h.Release()
		}
	})
	b.Run("asked", func(b *testing.B) {
		for b.Loop() {
			h, err := c.Handle(acme, d)
			if err != nil {
				b.Fatal(err)
			}
			h.Release()
		}
	})
}
