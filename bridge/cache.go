package bridge

import (
	"container/list"
	"sync"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// maxCached bounds a cache of manifests; an envelope has at most 64 KiB, so a full one holds 16 MiB.
const maxCached = 256

// manifestCache keeps the manifests used last, and their envelopes as device classes get them. What a manifest says never
// changes under its digest; where its envelope does, or it goes, forget is called after the commit. Safe for concurrent
// use.
type manifestCache struct {
	mu      sync.Mutex
	max     int
	entries map[manifestKey]*list.Element
	recent  *list.List // of *cachedManifest, the latest used first
	forgets uint64     // how often something was forgotten: what was read before is not kept after
}

// maxForms bounds the envelopes kept of one manifest: one for each algorithm, and as many again while keys are changed.
const maxForms = 8

type manifestKey struct {
	tenant ident.Tenant
	digest ident.Digest
}

type cachedManifest struct {
	key      manifestKey
	manifest firmware.Manifest
	forms    map[string][]byte // envelopes by what they were stripped to
}

func newManifestCache(max int) *manifestCache {
	return &manifestCache{max: max, entries: map[manifestKey]*list.Element{}, recent: list.New()}
}

// get returns a tenant's manifest, from the cache or from r.
func (c *manifestCache) get(r campaign.Reader, t ident.Tenant, d ident.Digest) (firmware.Manifest, error) {
	key := manifestKey{t, d}
	c.mu.Lock()
	if e, ok := c.entries[key]; ok {
		c.recent.MoveToFront(e)
		m := e.Value.(*cachedManifest).manifest
		c.mu.Unlock()
		return m, nil
	}
	forgets := c.forgets
	c.mu.Unlock()
	m, err := r.Manifest(t, d)
	if err != nil {
		return firmware.Manifest{}, err
	}
	c.add(key, m, forgets)
	return m, nil
}

// forget drops a manifest whose record has changed or gone, and whatever is being read now.
func (c *manifestCache) forget(t ident.Tenant, d ident.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgets++
	if e, ok := c.entries[manifestKey{t, d}]; ok {
		c.recent.Remove(e)
		delete(c.entries, manifestKey{t, d})
	}
}

// form is an envelope of m that make makes, once.
func (c *manifestCache) form(t ident.Tenant, m firmware.Manifest, name string, make func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	e, ok := c.entries[manifestKey{t, m.Digest}]
	if ok {
		if b, ok := e.Value.(*cachedManifest).forms[name]; ok {
			c.mu.Unlock()
			return b, nil
		}
	}
	c.mu.Unlock()
	b, err := make()
	if err != nil || !ok {
		return b, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	held := e.Value.(*cachedManifest) // if it was forgotten meanwhile, nobody finds it any more
	if held.forms == nil || len(held.forms) >= maxForms {
		held.forms = map[string][]byte{}
	}
	held.forms[name] = b
	return b, nil
}

func (c *manifestCache) add(key manifestKey, m firmware.Manifest, forgets uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[key]; ok || c.forgets != forgets {
		return
	}
	c.entries[key] = c.recent.PushFront(&cachedManifest{key: key, manifest: m})
	if c.recent.Len() > c.max {
		last := c.recent.Back()
		c.recent.Remove(last)
		delete(c.entries, last.Value.(*cachedManifest).key)
	}
}
