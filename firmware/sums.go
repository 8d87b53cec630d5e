package firmware

import (
	"crypto/sha256"
	"hash"
	"io"
	"sync"

	"fleetbridge/ident"
)

const (
	// maxSums bounds the running sums in memory; each has about 200 bytes.
	maxSums = 1024
	// catchUpStep is how many bytes that came before a restart one Append reads into the sum, so that none takes long and
	// Commit seldom has any left.
	catchUpStep = 8 << 20
)

// sums keeps the running digests of uploads by the name of their file. One that is not there is read from the file
// again: after a crash what counts is what the disk has, never what was once sent.
type sums struct {
	mu sync.Mutex
	by map[string]*sum
}

// sum is the digest of the first at bytes of an upload. It is used under the upload's lock.
type sum struct {
	hash hash.Hash
	at   int64
}

// of returns the sum of an upload that has end bytes. One that covers more is of bytes that were cut off since.
func (s *sums) of(name string, end int64) *sum {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.by[name]; have != nil && have.at <= end {
		return have
	}
	for other := range s.by {
		if len(s.by) < maxSums {
			break
		}
		delete(s.by, other)
	}
	fresh := &sum{hash: sha256.New()}
	s.by[name] = fresh
	return fresh
}

func (s *sums) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, name)
}

// catchUp reads at most step of the bytes up to end that the sum lacks.
func (s *sum) catchUp(f io.ReaderAt, end, step int64) error {
	n, err := io.Copy(s.hash, io.NewSectionReader(f, s.at, min(end-s.at, step)))
	s.at += n
	return err
}

// add takes the bytes at offset, unless the sum has not got so far.
func (s *sum) add(offset int64, data []byte) {
	if s.at == offset {
		s.hash.Write(data) // never fails
		s.at += int64(len(data))
	}
}

// digest leaves the sum as it is, for a Commit that fails later.
func (s *sum) digest() ident.Digest { return ident.Digest(s.hash.Sum(nil)) }
