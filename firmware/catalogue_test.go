package firmware_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"fleetbridge/firmware"
	"fleetbridge/ident"
)

var (
	acme  = ident.MustTenant("acme")
	other = ident.MustTenant("other")
)

func open(t *testing.T, dir string, opts firmware.CatalogueOptions) *firmware.Catalogue {
	t.Helper()
	c, err := firmware.OpenCatalogue(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func begin(t *testing.T, c *firmware.Catalogue, d ident.Digest, size, want int64) {
	t.Helper()
	if got, err := c.Begin(acme, d, size); err != nil || got != want {
		t.Fatalf("begin says %d, %v, want %d", got, err, want)
	}
}

func appendTo(t *testing.T, c *firmware.Catalogue, d ident.Digest, offset int64, data []byte) {
	t.Helper()
	if end, err := c.Append(acme, d, offset, data); err != nil || end != offset+int64(len(data)) {
		t.Fatalf("append at %d ends at %d, %v", offset, end, err)
	}
}

// put uploads b in one piece.
func put(t *testing.T, c *firmware.Catalogue, b []byte) ident.Digest {
	t.Helper()
	d := ident.SumDigest(b)
	begin(t, c, d, int64(len(b)), 0)
	appendTo(t, c, d, 0, b)
	if err := c.Commit(acme, d); err != nil {
		t.Fatal(err)
	}
	return d
}

func read(t *testing.T, c *firmware.Catalogue, tenant ident.Tenant, d ident.Digest) []byte {
	t.Helper()
	p, err := c.Open(tenant, d)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(p, 0, 1<<30))
	if err := errors.Join(err, p.Close(), p.Close()); err != nil { // a second Close does nothing
		t.Fatal(err)
	}
	return b
}

// files lists a tenant's folder.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, acme.String()))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestUpload(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	c := open(t, dir, firmware.CatalogueOptions{})
	b := []byte("a payload in three pieces")
	d := ident.SumDigest(b)
	begin(t, c, d, int64(len(b)), 0)
	appendTo(t, c, d, 0, b[:10])
	begin(t, c, d, int64(len(b)), 10) // goes on
	appendTo(t, c, d, 10, b[10:11])
	if err := c.Commit(acme, d); !errors.Is(err, firmware.ErrOffset) {
		t.Errorf("commit of a part: %v", err)
	}
	if _, err := c.Open(acme, d); !errors.Is(err, firmware.ErrNoPayload) {
		t.Errorf("open of a part: %v", err)
	}
	appendTo(t, c, d, 11, b[11:])
	begin(t, c, d, int64(len(b)), int64(len(b)))
	for range 2 { // the second is a repeat
		if err := c.Commit(acme, d); err != nil {
			t.Fatal(err)
		}
	}
	begin(t, c, d, int64(len(b)), int64(len(b)))
	if got := read(t, c, acme, d); !bytes.Equal(got, b) {
		t.Errorf("read %q", got)
	}
	if n, err := c.Size(acme, d); err != nil || n != int64(len(b)) {
		t.Errorf("size %d, %v", n, err)
	}
	if got := files(t, dir); len(got) != 1 || got[0] != d.Hex() {
		t.Errorf("files %v", got)
	}
}

