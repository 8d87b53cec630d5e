package firmware_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// random is n bytes that are the same in every run.
func random(n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{1})
	src.Read(b) // never fails
	return b
}

// The sum that is kept over appends must say what is on the disk: whatever a crash or a failed append left there.
func TestSumIsOfWhatTheDiskHas(t *testing.T) {
	data := random(3 << 20)
	d := ident.SumDigest(data)
	part := func(dir string) string {
		return filepath.Join(dir, acme.String(), d.Hex()+".3145728.part")
	}
	for name, c := range map[string]struct {
		// crash is what happens to the file of a half upload while no process has it open.
		crash func(t *testing.T, path string)
		want  error
	}{
		"nothing happens": {func(*testing.T, string) {}, nil},
		"the last bytes are zeros": {func(t *testing.T, path string) {
			overwrite(t, path, 1<<20-512, make([]byte, 512))
		}, firmware.ErrDigestMismatch},
		"a bit has turned": {func(t *testing.T, path string) {
			overwrite(t, path, 12345, []byte{data[12345] ^ 1})
		}, firmware.ErrDigestMismatch},
		"a torn append is there": {func(t *testing.T, path string) {
			overwrite(t, path, 1<<20, data[1<<20:1<<20+77])
		}, nil},
		"the file is shorter": {func(t *testing.T, path string) {
			if err := os.Truncate(path, 4321); err != nil {
				t.Fatal(err)
			}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			first, err := firmware.OpenCatalogue(dir, firmware.CatalogueOptions{})
			if err != nil {
				t.Fatal(err)
			}
			begin(t, first, d, int64(len(data)), 0)
			appendTo(t, first, d, 0, data[:1<<20])
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			c.crash(t, part(dir))
			second := open(t, dir, firmware.CatalogueOptions{})
			offset, err := second.Begin(acme, d, int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			for rest := range slices.Chunk(data[offset:], 128<<10) {
				appendTo(t, second, d, offset, rest)
				offset += int64(len(rest))
			}
			if err := second.Commit(acme, d); !errors.Is(err, c.want) {
				t.Errorf("commit: %v, want %v", err, c.want)
			}
		})
	}
}

func overwrite(t *testing.T, path string, at int64, with []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(with, at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// An upload that is given up and begun again has the digest of its own bytes, not of the first one's.
func TestSumIsForgottenWithItsUpload(t *testing.T) {
	data := []byte("payload that is right")
	wrong := bytes.Replace(data, []byte("right"), []byte("wrong"), 1)
	d := ident.SumDigest(data)
	for name, end := range map[string]func(*testing.T, *firmware.Catalogue) error{
		"cancelled": func(_ *testing.T, c *firmware.Catalogue) error { return c.Cancel(acme, d) },
		"removed":   func(_ *testing.T, c *firmware.Catalogue) error { return c.Remove(acme, d) },
		"begun with another size": func(t *testing.T, c *firmware.Catalogue) error {
			begin(t, c, d, 5, 0)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, t.TempDir(), firmware.CatalogueOptions{})
			begin(t, c, d, int64(len(data)), 0)
			appendTo(t, c, d, 0, data[:20])
			if err := end(t, c); err != nil {
				t.Fatal(err)
			}
			begin(t, c, d, int64(len(data)), 0)
			appendTo(t, c, d, 0, wrong[:20])
			appendTo(t, c, d, 20, wrong[20:])
			if err := c.Commit(acme, d); !errors.Is(err, firmware.ErrDigestMismatch) {
				t.Errorf("commit of wrong bytes: %v", err)
			}
		})
	}
}

func TestAppendKnowsOverlapFromGap(t *testing.T) {
	c := open(t, t.TempDir(), firmware.CatalogueOptions{})
	d := ident.SumDigest([]byte("0123456789"))
	begin(t, c, d, 10, 0)
	appendTo(t, c, d, 0, []byte("0123"))
	for offset, want := range map[int64]error{0: firmware.ErrOverlap, 3: firmware.ErrOverlap, 5: firmware.ErrOffset, 9: firmware.ErrOffset} {
		if end, err := c.Append(acme, d, offset, []byte("4")); !errors.Is(err, want) || end != 4 {
			t.Errorf("append at %d: %d, %v, want 4, %v", offset, end, err, want)
		}
	}
}

// Who reads a payload while it is removed reads it to its end; then its room on the disk is free.
func TestRemoveWhileRead(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, firmware.CatalogueOptions{})
	data := []byte("payload")
	d := put(t, c, data)
	p, err := c.Open(acme, d)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds nothing
		if err := c.Remove(acme, d); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, len(data))
	if _, err := p.ReadAt(got, 0); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := c.Open(acme, d); !errors.Is(err, firmware.ErrNoPayload) {
		t.Errorf("open after the removal: %v", err)
	}
	put(t, c, data) // and again, while the old file is still open
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.ReadAt(got, 0); err == nil {
		t.Error("the removed file is kept open")
	}
	if got := read(t, c, acme, d); !bytes.Equal(got, data) {
		t.Errorf("read %q", got)
	}
}

func TestDigestsAndStands(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, firmware.CatalogueOptions{})
	whole, half := put(t, c, []byte("payload")), ident.SumDigest([]byte("half"))
	begin(t, c, half, 4, 0)
	appendTo(t, c, half, 0, []byte("ha"))
	then := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(filepath.Join(dir, acme.String(), half.Hex()+".4.part"), then, then); err != nil {
		t.Fatal(err)
	}
	if offset, last, err := c.Stands(acme, half); offset != 2 || !last.Equal(then) || err != nil {
		t.Errorf("stands at %d since %v, %v", offset, last, err)
	}
	if _, _, err := c.Stands(acme, whole); !errors.Is(err, firmware.ErrNoUpload) {
		t.Errorf("a whole payload stands as an upload: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, acme.String(), "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := c.Digests(acme)
	if err != nil || len(got) != 2 || !slices.Contains(got, whole) || !slices.Contains(got, half) {
		t.Errorf("digests %v, %v", got, err)
	}
	if got, err := c.Digests(other); err != nil || len(got) != 0 {
		t.Errorf("another tenant's: %v, %v", got, err)
	}
}
