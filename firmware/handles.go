package firmware

import (
	"container/list"
	"errors"
	"os"
	"sync"

	"fleetbridge/ident"
)

// handles keeps at most a number of payloads open, whether they are used or not. One more lets go of one that was not used
// since it was last looked at (the second chance); whoever uses that one goes on with it to its Release.
type handles struct {
	most int

	mu     sync.Mutex
	by     map[payloadKey]*list.Element
	ring   *list.List // of kept, in the order in which they are looked at
	closed bool
}

type payloadKey struct {
	tenant ident.Tenant
	digest ident.Digest
}

type kept struct {
	key    payloadKey
	handle *Handle
}

func newHandles(most int) handles {
	return handles{most: most, by: map[payloadKey]*list.Element{}, ring: list.New()}
}

func (s *handles) get(k payloadKey, open func(string) (*os.File, error)) (*Handle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, os.ErrClosed
	}
	if e, ok := s.by[k]; ok {
		h := e.Value.(kept).handle
		h.users.Add(1) // not the first: the catalogue's own is there
		h.touch()
		return h, nil
	}
	h, err := openHandle(payloadFile(k.tenant, k.digest), open)
	if err != nil {
		return nil, err
	}
	h.users.Add(1)
	if s.ring.Len() >= s.most {
		err = s.drop(s.unused())
	}
	s.by[k] = s.ring.PushBack(kept{k, h})
	if err != nil {
		return nil, errors.Join(err, h.Release())
	}
	return h, nil
}

// unused finds the one to let go; each is passed over once at most.
func (s *handles) unused() *list.Element {
	for range s.ring.Len() {
		e := s.ring.Front()
		if !e.Value.(kept).handle.used.Swap(false) {
			return e
		}
		s.ring.MoveToBack(e)
	}
	return s.ring.Front()
}

// forget lets go of a payload that was removed: its room on the disk is free when its last user has gone.
func (s *handles) forget(k payloadKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.by[k]; ok {
		return s.drop(e)
	}
	return nil
}

func (s *handles) drop(e *list.Element) error {
	k := s.ring.Remove(e).(kept)
	delete(s.by, k.key)
	k.handle.gone.Store(true)
	return k.handle.Release()
}

func (s *handles) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var err error
	for s.ring.Len() > 0 {
		err = errors.Join(err, s.drop(s.ring.Front()))
	}
	return err
}
