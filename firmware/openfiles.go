package firmware

import (
	"container/list"
	"errors"
	"os"
	"sync"
)

// openFiles shares open files between readers and keeps at most idle of them open that nobody reads, the least recently
// used going first. How many are read at once is the caller's to bound.
type openFiles struct {
	idle int

	mu     sync.Mutex
	byName map[string]*openFile
	unused *list.List // of *openFile with no reader, the most recently used first
	closed bool
}

type openFile struct {
	name    string
	file    *os.File
	readers int
	gone    bool          // forgotten while it was read
	place   *list.Element // in unused, nil while there are readers
}

func newOpenFiles(idle int) openFiles {
	return openFiles{idle: idle, byName: map[string]*openFile{}, unused: list.New()}
}

func (o *openFiles) acquire(name string, open func(string) (*os.File, error)) (*openFile, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, os.ErrClosed
	}
	if f, ok := o.byName[name]; ok {
		f.readers++
		if f.place != nil {
			o.unused.Remove(f.place)
			f.place = nil
		}
		return f, nil
	}
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	f := &openFile{name: name, file: file, readers: 1}
	o.byName[name] = f
	return f, nil
}

func (o *openFiles) release(f *openFile) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f.readers--; f.readers > 0 {
		return nil
	}
	if o.closed || f.gone {
		return f.file.Close()
	}
	f.place = o.unused.PushFront(f)
	if o.unused.Len() <= o.idle {
		return nil
	}
	return o.drop(o.unused.Back())
}

// forget lets go of a file that was removed: its room on the disk is free when its last reader has gone.
func (o *openFiles) forget(name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.byName[name]
	if f == nil {
		return nil
	}
	if f.place != nil {
		return o.drop(f.place)
	}
	delete(o.byName, name)
	f.gone = true
	return nil
}

func (o *openFiles) drop(e *list.Element) error {
	f := o.unused.Remove(e).(*openFile)
	delete(o.byName, f.name)
	return f.file.Close()
}

func (o *openFiles) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	var err error
	for o.unused.Len() > 0 {
		err = errors.Join(err, o.drop(o.unused.Back()))
	}
	return err
}
