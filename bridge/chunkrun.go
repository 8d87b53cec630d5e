package bridge

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"fleetbridge/firmware"
	"fleetbridge/link"
)

// chunkRun is some chunks of a fetch as they are given to the connection. Runs are pooled, so that a fetch allocates nothing
// (BenchmarkFetch).
type chunkRun struct {
	link.Run
	buf   []byte // of the payloads that were read
	bytes int    // of all payloads
}

var chunkRuns = sync.Pool{New: func() any { return new(chunkRun) }}

func getRun() *chunkRun { return chunkRuns.Get().(*chunkRun) }

// put gives r back to the pool; it keeps no mapping.
func (r *chunkRun) put() {
	r.reset()
	chunkRuns.Put(r)
}

func (r *chunkRun) reset() {
	clear(r.Parts)
	r.Parts, r.bytes = r.Parts[:0], 0
}

// add takes the next chunk of w.
func (r *chunkRun) add(index uint32, payload []byte) {
	r.Parts = append(r.Parts, link.Part{Index: index, Payload: payload})
	r.bytes += len(payload)
}

// fits says whether a chunk of n bytes may be added; the first one always may.
func (r *chunkRun) fits(n, most int) bool { return len(r.Parts) == 0 || r.bytes+n <= most }

// point makes r the next chunks of w, of most bytes together or one chunk, without a copy where the system maps files: see
// firmware.Handle.Mapped for who may read them.
func (r *chunkRun) point(w window, h *firmware.Handle, most int) error {
	mapped := h.Mapped()
	if mapped == nil {
		return r.read(w, h, most)
	}
	r.reset()
	for !w.empty() && r.fits(int(w.fetch.Size), most) {
		index, from, to := w.take()
		r.add(index, mapped[from:to:to])
	}
	return nil
}

// read makes r the next chunks of w, of most bytes together or one chunk.
func (r *chunkRun) read(w window, file io.ReaderAt, most int) error {
	r.reset()
	chunk := int(w.fetch.Size)
	if room := max(chunk, most/chunk*chunk); cap(r.buf) < room {
		r.buf = make([]byte, room)
	}
	for !w.empty() && r.fits(chunk, most) {
		index, from, to := w.take()
		b := r.buf[r.bytes : r.bytes+int(to-from)]
		// A chunk that is not whole is none: the rest of the buffer is of somebody else's payload.
		if n, err := file.ReadAt(b, from); n < len(b) {
			return fmt.Errorf("read payload %s: %w", w.fetch.Digest, errors.Join(io.ErrUnexpectedEOF, err))
		}
		r.add(index, b[:len(b):len(b)])
	}
	return nil
}
