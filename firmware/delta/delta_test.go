package delta_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"fleetbridge/firmware/delta"
)

// image is n bytes that don't compress, always the same for one seed.
func image(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// next is old with 20 bytes changed and some put in.
func next(old []byte) []byte {
	b := slices.Clone(old)
	for i := range 20 {
		b[i*len(b)/20] ^= 0x55
	}
	return slices.Insert(b, len(b)/2, []byte("what is new")...)
}

func apply(from, d []byte, size int64) ([]byte, error) {
	var out bytes.Buffer
	err := delta.Apply(&out, from, bytes.NewReader(d), size)
	return out.Bytes(), err
}

func TestRoundTrip(t *testing.T) {
	mebibyte := image(1, 1<<20)
	for name, c := range map[string]struct {
		from, to []byte
		most     int // bytes of the delta
	}{
		"small change":     {mebibyte, next(mebibyte), 1000},
		"the same":         {mebibyte, mebibyte, 300},
		"another image":    {mebibyte, image(2, 1<<20), 1<<20 + 1000},
		"much shorter":     {mebibyte, mebibyte[1<<19 : 1<<19+100], 60},
		"much longer":      {mebibyte[:1000], mebibyte, 1<<20 + 1000},
		"one byte":         {[]byte{1}, []byte{2}, 20},
		"from nothing":     {nil, []byte("all of it"), 40},
		"zeros":            {make([]byte, 1<<20), make([]byte, 1<<20), 300},
		"moved to the end": {mebibyte, append(slices.Clone(mebibyte[1<<19:]), mebibyte[:1<<19]...), 300},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := delta.Make(c.from, c.to)
			if err != nil {
				t.Fatal(err)
			}
			if len(d) > c.most {
				t.Errorf("delta of %d bytes, at most %d", len(d), c.most)
			}
			if again, err := delta.Make(c.from, c.to); err != nil || !bytes.Equal(again, d) {
				t.Errorf("made again it is another: %v", err)
			}
			if got, err := apply(c.from, d, int64(len(c.to))); err != nil || !bytes.Equal(got, c.to) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func TestApplyRefuses(t *testing.T) {
	old := image(1, 1<<16)
	want := next(old)
	d, err := delta.Make(old, want)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(want))
	for name, c := range map[string]struct {
		from, delta []byte
		size        int64
		want        error
	}{
		"one byte less":   {old, d, size - 1, delta.ErrCorrupt},
		"one byte more":   {old, d, size + 1, delta.ErrCorrupt},
		"cut short":       {old, d[:len(d)-1], size, delta.ErrCorrupt},
		"no bytes":        {old, nil, size, delta.ErrCorrupt},
		"not a delta":     {old, []byte("not a delta"), size, delta.ErrCorrupt},
		"more behind it":  {old, append(slices.Clone(d), d...), size, delta.ErrCorrupt},
		"junk behind it":  {old, append(slices.Clone(d), 1, 2, 3), size, delta.ErrCorrupt},
		"shorter image":   {old[1<<15:], d, size, delta.ErrCorrupt},
		"size 0":          {old, d, 0, delta.ErrTooLarge},
		"size over limit": {old, d, delta.MaxImage + 1, delta.ErrTooLarge},
	} {
		got, err := apply(c.from, c.delta, c.size)
		if !errors.Is(err, c.want) || int64(len(got)) > max(c.size, 0) {
			t.Errorf("%s: %d bytes, %v, want %v", name, len(got), err, c.want)
		}
	}
}

// TestOtherImageSameLength: a delta applied to other bytes makes other bytes and no error; the manifest's digest tells.
func TestOtherImageSameLength(t *testing.T) {
	old := image(1, 1<<16)
	want := next(old)
	d, err := delta.Make(old, want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := apply(image(2, 1<<16), d, int64(len(want))); err != nil || len(got) != len(want) || bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestBomb: a frame of a few KiB that says and means 64 MiB neither writes nor allocates much for a manifest of 1 KiB.
func TestBomb(t *testing.T) {
	for name, options := range map[string][]zstd.EOption{
		"of announced size": {zstd.WithSingleSegment(true), zstd.WithWindowSize(128 << 20)},
		"of a huge window":  {zstd.WithWindowSize(128 << 20)},
		"of a small window": {zstd.WithWindowSize(1 << 10)},
	} {
		w, err := zstd.NewWriter(nil, options...)
		if err != nil {
			t.Fatal(err)
		}
		bomb := w.EncodeAll(make([]byte, 64<<20), nil)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := apply(nil, bomb, 1<<10)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, delta.ErrCorrupt) || len(got) > 1<<10 {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 2<<20 {
			t.Errorf("%s: %d bytes allocated for a delta of %d bytes", name, grown, len(bomb))
		}
	}
}

func TestTooLarge(t *testing.T) {
	if _, err := delta.Make([]byte{1}, make([]byte, delta.MaxImage+1)); !errors.Is(err, delta.ErrTooLarge) {
		t.Error(err)
	}
	if _, err := delta.Make(make([]byte, delta.MaxImage+1), []byte{1}); !errors.Is(err, delta.ErrTooLarge) {
		t.Error(err)
	}
	if _, err := delta.Make([]byte{1}, nil); !errors.Is(err, delta.ErrTooLarge) {
		t.Error(err)
	}
}

type broken struct{}

var errDisk = errors.New("disk full")

func (broken) Write([]byte) (int, error) { return 0, errDisk }

func TestWriterFails(t *testing.T) {
	d, err := delta.Make(nil, []byte("image"))
	if err != nil {
		t.Fatal(err)
	}
	if err := delta.Apply(broken{}, nil, bytes.NewReader(d), 5); !errors.Is(err, errDisk) || errors.Is(err, delta.ErrCorrupt) {
		t.Error(err)
	}
	if err := delta.Apply(io.Discard, nil, io.MultiReader(bytes.NewReader(d[:4]), failing{}), 5); !errors.Is(err, errDisk) {
		t.Error(err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errDisk }

// TestZstandardTool: what we make, the reference tool applies, and the other way round.
func TestZstandardTool(t *testing.T) {
	tool, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("no zstd here")
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	old := image(1, 1<<20)
	want := next(old)
	d, err := delta.Make(old, want)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"old": old, "new": want, "delta": d} {
		if err := os.WriteFile(path(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(tool, append(args, "-q", "-f", "--patch-from="+path("old"))...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	run("-d", path("delta"), "-o", path("made"))
	if made, err := os.ReadFile(path("made")); err != nil || !bytes.Equal(made, want) {
		t.Errorf("the tool makes %d bytes of our delta, %v", len(made), err)
	}
	run(path("new"), "-o", path("theirs"))
	theirs, err := os.ReadFile(path("theirs"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := apply(old, theirs, int64(len(want))); err != nil || !bytes.Equal(got, want) {
		t.Errorf("we make %d bytes of the tool's delta, %v", len(got), err)
	}
}

func FuzzApply(f *testing.F) {
	old := image(1, 512) // small, so that the engine's minimizing does not eat its time
	for _, to := range [][]byte{old, next(old), old[:10], image(2, 600)} {
		d, err := delta.Make(old, to)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(old, d, int64(len(to)))
	}
	f.Fuzz(func(t *testing.T, from, d []byte, size int64) {
		if size > 1<<20 {
			size %= 1 << 20
		}
		got, err := apply(from, d, size)
		if int64(len(got)) > max(size, 0) || err == nil && int64(len(got)) != size {
			t.Errorf("%d bytes of %d, %v", len(got), size, err)
		}
	})
}

func FuzzMake(f *testing.F) {
	f.Add([]byte("old image"), []byte("new image"))
	f.Add([]byte(nil), []byte{0})
	f.Fuzz(func(t *testing.T, from, to []byte) {
		d, err := delta.Make(from, to)
		if err != nil {
			if len(to) > 0 {
				t.Error(err)
			}
			return
		}
		if got, err := apply(from, d, int64(len(to))); err != nil || !bytes.Equal(got, to) {
			t.Errorf("%q became %q, %v", to, got, err)
		}
	})
}
