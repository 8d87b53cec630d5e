package firmware

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"fleetbridge/ident"
)

// CatalogueOptions bound a catalogue; a zero field takes its default.
type CatalogueOptions struct {
	MaxSize    int64 // bytes of a payload; default 1 GiB
	MaxUploads int   // unfinished uploads of a tenant; default 32
	MaxOpen    int   // payloads kept open and mapped for reading; default 256
	// Room says whether bytes more may be written, or why not; nil: always. It keeps uploads from taking the space that
	// others on the same disk need to work at all.
	Room func(bytes int64) error
}

// Catalogue keeps payloads as files named by their digest, each tenant's in a folder of its own: <dir>/<tenant>/<hex>,
// and <hex>.<size>.part while it is being uploaded. A file without a suffix is whole, its digest was checked, and it
// never changes. Two tenants with the same bytes have a file each, so that neither can tell what the other has.
//
// It may be used by any number of goroutines of one process. It keeps no state that can't be read from the folder again:
// after a crash at any moment an upload goes on from what was synced, or its Commit finds the wrong digest and it starts
// over.
type Catalogue struct {
	root    *os.Root
	opts    CatalogueOptions
	locks   [64]sync.Mutex // of uploads, by digest; taken before begins
	begins  sync.Mutex
	sums    sums
	handles handles
}

const (
	partSuffix = ".part"
	folderMode = 0o700
	fileMode   = 0o600
)

// OpenCatalogue opens the catalogue in dir, which is made if it isn't there.
func OpenCatalogue(dir string, opts CatalogueOptions) (*Catalogue, error) {
	if opts.MaxSize <= 0 {
		opts.MaxSize = 1 << 30
	}
	if opts.MaxUploads <= 0 {
		opts.MaxUploads = 32
	}
	if opts.MaxOpen <= 0 {
		opts.MaxOpen = 256
	}
	if opts.Room == nil {
		opts.Room = func(int64) error { return nil }
	}
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, fmt.Errorf("open catalogue: %w", err)
	}
	root, err := os.OpenRoot(dir) // no name below can lead out of dir
	if err != nil {
		return nil, fmt.Errorf("open catalogue: %w", err)
	}
	return &Catalogue{root: root, opts: opts, sums: sums{by: map[string]*sum{}}, handles: newHandles(opts.MaxOpen)}, nil
}

// Close closes the files that nobody reads; those that somebody does close with their Content. It may be called once.
func (c *Catalogue) Close() error {
	return errors.Join(c.handles.close(), c.root.Close())
}

// Size returns the size of a whole payload in bytes, or ErrNoPayload.
func (c *Catalogue) Size(t ident.Tenant, d ident.Digest) (int64, error) {
	if err := checkName(t, d); err != nil {
		return 0, err
	}
	info, err := c.root.Stat(payloadFile(t, d))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("find payload %s: %w", d, ErrNoPayload)
	}
	if err != nil {
		return 0, fmt.Errorf("find payload %s: %w", d, err)
	}
	return info.Size(), nil
}

// Open opens a whole payload for reading, or returns ErrNoPayload. The caller closes what it gets.
func (c *Catalogue) Open(t ident.Tenant, d ident.Digest) (*Content, error) {
	h, err := c.Handle(t, d)
	if err != nil {
		return nil, err
	}
	return &Content{handle: h}, nil
}

// missing is the error of a payload that could not be opened.
func missing(d ident.Digest, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNoPayload
	}
	return fmt.Errorf("open payload %s: %w", d, err)
}

// Content is an open payload of one reader. ReadAt may be called by many goroutines at once, until Close.
type Content struct {
	handle *Handle
	once   sync.Once
}

// ReadAt reads like io.ReaderAt.
func (p *Content) ReadAt(b []byte, off int64) (int, error) { return p.handle.ReadAt(b, off) }

// Close gives the file back. A second call does nothing.
func (p *Content) Close() error {
	var err error
	p.once.Do(func() { err = p.handle.Release() })
	return err
}

// checkName guards against the zero values of the two identifiers; any other value is a safe file name by its type.
func checkName(t ident.Tenant, d ident.Digest) error {
	if t.IsZero() || d.IsZero() {
		return fmt.Errorf("name payload: tenant or digest is missing: %w", ErrNoPayload)
	}
	return nil
}

func payloadFile(t ident.Tenant, d ident.Digest) string { return t.String() + "/" + d.Hex() }

func partFile(t ident.Tenant, d ident.Digest, size int64) string {
	return fmt.Sprintf("%s.%d%s", payloadFile(t, d), size, partSuffix)
}

// parsePart is the inverse of partFile's last level.
func parsePart(name string) (ident.Digest, int64, bool) {
	base, isPart := strings.CutSuffix(name, partSuffix)
	h, n, hasSize := strings.Cut(base, ".")
	d, errDigest := ident.ParseDigest(h)
	size, errSize := strconv.ParseInt(n, 10, 64)
	ok := isPart && hasSize && errDigest == nil && errSize == nil && size >= 0
	return d, size, ok
}
