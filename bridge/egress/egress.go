// Package egress decides whose bytes go out next. It shares what a server sends over its tenants, and what a tenant gets over
// its devices, so that neither a tenant with many devices nor a device with many connections takes the others' part.
//
// The unit is a slice: a few chunks of one fetch. While nothing limits, a slice is free to go at once. Under a limit slices wait,
// and go in the order of virtual time (start-time fair queueing): tenants and the devices of each have a tag, the bytes they got
// so far; the lowest goes next. Who has nothing waiting for a while collects no credit, and who comes back at once, which is what
// a fetch does after each of its slices, is not owed less for it.
//
// Time is an argument; nothing here waits.
package egress

import (
	"container/list"
	"time"

	"fleetbridge/ident"
)

// MaxSlice bounds a slice in bytes.
const MaxSlice = 256 << 10

const (
	minSlice = 16 << 10
	// perSecond is how many slices at least a rate is divided into.
	perSecond = 20
	// burst is how much of the rate may be caught up with, when less was sent before.
	burst = 20 * time.Millisecond
)

// Limits bound what goes out.
type Limits struct {
	Rate    int64 // bytes per second of the server; 0: no limit
	Slots   int   // slices that are handed to sockets at a time
	Waiting int   // slices that wait
}

// Flow is whose bytes a slice holds.
type Flow struct {
	Tenant ident.Tenant
	Device ident.Device
}

// Turn is a slice that waits. Go is closed when it may go.
type Turn struct {
	Go    chan struct{}
	flow  Flow
	bytes int
	place *list.Element // nil when it does not wait
}

// Scheduler holds what waits. It is not safe for concurrent use.
type Scheduler struct {
	limits  Limits
	used    int       // slots
	next    time.Time // from when on the rate allows a slice
	waiting int
	tenants level[ident.Tenant, tenant]
}

// tenant is a tenant of which something waits, or did a moment ago.
type tenant struct {
	waiting int
	devices level[ident.Device, list.List] // of *Turn
}

// New returns a scheduler with nothing waiting.
func New(l Limits) *Scheduler { return &Scheduler{limits: l} }

// Slice is how many bytes a slice should have at most: fewer where the rate is low, so that each device is served often.
func (s *Scheduler) Slice() int {
	if s.limits.Rate == 0 {
		return MaxSlice
	}
	return int(min(max(s.limits.Rate/perSecond, minSlice), MaxSlice))
}

// Take reports whether a slice of n bytes may go at once. Then it takes a slot, which Done gives back.
func (s *Scheduler) Take(now time.Time, n int) bool {
	if s.waiting > 0 || s.used >= s.limits.Slots || s.until(now) > 0 {
		return false
	}
	s.spend(now, n)
	return true
}

// Queue has a slice of n bytes wait. It is nil when as many wait as may.
func (s *Scheduler) Queue(f Flow, n int) *Turn {
	if s.waiting >= s.limits.Waiting {
		return nil
	}
	t := &Turn{Go: make(chan struct{}), flow: f, bytes: n}
	of := s.tenants.of(f.Tenant)
	d := of.value.devices.of(f.Device)
	t.place = d.value.PushBack(t)
	of.value.waiting++
	s.waiting++
	return t
}

// Leave takes a turn out of the queue. It is false if the turn has gone: then Done is due.
func (s *Scheduler) Leave(t *Turn) bool {
	if t.place == nil {
		return false
	}
	of := s.tenants.of(t.flow.Tenant)
	s.take(t, of, of.value.devices.of(t.flow.Device))
	return true
}

// take takes a turn out of the queue of its device.
func (s *Scheduler) take(t *Turn, of *place[ident.Tenant, tenant], d *place[ident.Device, list.List]) {
	d.value.Remove(t.place)
	t.place = nil
	of.value.waiting--
	s.waiting--
}

// Next lets the next slice go, and takes a slot for it. Where none may go, wait is in how long the rate allows one; 0: not
// before a Done, or a Queue.
func (s *Scheduler) Next(now time.Time) (t *Turn, wait time.Duration) {
	if s.waiting == 0 {
		s.tenants = level[ident.Tenant, tenant]{}
		return nil, 0
	}
	if s.used >= s.limits.Slots {
		return nil, 0
	}
	if wait := s.until(now); wait > 0 {
		return nil, wait
	}
	of := s.tenants.first(func(t *tenant) bool { return t.waiting > 0 })
	d := of.value.devices.first(func(turns *list.List) bool { return turns.Len() > 0 })
	t = d.value.Front().Value.(*Turn)
	s.take(t, of, d)
	of.value.devices.charge(d, t.bytes)
	s.tenants.charge(of, t.bytes)
	s.spend(now, t.bytes)
	close(t.Go)
	return t, 0
}

// Done gives a slot back, and of the slice's bytes what was not sent.
func (s *Scheduler) Done(unsent int) {
	s.used--
	if s.limits.Rate > 0 {
		s.next = s.next.Add(-s.period(unsent))
	}
}

// until is in how long the rate allows a slice.
func (s *Scheduler) until(now time.Time) time.Duration {
	if s.limits.Rate == 0 {
		return 0
	}
	return s.next.Sub(now)
}

func (s *Scheduler) spend(now time.Time, n int) {
	s.used++
	if s.limits.Rate == 0 {
		return
	}
	if earliest := now.Add(-burst); s.next.Before(earliest) {
		s.next = earliest
	}
	s.next = s.next.Add(s.period(n))
}

// period is how long the rate takes for n bytes.
func (s *Scheduler) period(n int) time.Duration {
	return time.Duration(int64(n) * int64(time.Second) / s.limits.Rate)
}
