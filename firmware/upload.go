package firmware

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"fleetbridge/ident"
	"fleetbridge/internal/failpoint"
)

// Begin starts the upload of a payload of size bytes, or goes on with one, and returns how many bytes are there: size
// means that nothing is to be sent, whether or not Commit was called. Another size than an unfinished upload was begun
// with starts it over; another than a whole payload has is ErrDigestMismatch. It returns ErrTooLarge over MaxSize,
// ErrQuota over MaxUploads and ErrNoRoom when Room says no.
func (c *Catalogue) Begin(t ident.Tenant, d ident.Digest, size int64) (int64, error) {
	defer c.lock(t, d)()
	offset, err := c.begin(t, d, size)
	if err != nil {
		return 0, fmt.Errorf("begin upload of %s: %w", d, err)
	}
	return offset, nil
}

func (c *Catalogue) begin(t ident.Tenant, d ident.Digest, size int64) (int64, error) {
	switch have, err := c.Size(t, d); {
	case err == nil && have == size:
		return size, nil
	case err == nil:
		return 0, fmt.Errorf("it is here with %d bytes, not %d: %w", have, size, ErrDigestMismatch)
	case !errors.Is(err, ErrNoPayload):
		return 0, err
	case size < 1 || size > c.opts.MaxSize:
		return 0, fmt.Errorf("%d bytes, want 1 to %d: %w", size, c.opts.MaxSize, ErrTooLarge)
	}
	c.begins.Lock() // two of them must not both take the last place
	defer c.begins.Unlock()
	old, uploads, err := c.findPart(t, d)
	switch {
	case err != nil && !errors.Is(err, ErrNoUpload):
		return 0, err
	case err == nil && old.size == size:
		return old.offset, nil
	case err == nil:
		if err := c.root.Remove(old.name); err != nil {
			return 0, err
		}
	case uploads >= c.opts.MaxUploads:
		return 0, fmt.Errorf("%d of at most %d: %w", uploads, c.opts.MaxUploads, ErrQuota)
	}
	if err := c.opts.Room(size); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	if err := c.makeFolder(t); err != nil {
		return 0, err
	}
	f, err := c.root.OpenFile(partFile(t, d, size), os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return 0, err
	}
	return 0, errors.Join(f.Close(), c.syncFolder(t.String()))
}

// Append writes data at offset, which must be where the upload ends, and returns the new end; nil means that it is
// durable. With ErrOffset it returns where the upload does end, so that a client whose answer got lost can go on from
// there. More than Begin announced is ErrTooLarge. Without a Begin it is ErrNoUpload, and ErrNoRoom when Room says no.
func (c *Catalogue) Append(t ident.Tenant, d ident.Digest, offset int64, data []byte) (int64, error) {
	defer c.lock(t, d)()
	end, err := c.append(t, d, offset, data)
	if err != nil {
		return end, fmt.Errorf("append to upload of %s: %w", d, err)
	}
	return end, nil
}

func (c *Catalogue) append(t ident.Tenant, d ident.Digest, offset int64, data []byte) (int64, error) {
	p, _, err := c.findPart(t, d)
	switch {
	case err != nil:
		return 0, err
	case offset != p.offset:
		return p.offset, fmt.Errorf("at %d, the end is %d: %w", offset, p.offset, ErrOffset)
	case int64(len(data)) > p.size-p.offset:
		return p.offset, fmt.Errorf("%d bytes at %d, the payload has %d: %w", len(data), offset, p.size, ErrTooLarge)
	}
	if err := c.opts.Room(int64(len(data))); err != nil {
		return p.offset, fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	f, err := c.root.OpenFile(p.name, os.O_WRONLY, 0)
	if err != nil {
		return p.offset, err
	}
	_, err = f.WriteAt(data, offset)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		// What was written is cut off again, since the caller is told that it isn't there.
		return p.offset, errors.Join(err, f.Truncate(offset), f.Close())
	}
	return offset + int64(len(data)), f.Close()
}

// Commit makes a complete upload a payload; nil means that it is durable. An upload that isn't complete is ErrOffset. One
// whose bytes are not what the digest names is ErrDigestMismatch, and is gone. Committing a payload again does nothing.
func (c *Catalogue) Commit(t ident.Tenant, d ident.Digest) error {
	defer c.lock(t, d)()
	if err := c.commit(t, d); err != nil {
		return fmt.Errorf("commit upload of %s: %w", d, err)
	}
	return nil
}