func TestUploadRefuses(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, firmware.CatalogueOptions{MaxSize: 100, MaxUploads: 2})
	b := []byte("payload")
	d := ident.SumDigest(b)
	check := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	beginErr := func(tenant ident.Tenant, d ident.Digest, size int64) error {
		_, err := c.Begin(tenant, d, size)
		return err
	}
	appendErr := func(offset int64, data []byte) error {
		end, err := c.Append(acme, d, offset, data)
		if err != nil && end != 0 {
			t.Errorf("the upload ends at %d, want 0", end)
		}
		return err
	}
	check("append before begin", appendErr(0, b), firmware.ErrNoUpload)
	check("commit before begin", c.Commit(acme, d), firmware.ErrNoUpload)
	check("no size", beginErr(acme, d, 0), firmware.ErrTooLarge)
	check("negative size", beginErr(acme, d, -1), firmware.ErrTooLarge)
	check("too large", beginErr(acme, d, 101), firmware.ErrTooLarge)
	check("no tenant", beginErr(ident.Tenant{}, d, 7), firmware.ErrNoPayload)
	check("no digest", beginErr(acme, ident.Digest{}, 7), firmware.ErrNoPayload)
	if got := files(t, dir); got != nil {
		t.Fatalf("refusals left %v", got)
	}
	begin(t, c, d, 7, 0)
	check("gap", appendErr(1, b[1:]), firmware.ErrOffset)
	check("negative offset", appendErr(-1, b), firmware.ErrOffset)
	check("beyond the size", appendErr(0, append(b, '!')), firmware.ErrTooLarge)
	begin(t, c, ident.SumDigest([]byte("second")), 6, 0)
	check("third upload", beginErr(acme, ident.SumDigest([]byte("third")), 5), firmware.ErrQuota)
	check("another tenant's", beginErr(other, ident.SumDigest([]byte("third")), 5), nil)
	appendTo(t, c, d, 0, b)
	if end, err := c.Append(acme, d, 0, b); !errors.Is(err, firmware.ErrOverlap) || end != 7 {
		t.Errorf("a repeated append: %v at %d, want the end, 7", err, end)
	}
	check("commit", c.Commit(acme, d), nil)
	check("other size for the same digest", beginErr(acme, d, 8), firmware.ErrDigestMismatch)
	check("place of the finished upload", beginErr(acme, ident.SumDigest([]byte("third")), 5), nil)
}

func TestUploadOfWrongBytes(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, firmware.CatalogueOptions{})
	d := ident.SumDigest([]byte("payload"))
	begin(t, c, d, 7, 0)
	appendTo(t, c, d, 0, []byte("PAYLOAD"))
	if err := c.Commit(acme, d); !errors.Is(err, firmware.ErrDigestMismatch) {
		t.Errorf("commit: %v", err)
	}
	if got := files(t, dir); got != nil {
		t.Errorf("files %v", got)
	}
	if got := put(t, c, []byte("payload")); got != d {
		t.Errorf("a second try gives %s", got)
	}
}

// Another size starts the upload over: of the two announcements the later one holds.
func TestBeginWithAnotherSize(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, firmware.CatalogueOptions{})
	d := ident.SumDigest([]byte("payload"))
	begin(t, c, d, 9, 0)
	appendTo(t, c, d, 0, []byte("pay"))
	begin(t, c, d, 7, 0)
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("files %v", got)
	}
	appendTo(t, c, d, 0, []byte("payload"))
	if err := c.Commit(acme, d); err != nil {
		t.Error(err)
	}
}

