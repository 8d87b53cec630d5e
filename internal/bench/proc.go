package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Command is a process to start.
type Command struct {
	// Name is what results and errors call it.
	Name string
	Path string
	Args []string
	Env  []string // nil: the bench's own
}

// Proc is a process of the bench, with all that it starts itself.
type Proc struct {
	Name string

	cmd   *exec.Cmd
	said  tail
	ended chan struct{} // closed at its end; then err says how it ended
	err   error

	in      io.WriteCloser // of a role
	replies chan []byte
}

// stopWithin is how long a process may take to end before it is killed. Tests are in a hurry.
var stopWithin = 10 * time.Second

// Start starts a process that ends with the bench.
func (b *Bench) Start(c Command) (*Proc, error) {
	p := &Proc{Name: c.Name, ended: make(chan struct{}), cmd: exec.Command(c.Path, c.Args...)}
	p.cmd.Env = c.Env
	return p, b.start(p)
}

func (b *Bench) start(p *Proc) error {
	p.cmd.Dir = b.Dir
	p.cmd.Stderr = &p.said
	if p.cmd.Stdout == nil && p.replies == nil {
		p.cmd.Stdout = &p.said
	}
	p.cmd.SysProcAttr = childAttr()
	started := make(chan error, 1)
	b.starts <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	b.procs = append(b.procs, p)
	if p.replies == nil {
		go p.wait()
	}
	return nil
}

func (p *Proc) wait() {
	p.err = p.cmd.Wait()
	close(p.ended)
}

// Ended is closed when the process has ended.
func (p *Proc) Ended() <-chan struct{} { return p.ended }

// failure is the error of a process that ended before it should. Only after Ended.
func (p *Proc) failure() error {
	return fmt.Errorf("%s ended: %w: %s", p.Name, errors.Join(p.err, errEnded), strings.TrimSpace(p.said.String()))
}

var errEnded = errors.New("no more to be measured")

// Listening waits until the process takes connections at addr.
func (p *Proc) Listening(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		select { // what it waits for is another process, which has nothing to wake us with
		case <-p.ended:
			return p.failure()
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s: %w", p.Name, addr, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Signal sends a signal to the process itself.
func (p *Proc) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop ends the process and all that it started: it is asked to, then killed. It may be called again.
func (p *Proc) Stop() {
	if p.in != nil {
		_ = p.in.Close() // a role ends by that; the second time it is closed already
	} else {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}
	select {
	case <-p.ended:
	case <-time.After(stopWithin):
	}
	killGroup(p.cmd.Process.Pid)
	<-p.ended
}

// tail keeps the end of what a process writes, for the error that it may become.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailBytes = 4 << 10

// Write keeps the last bytes of b.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if n := len(t.b) - tailBytes; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(b), nil
}

// String is what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