func (c *Catalogue) commit(t ident.Tenant, d ident.Digest) error {
	switch _, err := c.Size(t, d); {
	case err == nil:
		return c.syncFolder(t.String()) // the Commit before may have renamed and then failed
	case !errors.Is(err, ErrNoPayload):
		return err
	}
	p, _, err := c.findPart(t, d)
	if err != nil {
		return err
	}
	if p.offset != p.size {
		return fmt.Errorf("%d of %d bytes are there: %w", p.offset, p.size, ErrOffset)
	}
	got, err := c.sum(p.name)
	if err != nil {
		return err
	}
	if got != d {
		return errors.Join(fmt.Errorf("bytes have %s: %w", got, ErrDigestMismatch), c.root.Remove(p.name))
	}
	if err := c.root.Rename(p.name, payloadFile(t, d)); err != nil {
		return err
	}
	failpoint.At("payload: renamed, not synced", "")
	return c.syncFolder(t.String())
}

// sum hashes a file from start to end; it is synced first, for its last bytes may have come before a crash.
func (c *Catalogue) sum(name string) (d ident.Digest, err error) {
	f, err := c.root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return ident.Digest{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Sync(); err != nil {
		return ident.Digest{}, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ident.Digest{}, err
	}
	return ident.Digest(h.Sum(nil)), nil
}

// Abandoned removes uploads that got no byte since before, and says how many.
func (c *Catalogue) Abandoned(before time.Time) (int, error) {
	folders, err := fs.ReadDir(c.root.FS(), ".")
	if err != nil {
		return 0, fmt.Errorf("remove abandoned uploads: %w", err)
	}
	removed := 0
	for _, folder := range folders {
		t, err := ident.ParseTenant(folder.Name())
		if err != nil || !folder.IsDir() {
			continue // not ours
		}
		n, err := c.abandoned(t, before)
		removed += n
		if err != nil {
			return removed, fmt.Errorf("remove abandoned uploads of %s: %w", t, err)
		}
	}
	return removed, nil
}

func (c *Catalogue) abandoned(t ident.Tenant, before time.Time) (int, error) {
	files, err := fs.ReadDir(c.root.FS(), t.String())
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, f := range files {
		d, _, ok := parsePart(f.Name())
		if !ok {
			continue
		}
		gone, err := c.removeIfOld(t, d, f.Name(), before)
		if err != nil {
			return removed, err
		}
		if gone {
			removed++
		}
	}
	return removed, nil
}

// removeIfOld looks at the file's time again under its lock: it may be written to right now.
func (c *Catalogue) removeIfOld(t ident.Tenant, d ident.Digest, name string, before time.Time) (bool, error) {
	defer c.lock(t, d)()
	path := t.String() + "/" + name
	info, err := c.root.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !info.ModTime().Before(before) {
		return false, err
	}
	return true, c.root.Remove(path)
}

// part is an unfinished upload as the folder shows it.
type part struct {
	name   string // below the root
	size   int64  // announced
	offset int64  // of the next byte
}

// findPart finds the upload of d, and counts the tenant's. There is never a second one of d: begin removes before it makes.
func (c *Catalogue) findPart(t ident.Tenant, d ident.Digest) (part, int, error) {
	if err := checkName(t, d); err != nil {
		return part{}, 0, err
	}
	files, err := fs.ReadDir(c.root.FS(), t.String())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return part{}, 0, err
	}
	var found part
	uploads := 0
	for _, f := range files {
		of, size, ok := parsePart(f.Name())
		if !ok {
			continue
		}
		uploads++
		if of != d {
			continue
		}
		info, err := f.Info()
		if err != nil {
			return part{}, 0, err
		}
		found = part{t.String() + "/" + f.Name(), size, info.Size()}
	}
	if found.name == "" {
		return part{}, uploads, ErrNoUpload
	}
	return found, uploads, nil
}

func (c *Catalogue) makeFolder(t ident.Tenant) error {
	if err := c.root.Mkdir(t.String(), folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return c.syncFolder(".")
}

// syncFolder makes the names in a folder durable.
func (c *Catalogue) syncFolder(name string) error {
	f, err := c.root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// lock keeps two uploads of one payload apart.
func (c *Catalogue) lock(t ident.Tenant, d ident.Digest) (unlock func()) {
	m := &c.locks[d[0]%byte(len(c.locks))]
	m.Lock()
	return m.Unlock
}
