package bench

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
)

// ErrUnsupported says that this system does not tell what a process takes.
var ErrUnsupported = errors.New("processes can be measured on Linux only")

// Bench is the life of one benchmark: its folder and its processes. Close ends it. Its methods are for one goroutine.
type Bench struct {
	// Dir is a temporary folder that goes with the bench.
	Dir string

	exe    string // of the roles
	procs  []*Proc
	starts chan func()
	close  sync.Once
}

// New makes the folder, and raises the limit of open files for this process and its children as far as it goes. exe is the
// program whose hidden command runs roles.
func New(exe string) (*Bench, error) {
	if !supported {
		return nil, ErrUnsupported
	}
	if err := raiseFileLimit(); err != nil {
		return nil, fmt.Errorf("raise limit of open files: %w", err)
	}
	dir, err := os.MkdirTemp("", "fleetbridge-bench-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	b := &Bench{Dir: dir, exe: exe, starts: make(chan func())}
	go b.spawn()
	return b, nil
}

// spawn starts processes, all from one thread that lives as long as the bench: the kernel takes the death of the thread
// that started a child for the death of its parent.
func (b *Bench) spawn() {
	runtime.LockOSThread()
	for start := range b.starts {
		start()
	}
}

// Close ends the processes, the last one first, and removes the folder. It may be called again.
func (b *Bench) Close() (err error) {
	b.close.Do(func() {
		for i := len(b.procs) - 1; i >= 0; i-- {
			b.procs[i].Stop()
		}
		close(b.starts)
		err = os.RemoveAll(b.Dir)
	})
	return err
}

// FreeAddr is a loopback address that nobody listens on at the moment.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	addr := l.Addr().String()
	return addr, l.Close()
}
