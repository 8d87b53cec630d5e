package broker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"time"
)

// recordSize is how much is written at once where a write can't be resumed after its deadline: a TLS record, or a WebSocket
// message. Each must fit one deadline.
const recordSize = 16 << 10

// unlockWrite lets go of the write lock. Whoever holds it writes the acknowledgements that became ready meanwhile: an ack
// writer doesn't wait for the lock.
func (c *conn) unlockWrite() {
	for {
		if c.ackDue.Load() && !c.sendAcks() {
			return // the lock is another's now
		}
		c.wmu.Unlock()
		if !c.ackDue.Load() || !c.wmu.TryLock() {
			return
		}
	}
}

// writePacket writes a control packet.
func (c *conn) writePacket(p []byte) error {
	v := getVec()
	defer v.put()
	v.add(p)
	return c.sendVec(v, len(p), 1)
}

// writeVec writes all of v, for as long as the client takes a byte within each write deadline. The caller holds wmu. After
// an error the connection is closed: a part of a packet may have gone out.
func (c *conn) writeVec(v *vec) error {
	var err error
	switch {
	case c.raw != nil:
		err = c.writeRaw(v)
	case c.plain:
		err = c.writeNet(v)
	default:
		err = c.writeRecords(v)
	}
	if err != nil {
		c.close()
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// writeRaw sets a deadline only when it has to wait: a socket that has room takes all for one system call.
func (c *conn) writeRaw(v *vec) error {
	n, err := v.try(c.raw)
	v.skip(n)
	if err != nil || v.empty() {
		return err
	}
	for err == nil && !v.empty() {
		if err = c.armWrite(time.Now().Add(c.b.o.WriteDeadline)); err == nil {
			n, err = v.wait(c.raw)
			v.skip(n)
		}
	}
	return errors.Join(err, c.armWrite(time.Time{}))
}

// writeNet is writeRaw by package net.
func (c *conn) writeNet(v *vec) error {
	for !v.empty() {
		if err := c.armWrite(time.Now().Add(c.b.o.WriteDeadline)); err != nil {
			return err
		}
		bufs := net.Buffers(v.rest())
		n, err := bufs.WriteTo(c.nc)
		v.from = len(v.bufs) - len(bufs)
		if errors.Is(err, os.ErrDeadlineExceeded) && n > 0 && c.abortAt.Load() == 0 {
			continue // slow, but it reads
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeRecords copies into one pooled buffer, since each write is a record or a message of its own.
func (c *conn) writeRecords(v *vec) error {
	record := getBuffer(recordSize)
	defer record.put()
	for !v.empty() {
		p := v.gather(record.b[:0])
		if err := c.armWrite(time.Now().Add(c.b.o.WriteDeadline)); err != nil {
			return err
		}
		if _, err := c.nc.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// finish writes what a write that didn't wait has left of a packet, and then releases wmu, which its caller has taken.
func (c *conn) finish(rest *buffer) {
	v := getVec()
	defer func() {
		if e := recover(); e != nil {
			c.b.panicked(c, e, debug.Stack())
		}
		c.unlockWrite()
		v.put()
		rest.put()
	}()
	v.add(rest.b)
	_ = c.writeVec(v) // on error the connection is closed
}

// armWrite sets the deadline of the next write; once the connection is to end, abort's is the deadline.
func (c *conn) armWrite(t time.Time) error {
	if err := c.nc.SetWriteDeadline(t); err != nil {
		return err
	}
	if at := c.abortAt.Load(); at != 0 {
		return c.nc.SetWriteDeadline(time.Unix(0, at))
	}
	return nil
}

// abort makes writes end soon, the one under way too, so that whoever closes the connection need not wait for a client
// that doesn't read.
func (c *conn) abort() {
	at := time.Now().Add(abortDeadline)
	if c.abortAt.CompareAndSwap(0, at.UnixNano()) {
		// On error the connection is closed, which is what we are after.
		_ = c.nc.SetWriteDeadline(at)
	}
}
