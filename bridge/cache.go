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

// manifestCache keeps the manifests used last. A manifest never changes under its digest, so no entry is ever stale.
// Safe for concurrent use.
type manifestCache struct {
	mu      sync.Mutex
	max     int
	entries map[manifestKey]*list.Element
	recent  *list.List // of cachedManifest, the latest used first
}

type manifestKey struct {
	tenant ident.Tenant
	digest ident.Digest
}

type cachedManifest struct {
	key      manifestKey
	manifest firmware.Manifest
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
		m := e.Value.(cachedManifest).manifest
		c.mu.Unlock()
		return m, nil
	}
	c.mu.Unlock()
	m, err := r.Manifest(t, d)
	if err != nil {
		return firmware.Manifest{}, err
	}
	c.add(key, m)
	return m, nil
}

func (c *manifestCache) add(key manifestKey, m firmware.Manifest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.entries[key]; ok {
		return
	}
	c.entries[key] = c.recent.PushFront(cachedManifest{key, m})
	if c.recent.Len() > c.max {
		last := c.recent.Back()
		c.recent.Remove(last)
		delete(c.entries, last.Value.(cachedManifest).key)
	}
}
