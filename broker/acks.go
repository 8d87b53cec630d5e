package broker

import (
	"errors"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/mochi-mqtt/server/v2/packets"

	"fleetbridge/link"
)

// ack is the link.Ack of one message. The first answer counts. It is not pooled: a second answer must find it, and not
// another message.
type ack struct {
	c     *conn
	next  *ack // in order of arrival, if it is due a PUBACK
	err   error
	ran   bool // the handler has returned, and did not panic
	said  atomic.Bool
	state atomic.Uint32
	id    uint16
	qos   byte
	code  link.Code
}

// The states of an ack. The connection's goroutine moves it from handling to returned; whoever answers it, to answered.
const (
	handling = iota // the handler is being called
	returned        // it has returned, and the message is still in hand
	answered
)

// Done implements link.Ack. It neither waits nor writes: the PUBACK goes out by the connection's own goroutine if that is
// calling the handler, else by an ack writer.
func (a *ack) Done(code link.Code) {
	if a.said.CompareAndSwap(false, true) {
		a.code = code
		a.c.b.stats.handled.Add(1)
		a.settle()
	}
}

var (
	errRefused  = errors.New("message refused")
	errPanicked = errors.New("handler panicked")
)

// Refuse implements link.Ack: the connection ends, and neither this message nor a later one is acknowledged.
func (a *ack) Refuse(err error) {
	if !a.said.CompareAndSwap(false, true) {
		return
	}
	if err == nil {
		err = errRefused
	}
	a.err = err
	c := a.c
	c.refused.Store(true)
	c.b.stats.refused.Add(1)
	c.b.refusal("message refused", "principal", c.principal.String(), "err", err)
	a.settle()
	go c.apartDisconnect(packets.ErrServerBusy) // it may wait for the client; who refuses does not
}

func (a *ack) settle() {
	during := a.state.Swap(answered) == handling
	switch {
	case a.qos == 0:
		a.c.mu.Lock()
		a.c.inHand--
		a.c.wake()
		a.c.mu.Unlock()
	case !during:
		a.c.ackLater()
	}
}

// ackLater has an ack writer write the PUBACKs that are ready, unless somebody is going to.
func (c *conn) ackLater() {
	if !c.ackDue.Swap(true) {
		c.b.writers.push(c)
	}
}

// collectAcks appends the n PUBACKs that are ready to dst, in the order of the PUBLISHes [MQTT-4.6.0-2]: an answer waits for
// those before it. The caller holds wmu.
func (c *conn) collectAcks(dst []byte) (acks []byte, n int) {
	c.ackDue.Store(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.inHand
	for a := c.acks; a != nil && a.state.Load() == answered; a = c.acks {
		if c.acks = a.next; c.acks == nil {
			c.lastAck = nil
		}
		c.inHand--
		if a.err != nil {
			c.muted = true
		}
		if !c.muted {
			dst = appendPuback(dst, a.id, a.code, c.v5)
			n++
		}
	}
	if c.inHand < before {
		c.wake()
	}
	return dst, n
}

// ackBatch is the bytes of a PUBACK for each message that may be in hand.
const ackBatch = maxInHand * 5

// sendAcks writes the PUBACKs that are ready, without waiting where the connection lets it. false means that the write lock
// has gone to a goroutine that writes what is left. The caller holds wmu, and lets go of it after a panic, too: the connection's
// end, and so its client's next connection, waits for it.
func (c *conn) sendAcks() (ours bool) {
	defer func() {
		if e := recover(); e != nil {
			c.b.panicked(c, e, debug.Stack())
			ours = true
		}
	}()
	buf := getBuffer(ackBatch)
	var k int
	buf.b, k = c.collectAcks(buf.b)
	if len(buf.b) == 0 || c.gone() {
		buf.put()
		return true
	}
	v := getVec()
	defer v.put()
	v.add(buf.b)
	c.b.stats.sent(k, len(buf.b))
	if c.raw == nil {
		_ = c.writeVec(v) // on error the connection is closed
		buf.put()
		return true
	}
	n, err := v.try(c.raw)
	if err != nil {
		c.close()
		buf.put()
		return true
	}
	if n == len(buf.b) {
		buf.put()
		return true
	}
	buf.b = buf.b[:copy(buf.b, buf.b[n:])]
	go c.finish(buf)
	return false
}

// ackSoon has the PUBACK of a message written that was answered while the connection's goroutine handed it over: by that before it
// reads again, or by an ack writer if another packet is there, whose handling may take its time.
func (c *conn) ackSoon() {
	if c.in.more() {
		c.ackLater()
	} else {
		c.ownAcks = true
	}
}

// flushOwn writes the PUBACKs that ackSoon left.
func (c *conn) flushOwn() {
	if !c.ownAcks {
		return
	}
	c.ownAcks = false
	c.ackDue.Store(true)
	c.wmu.Lock()
	c.unlockWrite()
}

// writers write PUBACKs for those who call Done: a few goroutines, started when there is something to write and gone when there
// isn't. None waits for a client.
type writers struct {
	mu      sync.Mutex
	due     []*conn
	first   int // in due
	running int
}

// maxWriters is about one for each core: what they do is system calls.
var maxWriters = min(runtime.NumCPU(), runtime.GOMAXPROCS(0))

// push has c's PUBACKs written.
func (w *writers) push(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due = append(w.due, c)
	if w.running < maxWriters {
		w.running++
		go w.run()
	}
}

// keptDue is for how many connections the memory of a burst is kept.
const keptDue = 4096

// take returns the connection that waits longest, nil if none does: then the caller is no writer any more.
func (w *writers) take() *conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == len(w.due) {
		if w.due, w.first = w.due[:0], 0; cap(w.due) > keptDue {
			w.due = nil
		}
		w.running--
		return nil
	}
	c := w.due[w.first]
	w.due[w.first] = nil
	w.first++
	return c
}

func (w *writers) run() {
	for c := w.take(); c != nil; c = w.take() {
		c.tryAcks()
	}
}

// tryAcks writes c's PUBACKs. If somebody is writing, he does it next (unlockWrite).
func (c *conn) tryAcks() {
	defer c.b.recovered(c)
	switch {
	case c.raw == nil:
		go c.waitAcks() // a TLS record or a WebSocket message may have to wait for the client
	case c.wmu.TryLock():
		c.unlockWrite()
	}
}

func (c *conn) waitAcks() {
	defer c.b.recovered(c)
	c.wmu.Lock()
	c.unlockWrite()
}
