//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package mapped_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"fleetbridge/internal/mapped"
)

// cut maps a file of size bytes and then cuts it off at left.
func cut(t *testing.T, size int, left int64) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Repeat([]byte{7}, size)); err != nil {
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

// A file that was cut off behind our back is an error, not the end of the process.
func TestAppendOfAFileThatWasCut(t *testing.T) {
	page := os.Getpagesize()
	m := cut(t, 16*page, int64(page))
	head := []byte("head")
	for range 3 { // the goroutine is as good as new each time
		out, err := mapped.Append(head, m[:page], m[page:])
		if !errors.Is(err, mapped.ErrFault) || !bytes.Equal(out, head) {
			t.Fatalf("%d bytes, %v", len(out), err)
		}
	}
	out, err := mapped.Append(head, m[:page])
	if err != nil || len(out) != len(head)+page || out[len(head)] != 7 {
		t.Errorf("what is left of the file: %d bytes, %v", len(out), err)
	}
}

func BenchmarkAppend(b *testing.B) {
	part, buf := make([]byte, 16<<10), make([]byte, 0, 16<<10)
	b.SetBytes(int64(len(part)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mapped.Append(buf, part); err != nil {
			b.Fatal(err)
		}
	}
}