// Each case is a folder as a crash can leave it. Whatever it holds, the same client ends with the payload.
func TestCrashLeftovers(t *testing.T) {
	b := []byte("a payload that outlives a crash")
	d := ident.SumDigest(b)
	part := d.Hex() + ".31.part"
	for name, c := range map[string]struct {
		files  map[string][]byte
		offset int64 // where begin says to go on
	}{
		"nothing":                  {nil, 0},
		"folder made":              {map[string][]byte{}, 0},
		"begun":                    {map[string][]byte{part: {}}, 0},
		"some bytes":               {map[string][]byte{part: b[:7]}, 7},
		"a torn append":            {map[string][]byte{part: append(bytes.Clone(b[:7]), 0, 0, 0)}, 10},
		"complete, not committed":  {map[string][]byte{part: b}, 31},
		"complete, zeros at end":   {map[string][]byte{part: append(bytes.Clone(b[:30]), 0)}, 31},
		"renamed":                  {map[string][]byte{d.Hex(): b}, 31},
		"files that aren't ours":   {map[string][]byte{"notes.txt": b, "x.part": b, d.Hex() + ".part": b, d.Hex() + ".-1.part": b}, 0},
		"another payload's upload": {map[string][]byte{ident.SumDigest(nil).Hex() + ".31.part": b[:3]}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.files != nil {
				if err := os.Mkdir(filepath.Join(dir, acme.String()), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			for name, data := range c.files {
				if err := os.WriteFile(filepath.Join(dir, acme.String(), name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cat := open(t, dir, firmware.CatalogueOptions{})
			begin(t, cat, d, 31, c.offset)
			upload(t, cat, d, b, c.offset)
			if got := read(t, cat, acme, d); !bytes.Equal(got, b) {
				t.Errorf("read %q", got)
			}
		})
	}
}

// upload goes on at offset, and starts over when the bytes before it turn out wrong.
func upload(t *testing.T, c *firmware.Catalogue, d ident.Digest, b []byte, offset int64) {
	t.Helper()
	if int(offset) < len(b) {
		appendTo(t, c, d, offset, b[offset:])
	}
	err := c.Commit(acme, d)
	if errors.Is(err, firmware.ErrDigestMismatch) {
		begin(t, c, d, int64(len(b)), 0)
		appendTo(t, c, d, 0, b)
		err = c.Commit(acme, d)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Two tenants with the same bytes: neither sees that the other has them.
func TestTenantsApart(t *testing.T) {
	c := open(t, t.TempDir(), firmware.CatalogueOptions{})
	b := []byte("payload")
	d := put(t, c, b)
	if _, err := c.Open(other, d); !errors.Is(err, firmware.ErrNoPayload) {
		t.Errorf("open of another tenant's: %v", err)
	}
	if _, err := c.Size(other, d); !errors.Is(err, firmware.ErrNoPayload) {
		t.Errorf("size of another tenant's: %v", err)
	}
	if offset, err := c.Begin(other, d, 7); err != nil || offset != 0 {
		t.Errorf("begin says %d, %v: it knows of another tenant's", offset, err)
	}
	if _, err := c.Append(other, d, 0, b); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(other, d); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c, other, d); !bytes.Equal(got, b) {
		t.Errorf("read %q", got)
	}
}

// Many clients upload the same payload at once: the bytes are there once, and nobody has written over anybody's.
func TestConcurrentUploads(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, firmware.CatalogueOptions{})
	b := bytes.Repeat([]byte("0123456789abcdef"), 256)
	d := ident.SumDigest(b)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			offset, err := c.Begin(acme, d, int64(len(b)))
			for err == nil && offset < int64(len(b)) {
				end := min(offset+100, int64(len(b)))
				if offset, err = c.Append(acme, d, offset, b[offset:end]); errors.Is(err, firmware.ErrOverlap) || errors.Is(err, firmware.ErrNoUpload) {
					offset, err = c.Begin(acme, d, int64(len(b))) // somebody else was there
				}
			}
			if err := errors.Join(err, c.Commit(acme, d)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := read(t, c, acme, d); !bytes.Equal(got, b) {
		t.Error("the payload isn't what was sent")
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("files %v", got)
	}
}

// Of clients that append at one offset at once, exactly one is told that its bytes are there.
func TestConcurrentAppends(t *testing.T) {
	c := open(t, t.TempDir(), firmware.CatalogueOptions{})
	d := ident.SumDigest([]byte("payload"))
	begin(t, c, d, 1<<20, 0)
	for round := range int64(30) {
		var won atomic.Int64
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range 8 {
			wg.Go(func() {
				<-start
				_, err := c.Append(acme, d, round*1000, bytes.Repeat([]byte{byte(i)}, 1000))
				if err == nil {
					won.Add(1)
				} else if !errors.Is(err, firmware.ErrOverlap) {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		if n := won.Load(); n != 1 {
			t.Fatalf("round %d: %d of 8 appends at one offset succeeded, want 1", round, n)
		}
	}
}

// As many files stay open as the options say, no more and no fewer.
func TestFilesKeptOpen(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, firmware.CatalogueOptions{MaxOpen: 2})
	for i := range 5 {
		b := bytes.Repeat([]byte{byte(i)}, 10)
		if got := read(t, c, acme, put(t, c, b)); !bytes.Equal(got, b) {
			t.Errorf("read %x", got)
		}
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("needs /proc: ", err)
	}
	kept := 0
	for _, fd := range fds {
		// A descriptor may be gone by now; then it isn't ours.
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, filepath.Join(dir, acme.String())) {
			kept++
		}
	}
	if kept != 2 {
		t.Errorf("%d files are open, want 2", kept)
	}
}

// Readers share files, and more of them than are kept open do no harm.
func TestConcurrentReads(t *testing.T) {
	c := open(t, t.TempDir(), firmware.CatalogueOptions{MaxOpen: 2})
	var digests []ident.Digest
	for i := range 6 {
		digests = append(digests, put(t, c, bytes.Repeat([]byte{byte(i)}, 100)))
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 60 {
				d := digests[i%len(digests)]
				p, err := c.Open(acme, d)
				if err != nil {
					t.Error(err)
					return
				}
				b := make([]byte, 100)
				if _, err := p.ReadAt(b, 0); err != nil || ident.SumDigest(b) != d {
					t.Errorf("read %d bytes, %v", len(b), err)
				}
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// A reader outlives Close; nothing opens after it.
func TestCloseWithReader(t *testing.T) {
	c, err := firmware.OpenCatalogue(t.TempDir(), firmware.CatalogueOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d := put(t, c, []byte("payload"))
	p, err := c.Open(acme, d)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len("payload"))
	if _, err := p.ReadAt(b, 0); err != nil || string(b) != "payload" {
		t.Errorf("read %q, %v", b, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Open(acme, d); !errors.Is(err, os.ErrClosed) {
		t.Errorf("open after close: %v", err)
	}
}

// A link that leads out of the catalogue isn't followed.
func TestFolderThatIsALink(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	d := ident.SumDigest([]byte("secret"))
	if err := os.WriteFile(filepath.Join(outside, d.Hex()), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, acme.String())); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir, firmware.CatalogueOptions{})
	if p, err := c.Open(acme, d); err == nil {
		t.Errorf("opened a payload from outside, close: %v", p.Close())
	}
	if _, err := c.Begin(acme, ident.SumDigest([]byte("x")), 1); err == nil {
		t.Error("began an upload outside")
	}
}

// Uploads stop before they take the room that others on the disk need.
func TestUploadsNeedRoom(t *testing.T) {
	full, asked := false, int64(0)
	c := open(t, t.TempDir(), firmware.CatalogueOptions{Room: func(n int64) error {
		if asked = n; full {
			return errors.New("disk is full")
		}
		return nil
	}})
	data := []byte("0123456789")
	d, other := ident.SumDigest(data), ident.SumDigest([]byte("other"))
	if _, err := c.Begin(acme, d, 10); err != nil || asked != 10 {
		t.Fatalf("begin: %v, asked for %d bytes", err, asked)
	}
	full = true
	if _, err := c.Begin(acme, other, 5); !errors.Is(err, firmware.ErrNoRoom) {
		t.Errorf("begin without room: %v", err)
	}
	if end, err := c.Append(acme, d, 0, data[:4]); !errors.Is(err, firmware.ErrNoRoom) || end != 0 || asked != 4 {
		t.Errorf("append without room: %d, %v, asked for %d bytes", end, err, asked)
	}
	full = false
	if end, err := c.Append(acme, d, 0, data); err != nil || end != 10 {
		t.Errorf("append once there is room: %d, %v", end, err)
	}
}
