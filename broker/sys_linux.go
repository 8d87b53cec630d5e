package broker

import (
	"io"
	"net"
	"syscall"
	"unsafe"
)

// notSent is how much of what was written may wait in the kernel without having been sent (TCP_NOTSENT_LOWAT): an
// acknowledgement, or the answer to a newer fetch, waits behind no more than that.
const (
	notSent       = 256 << 10
	tcpNotSentLow = 25 // TCP_NOTSENT_LOWAT
)

// rawConn returns the socket of a plain TCP connection, nil for any other.
func rawConn(nc net.Conn) syscall.RawConn {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tc.SyscallConn()
	if err != nil {
		return nil
	}
	// A kernel without the option sends as well, only with more between the client and what is newest.
	_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLow, notSent) })
	return raw
}

// sysvec is the state of a writev(2) through a RawConn. Its function is made once, since RawConn.Write would have a new one
// allocated for each call.
type sysvec struct {
	iov  []syscall.Iovec
	call func(fd uintptr) bool
	wait bool // until the socket takes a byte
	n    int
	err  error
}

// try writes what the socket takes without waiting, 0 bytes if it is full.
func (v *vec) try(raw syscall.RawConn) (int, error) { return v.write(raw, false) }

// wait writes what the socket takes, at least one byte, before the write deadline of its connection.
func (v *vec) wait(raw syscall.RawConn) (int, error) { return v.write(raw, true) }

func (v *vec) write(raw syscall.RawConn, wait bool) (int, error) {
	s := &v.sys
	if s.call == nil {
		s.call = s.writev
	}
	s.iov = s.iov[:0]
	for _, b := range v.rest() {
		if len(b) == 0 {
			continue
		}
		if len(s.iov) == maxVec {
			break
		}
		e := syscall.Iovec{Base: unsafe.SliceData(b)}
		e.SetLen(len(b))
		s.iov = append(s.iov, e)
	}
	if len(s.iov) == 0 {
		return 0, nil
	}
	s.wait, s.n, s.err = wait, 0, nil
	err := raw.Write(s.call)
	clear(s.iov) // a vec in the pool keeps no payload alive
	if err == nil {
		err = s.err
	}
	return s.n, err
}

// writev is called by RawConn.Write, again after each false once the socket is writable.
func (s *sysvec) writev(fd uintptr) bool {
	for {
		// The kernel reads the buffers; a fault in a mapped one is EFAULT, not a signal.
		n, _, errno := syscall.Syscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(unsafe.SliceData(s.iov))), uintptr(len(s.iov)))
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			return !s.wait
		case errno != 0:
			s.err = errno
		case n == 0:
			s.err = io.ErrUnexpectedEOF
		default:
			s.n = int(n)
		}
		return true
	}
}

// rawReader is the state of a read(2) through a RawConn, whose function is made once as sysvec's.
type rawReader struct {
	call func(fd uintptr) bool
	n    int
	err  error
}

// readRaw waits until the socket is readable, without a buffer if nothing of a packet is there yet, and reads once.
func (r *reader) readRaw(raw syscall.RawConn) (int, error) {
	if r.raw.call == nil {
		r.raw.call = r.readSocket
	}
	r.raw.n, r.raw.err = 0, nil
	if err := raw.Read(r.raw.call); err != nil {
		return 0, err
	}
	return r.raw.n, r.raw.err
}

// readSocket is called by RawConn.Read, again after each false once the socket is readable.
func (r *reader) readSocket(fd uintptr) bool {
	p := r.hold(readSize)
	for {
		n, err := syscall.Read(int(fd), p)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			if r.to == 0 {
				r.release()
			}
			return false
		case err != nil:
			r.raw.err = err
		case n == 0:
			r.raw.err = io.EOF
		default:
			r.raw.n = n
		}
		return true
	}
}
