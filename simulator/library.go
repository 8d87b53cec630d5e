package simulator

import (
	"bytes"
	"fmt"
	"sync"

	"fleetbridge/ident"
)

// maxLibrary bounds the bytes that a fleet keeps of images and payloads, all devices together.
const maxLibrary = 256 << 20

// library holds the bytes that devices need as they are: installed images to which deltas apply, deltas and ciphertexts.
// A fleet has one copy of each, which all its devices write and read: whoever has a payload's digest has the same bytes.
// What does not fit is not kept; a device does then as one without the precursor, or without room.
type library struct {
	mu    sync.Mutex
	whole map[ident.Digest][]byte // checked; never written again
	parts map[ident.Digest][]byte // being fetched
	made  map[making]*outcome
	used  int64
}

// making is a try of a manifest: it comes out alike on all devices of a fleet.
type making struct {
	manifest ident.Digest
	try      int
}

type outcome struct {
	once  sync.Once
	image ident.Digest
	err   error
}

func newLibrary(images [][]byte) (*library, error) {
	l := &library{whole: map[ident.Digest][]byte{}, parts: map[ident.Digest][]byte{}, made: map[making]*outcome{}}
	for _, b := range images {
		if !l.add(b) {
			return nil, fmt.Errorf("installed images of more than %d bytes: %w", maxLibrary, ErrConfig)
		}
	}
	return l, nil
}

// add keeps b, which nobody may write any more, if there is room.
func (l *library) add(b []byte) bool {
	d := ident.SumDigest(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.whole[d] == nil && l.reserve(int64(len(b))) {
		l.whole[d] = b
	}
	return l.whole[d] != nil
}

func (l *library) reserve(n int64) bool {
	if n > maxLibrary-l.used {
		return false
	}
	l.used += n
	return true
}

// open makes room for a payload that is about to be fetched.
func (l *library) open(d ident.Digest, size int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.whole[d] == nil && l.parts[d] == nil && l.reserve(size) {
		l.parts[d] = make([]byte, size)
	}
	return l.whole[d] != nil || l.parts[d] != nil
}

// put writes a part of a payload.
func (l *library) put(d ident.Digest, off int64, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.parts[d]; off < int64(len(p)) {
		copy(p[off:], data)
	}
}

// get returns the bytes that d is the digest of.
func (l *library) get(d ident.Digest) ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, ok := l.parts[d]; ok && ident.SumDigest(p) == d {
		l.whole[d] = p
		delete(l.parts, d)
	}
	b, ok := l.whole[d]
	return b, ok
}

// make does a try's work once for the fleet and keeps the image that came out; every device gets the same answer.
func (l *library) make(m making, work func(*bytes.Buffer) error) (ident.Digest, error) {
	l.mu.Lock()
	o := l.made[m]
	if o == nil {
		o = &outcome{}
		l.made[m] = o
	}
	l.mu.Unlock()
	o.once.Do(func() {
		var out bytes.Buffer
		if o.err = work(&out); o.err == nil {
			o.image = ident.SumDigest(out.Bytes())
			l.add(out.Bytes())
		}
	})
	return o.image, o.err
}
