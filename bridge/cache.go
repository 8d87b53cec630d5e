package bridge

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
)

// maxCached bounds a cache of manifests. An envelope has at most 64 KiB, and there is a form of it for each algorithm, so that
// a full cache of the largest holds some 16 MiB for each algorithm in use.
const maxCached = 256

// manifestCache keeps what delivery needs of the manifests used last, once for however many devices. What it holds is what the
// newest commit says: whoever changes a manifest or a trust anchor calls change around the commit. Safe for concurrent use.
type manifestCache struct {
	mu       sync.Mutex
	max      int
	entries  map[manifestKey]*list.Element
	recent   *list.List           // of *heldManifest, the latest used first
	changing map[ident.Tenant]int // the changes under way
	changes  uint64               // how many began or ended, so far
}

type manifestKey struct {
	tenant ident.Tenant
	digest ident.Digest
}

// heldManifest is a manifest and what hangs on the trust anchors of its tenant. It never changes.
type heldManifest struct {
	key manifestKey
	firmware.Manifest
	anchors []firmware.Anchor // that stand behind it, at whatever time
	// untrusted says that none does: its campaigns are being stopped.
	untrusted bool
	forms     []form // one for each algorithm of anchors
}

// form is an envelope with the signatures of one algorithm.
type form struct {
	alg      cose.Alg
	envelope []byte
	err      error // why there is none
}

func newManifestCache(max int) *manifestCache {
	return &manifestCache{max: max, entries: map[manifestKey]*list.Element{}, recent: list.New(), changing: map[ident.Tenant]int{}}
}

// manifestReader is a Reader of a View that takes manifests from a cache.
type manifestReader struct {
	campaign.Reader
	cache *manifestCache
	mark  uint64 // the cache's changes before the View was opened
}

// view is a View of store whose reader takes manifests from c.
func (c *manifestCache) view(ctx context.Context, store campaign.Store, fn func(manifestReader) error) error {
	// Before the View, because what it reads may be as old as its opening.
	mark := c.mark()
	return store.View(ctx, func(r campaign.Reader) error { return fn(manifestReader{r, c, mark}) })
}

func (c *manifestCache) mark() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes
}

// held returns a tenant's manifest, from the cache or from the store.
func (r manifestReader) held(t ident.Tenant, d ident.Digest) (*heldManifest, error) {
	key := manifestKey{t, d}
	if m := r.cache.find(key); m != nil {
		return m, nil
	}
	m, err := hold(r.Reader, key)
	if err == nil {
		r.cache.keep(m, r.mark)
	}
	return m, err
}

// hold reads what a heldManifest is made of.
func hold(r campaign.Reader, key manifestKey) (*heldManifest, error) {
	m := &heldManifest{key: key}
	var err error
	if m.Manifest, err = r.Manifest(key.tenant, key.digest); err != nil {
		return nil, err
	}
	m.anchors, err = campaign.Standing(r, key.tenant, m.Manifest, time.Time{})
	if m.untrusted = errors.Is(err, firmware.ErrUntrusted); err != nil && !m.untrusted {
		return nil, fmt.Errorf("read anchors: %w", err)
	}
	for _, a := range m.anchors {
		if slices.ContainsFunc(m.forms, func(f form) bool { return f.alg == a.Alg }) {
			continue
		}
		f := form{alg: a.Alg}
		if f.envelope, f.err = firmware.ForDevice(m.Envelope, a.Alg, m.anchors); bytes.Equal(f.envelope, m.Envelope) {
			f.envelope = m.Envelope
		}
		m.forms = append(m.forms, f)
	}
	return m, nil
}

// find returns what is kept under key, nil if nothing is.
func (c *manifestCache) find(key manifestKey) *heldManifest {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok {
		return nil
	}
	c.recent.MoveToFront(e)
	return e.Value.(*heldManifest)
}

// keep keeps m, which was read in a View that was opened at mark, unless something has changed since.
func (c *manifestCache) keep(m *heldManifest, mark uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[m.key]; ok || c.changes != mark || c.changing[m.key.tenant] > 0 {
		return
	}
	c.entries[m.key] = c.recent.PushFront(m)
	if c.recent.Len() > c.max {
		c.drop(c.recent.Back())
	}
}

// change forgets what is kept of a tenant, whose manifests or anchors are about to change, and keeps nothing of it until done,
// which is called after the commit, whatever became of it.
func (c *manifestCache) change(t ident.Tenant) (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes++
	c.changing[t]++
	for key, e := range c.entries {
		if key.tenant == t {
			c.drop(e)
		}
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changes++
		if c.changing[t]--; c.changing[t] == 0 {
			delete(c.changing, t)
		}
	}
}

func (c *manifestCache) drop(e *list.Element) {
	delete(c.entries, e.Value.(*heldManifest).key)
	c.recent.Remove(e)
}
