package bridge_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"sync/atomic"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// slowView is a store of which one View, once it is armed, waits after it was opened.
type slowView struct {
	campaign.Store
	armed  atomic.Bool
	opened chan struct{}
	goOn   chan struct{}
}

type slowReader struct {
	campaign.Reader
	s *slowView
}

func (s *slowView) View(ctx context.Context, fn func(campaign.Reader) error) error {
	return s.Store.View(ctx, func(r campaign.Reader) error { return fn(slowReader{r, s}) })
}

func (r slowReader) Work(t ident.Tenant, d ident.Device) (campaign.Work, error) {
	if r.s.armed.CompareAndSwap(true, false) {
		close(r.s.opened)
		<-r.s.goOn
	}
	return r.Reader.Work(t, d)
}

// TestViewFromBeforeASignatureIsNotKept: a subscriber's View that was opened before a manifest gained a signature, and that
// reads it afterwards, must not leave the old envelope for those who come later.
func TestViewFromBeforeASignatureIsNotKept(t *testing.T) {
	s := &slowView{opened: make(chan struct{}), goOn: make(chan struct{})}
	f := start(t, func(inner campaign.Store) campaign.Store { s.Store = inner; return s })
	f.anchors()
	m := f.pushed("one image", "a", "author")
	f.fleet(1)
	f.launch("c1", m.Digest, topics.Policy{})
	f.offered("dev-000", 0)
	topic := topics.ManifestTopic(acme, device("dev-000"))
	more := must(firmware.Sign(f.topic(topic), f.key, cose.ES256, keyID("second"), rand.Reader))

	s.armed.Store(true)
	early := make(chan []byte)
	go func() {
		var got []byte
		err := f.directory.Retained(context.Background(), operator, topic, func(_ string, b []byte) bool { got = b; return true })
		if err != nil {
			t.Error(err)
		}
		early <- got
	}()
	<-s.opened
	f.ok("manifest", "create", topics.ManifestCreate{Envelope: more}, nil)
	close(s.goOn)
	if got := <-early; len(got) == 0 {
		t.Error("the early subscriber got nothing")
	}
	if got := f.topic(topic); !bytes.Equal(got, more) {
		t.Errorf("who comes later gets %d bytes, want the envelope with both signatures, %d bytes", len(got), len(more))
	}
}
