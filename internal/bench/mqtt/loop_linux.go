package mqtt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Loop is tens of thousands of connections that one goroutine serves, by epoll, with one read buffer for all: the cheaper a load,
// the less it takes from the server that is measured. An idle connection costs a few hundred bytes. Do and Live may be called
// from any goroutine, Dial and the methods of a Conn on that of the loop alone: in Handle, or in a function given to Do.
type Loop struct {
	keepAlive int
	port      int
	epoll     int
	wake      [2]int // a pipe: a byte in it means that there is something in todo

	mu    sync.Mutex
	todo  []func()
	ended bool

	live  atomic.Int64
	conns []*Conn // by descriptor
	dials int
	in    []byte
	spare [][]byte // buffers that no connection needs now
	dirty []*Conn  // with something to write
	swept int64    // the second that keep-alive was done for
}

// NewLoop returns a loop that connects to port of 127.0.0.1; keepAlive is in whole seconds, 0 turns it off.
func NewLoop(port int, keepAlive time.Duration) (*Loop, error) {
	l := &Loop{port: port, keepAlive: int(keepAlive / time.Second), in: make([]byte, 2*maxPacket)}
	var err error
	if l.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	if err = syscall.Pipe2(l.wake[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err == nil {
		err = l.watch(syscall.EPOLL_CTL_ADD, l.wake[0], false)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make pipe: %w", err), syscall.Close(l.epoll))
	}
	return l, nil
}

// Live is how many connections are open, those under way included.
func (l *Loop) Live() int { return int(l.live.Load()) }

// Do runs fn on the goroutine of the loop, soon; never once Run has returned.
func (l *Loop) Do(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended { // the descriptor may be somebody else's by now
		return
	}
	l.todo = append(l.todo, fn)
	if len(l.todo) == 1 {
		// A full pipe wakes the loop as well.
		_, _ = syscall.Write(l.wake[1], []byte{0})
	}
}

// Dial starts a connection that owner gets the events of. It does not wait.
func (l *Loop) Dial(o Login, owner Handler) *Conn {
	c := &Conn{loop: l, owner: owner, fd: -1, dialing: true}
	if err := l.open(c); err != nil {
		l.Do(func() { owner.Handle(c, Event{Kind: Closed, Err: fmt.Errorf("connect: %w", err)}) })
		return c
	}
	c.queue(AppendConnect(c.pending(), o.Client, o.User, o.Password, uint16(l.keepAlive)))
	return c
}

// bindNoPort is IP_BIND_ADDRESS_NO_PORT: the port is chosen by connect, so that it may serve several destinations.
const bindNoPort = 24

// sources is how many loopback addresses connections come from: each has 28,000 ports, and a closed connection keeps its
// port for a minute.
const sources = 8

func (l *Loop) open(c *Conn) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	l.dials++
	if err := l.connect(fd, byte(2+l.dials%sources)); err != nil {
		return errors.Join(err, syscall.Close(fd))
	}
	for fd >= len(l.conns) {
		l.conns = append(l.conns, nil)
	}
	l.conns[fd], c.fd = c, fd
	l.live.Add(1)
	c.blocked = true
	return nil
}

func (l *Loop) connect(fd int, source byte) error {
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return err
	}
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, bindNoPort, 1); err != nil {
		return err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, source}}); err != nil {
		return err
	}
	err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: l.port, Addr: [4]byte{127, 0, 0, 1}})
	if err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		return err
	}
	return l.watch(syscall.EPOLL_CTL_ADD, fd, true)
}

func (l *Loop) watch(op, fd int, room bool) error {
	e := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	if room {
		e.Events |= syscall.EPOLLOUT
	}
	if err := syscall.EpollCtl(l.epoll, op, fd, &e); err != nil {
		return fmt.Errorf("watch connection: %w", err)
	}
	return nil
}

// Run serves the connections until ctx ends, and then closes them without a word. It returns nil, or what epoll said.
func (l *Loop) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { l.Do(func() {}) })
	defer stop()
	defer l.close()
	events := make([]syscall.EpollEvent, 512)
	for ctx.Err() == nil {
		n, err := syscall.EpollWait(l.epoll, events, l.wait())
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("wait for connections: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == l.wake[0] {
				l.chores()
			} else if c := l.conns[e.Fd]; c != nil {
				c.ready(e.Events)
			}
			l.flush()
		}
		l.keepAlives(time.Now().Unix())
		l.flush()
	}
	return nil
}

// wait is how long epoll may wait, in milliseconds; -1: without end.
func (l *Loop) wait() int {
	if l.keepAlive == 0 {
		return -1
	}
	return 1000
}

// chores runs what Do has left.
func (l *Loop) chores() {
	var b [16]byte
	// The pipe is empty or will be the next time.
	_, _ = syscall.Read(l.wake[0], b[:])
	l.mu.Lock()
	todo := l.todo
	l.todo = nil
	l.mu.Unlock()
	for _, fn := range todo {
		fn()
	}
}

func (l *Loop) flush() {
	for i := 0; i < len(l.dirty); i++ { // a flush that fails may let its owner write elsewhere
		l.dirty[i].flush()
	}
	l.dirty = l.dirty[:0]
}

// keepAlives pings the connections whose turn is in the seconds up to now: each once in its keep-alive, spread evenly.
func (l *Loop) keepAlives(now int64) {
	if l.keepAlive == 0 || now == l.swept {
		return
	}
	if l.swept == 0 {
		l.swept = now - 1
	}
	for s := max(l.swept+1, now-int64(l.keepAlive)+1); s <= now; s++ {
		for fd := int(s % int64(l.keepAlive)); fd < len(l.conns); fd += l.keepAlive {
			if c := l.conns[fd]; c != nil && !c.dialing {
				c.ping()
			}
		}
	}
	l.swept = now
}

func (l *Loop) close() {
	for _, c := range l.conns {
		if c != nil {
			c.Close()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for _, fd := range []int{l.epoll, l.wake[0], l.wake[1]} {
		_ = syscall.Close(fd) // nothing is lost with it
	}
}

const (
	smallBuffer = 512
	maxSpare    = 1024
)

func (l *Loop) borrow() []byte {
	if n := len(l.spare); n > 0 {
		b := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return b
	}
	return make([]byte, 0, smallBuffer)
}

func (l *Loop) giveBack(b *[]byte) {
	if *b != nil && len(l.spare) < maxSpare {
		l.spare = append(l.spare, (*b)[:0])
	}
	*b = nil
}
