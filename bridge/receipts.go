package bridge

import (
	"context"
	"sync"

	"fleetbridge/link"
	"fleetbridge/topics"
)

// Bounds of the receipts that wait for connections which read slowly. What passes them is dropped: receipts are best effort,
// and a device that gets none sends its report again.
const (
	maxReceipts  = 32   // for one connection
	maxReceivers = 1024 // connections that are being sent one
)

// receipts sends receipts: one goroutine for each connection that has some coming, so that a device which does not read
// holds up nobody else. Safe for concurrent use.
type receipts struct {
	mu      sync.Mutex
	by      map[session][]receipt // those that wait behind the one being sent
	ended   bool
	sending sync.WaitGroup
	failed  func(topics.Address, error)
}

// session is one connection of a device, as far as the link tells them apart.
type session struct {
	principal topics.Principal
	client    string
}

type receipt struct {
	addr   topics.Address
	reply  link.Replier
	body   topics.Receipt
	format topics.Format
}

func newReceipts(failed func(topics.Address, error)) *receipts {
	return &receipts{by: map[session][]receipt{}, failed: failed}
}

// put has a receipt sent to where in came from.
func (s *receipts) put(ctx context.Context, a topics.Address, in link.Inbound, body topics.Receipt, f topics.Format) {
	k, r := session{in.Principal, in.Client}, receipt{a, in.Reply, body, f}
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting, busy := s.by[k]
	switch {
	case busy && len(waiting) < maxReceipts:
		s.by[k] = append(waiting, r)
	case !busy && len(s.by) < maxReceivers && !s.ended:
		s.by[k] = nil
		s.sending.Go(func() { s.send(ctx, k, r) })
	}
}

// send sends r, and what comes for its session meanwhile.
func (s *receipts) send(ctx context.Context, k session, r receipt) {
	for more := true; more; r, more = s.following(k) {
		body, err := topics.Encode(r.body, r.format)
		if err == nil {
			err = r.reply.Send(ctx, link.Message{Topic: topics.ReceiptTopic(r.addr.Tenant, r.addr.Device), Payload: body})
		}
		if err != nil {
			s.failed(r.addr, err)
		}
	}
}

// following is the session's next receipt; false ends its goroutine.
func (s *receipts) following(k session) (receipt, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.by[k]
	if len(waiting) == 0 {
		delete(s.by, k)
		return receipt{}, false
	}
	s.by[k] = waiting[1:]
	return waiting[0], true
}

// end returns when nothing is being sent; what is put from now on is dropped.
func (s *receipts) end() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	s.sending.Wait()
}
