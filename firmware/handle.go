package firmware

import (
	"os"
	"sync/atomic"

	"fleetbridge/ident"
)

// Handle is an open payload that many use at once. It may be used by any number of goroutines, by each from a Hold, or the
// Catalogue's Handle, to its Release.
type Handle struct {
	file   *os.File
	size   int64
	mapped []byte
	users  atomic.Int64 // the catalogue is one of them while it keeps the handle
	gone   atomic.Bool  // the catalogue keeps it no longer
	used   atomic.Bool  // since the catalogue last looked for one to let go
}

// Handle returns a held handle of a whole payload, or ErrNoPayload.
func (c *Catalogue) Handle(t ident.Tenant, d ident.Digest) (*Handle, error) {
	if err := checkName(t, d); err != nil {
		return nil, err
	}
	h, err := c.handles.get(payloadKey{t, d}, c.root.Open)
	if err != nil {
		return nil, missing(d, err)
	}
	return h, nil
}

func openHandle(name string, open func(string) (*os.File, error)) (*Handle, error) {
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, err
	}
	h := &Handle{file: file, size: info.Size(), mapped: mapFile(file, info.Size())}
	h.users.Store(1)
	return h, nil
}

// Hold takes the handle once more, by one atomic operation. It is false when the payload was removed, or many others were
// used since: then the Catalogue has the word.
func (h *Handle) Hold() bool {
	for {
		n := h.users.Load()
		if n == 0 || h.gone.Load() {
			return false
		}
		if h.users.CompareAndSwap(n, n+1) {
			h.touch()
			return true
		}
	}
}

// touch writes only where it changes something: every fetch comes by.
func (h *Handle) touch() {
	if !h.used.Load() {
		h.used.Store(true)
	}
}

// Release gives back what a Hold took. The last one closes the file.
func (h *Handle) Release() error {
	if h.users.Add(-1) > 0 {
		return nil
	}
	unmapFile(h.mapped)
	return h.file.Close()
}

// Size is the file's size in bytes when it was opened.
func (h *Handle) Size() int64 { return h.size }

// ReadAt reads like io.ReaderAt.
func (h *Handle) ReadAt(b []byte, off int64) (int, error) { return h.file.ReadAt(b, off) }

// Mapped is the payload as the system maps it into memory, valid until Release; nil where it does not. It is to be handed to
// the system, which writes it to a socket without a copy of ours, and tells of a page that can't be read by an error. This
// process must not read it: a page that the disk does not give, or that somebody cut off the file, would be a SIGBUS.
func (h *Handle) Mapped() []byte { return h.mapped }
