package firmware

import (
	"errors"
	"fmt"
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
		if err := c.removePart(old.name); err != nil {
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
// durable. With ErrOverlap (below the end) and ErrOffset (beyond it) it returns where the upload does end, so that a
// client whose answer got lost can go on from there. More than Begin announced is ErrTooLarge. Without a Begin it is
// ErrNoUpload, and ErrNoRoom when Room says no.
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
	case offset < 0 || offset > p.offset:
		return p.offset, fmt.Errorf("at %d, the end is %d: %w", offset, p.offset, ErrOffset)
	case offset < p.offset:
		return p.offset, fmt.Errorf("at %d, the end is %d: %w", offset, p.offset, ErrOverlap)
	case int64(len(data)) > p.size-p.offset:
		return p.offset, fmt.Errorf("%d bytes at %d, the payload has %d: %w", len(data), offset, p.size, ErrTooLarge)
	}
	if err := c.opts.Room(int64(len(data))); err != nil {
		return p.offset, fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	f, err := c.root.OpenFile(p.name, os.O_RDWR, 0)
	if err != nil {
		return p.offset, err
	}
	if err := c.write(f, p.name, offset, data); err != nil {
		// What was written is cut off again, since the caller is told that it isn't there.
		return p.offset, errors.Join(err, f.Truncate(offset), f.Close())
	}
	return offset + int64(len(data)), f.Close()
}

// write makes data durable at the end of an upload, and only then part of its sum.
func (c *Catalogue) write(f *os.File, name string, offset int64, data []byte) error {
	s := c.sums.of(name, offset)
	if err := s.catchUp(f, offset, catchUpStep); err != nil {
		return err
	}
	if _, err := f.WriteAt(data, offset); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	s.add(offset, data)
	return nil
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
	got, err := c.sum(p)
	if err != nil {
		return err
	}
	if got != d {
		return errors.Join(fmt.Errorf("bytes have %s: %w", got, ErrDigestMismatch), c.removePart(p.name))
	}
	if err := c.root.Rename(p.name, payloadFile(t, d)); err != nil {
		return err
	}
	c.sums.forget(p.name)
	failpoint.At("payload: renamed, not synced", "")
	return c.syncFolder(t.String())
}

// sum is the digest of an upload. Bytes that no Append of this process wrote are read, and synced first: they may have
// come just before a crash.
func (c *Catalogue) sum(p part) (d ident.Digest, err error) {
	s := c.sums.of(p.name, p.offset)
	if s.at < p.offset {
		f, err := c.root.OpenFile(p.name, os.O_RDWR, 0)
		if err != nil {
			return ident.Digest{}, err
		}
		err = f.Sync()
		if err == nil {
			err = s.catchUp(f, p.offset, p.offset)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return ident.Digest{}, err
		}
	}
	return s.digest(), nil
}

// Cancel removes an upload that isn't committed; none is no error.
func (c *Catalogue) Cancel(t ident.Tenant, d ident.Digest) error {
	defer c.lock(t, d)()
	p, _, err := c.findPart(t, d)
	if errors.Is(err, ErrNoUpload) {
		return nil
	}
	if err == nil {
		err = c.removePart(p.name)
	}
	if err != nil {
		return fmt.Errorf("cancel upload of %s: %w", d, err)
	}
	return nil
}

func (c *Catalogue) removePart(name string) error {
	c.sums.forget(name)
	return c.root.Remove(name)
}

// Stands says how many bytes of an upload are there, and when it got its last. Without one it is ErrNoUpload.
func (c *Catalogue) Stands(t ident.Tenant, d ident.Digest) (offset int64, last time.Time, err error) {
	p, _, err := c.findPart(t, d)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("find upload of %s: %w", d, err)
	}
	return p.offset, p.last, nil
}

// part is an unfinished upload as the folder shows it.
type part struct {
	name   string // below the root
	size   int64  // announced
	offset int64  // of the next byte
	last   time.Time
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
		found = part{t.String() + "/" + f.Name(), size, info.Size(), info.ModTime()}
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
