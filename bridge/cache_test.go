package bridge

import (
	"slices"
	"testing"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// manifestsOf is a reader of manifests alone; reads counts what was asked for.
type manifestsOf struct {
	campaign.Reader
	reads int
}

func (r *manifestsOf) Manifest(_ ident.Tenant, d ident.Digest) (firmware.Manifest, error) {
	r.reads++
	return firmware.Manifest{Digest: d}, nil
}

// cacheReader asks a cache as a View that is opened now does.
type cacheReader struct {
	t     *testing.T
	cache *manifestCache
	store manifestsOf
}

func (c *cacheReader) open() manifestReader {
	return manifestReader{&c.store, c.cache, c.cache.mark()}
}

// reads says how often the store is read when r asks for a tenant's manifest.
func (c *cacheReader) reads(r manifestReader, tenant, name string) int {
	c.t.Helper()
	before, digest := c.store.reads, ident.SumDigest([]byte(name))
	m, err := r.held(ident.MustTenant(tenant), digest)
	if err != nil || m.Digest != digest {
		c.t.Fatalf("%s of %s: %v, %v", name, tenant, m, err)
	}
	return c.store.reads - before
}

// TestCacheKeepsWhatTheNewestCommitSays goes through the orders in which a View, a change and a read can come.
func TestCacheKeepsWhatTheNewestCommitSays(t *testing.T) {
	const acme, other = "acme", "other"
	tenant := ident.MustTenant(acme)
	for _, c := range []struct {
		name string
		do   func(c *cacheReader) (r manifestReader) // r reads m, and then a View that is opened later does
		want []int                                   // reads of the store by each
	}{
		{"nothing changes", func(c *cacheReader) manifestReader { return c.open() }, []int{1, 0}},
		{"it was kept", func(c *cacheReader) manifestReader { c.reads(c.open(), acme, "m"); return c.open() }, []int{0, 0}},
		{"it was kept before the change", func(c *cacheReader) manifestReader {
			c.reads(c.open(), acme, "m")
			c.cache.change(tenant)()
			return c.open()
		}, []int{1, 0}},
		{"opened before the change", func(c *cacheReader) manifestReader { r := c.open(); c.cache.change(tenant)(); return r }, []int{1, 1}},
		{"opened during the change", func(c *cacheReader) manifestReader {
			done := c.cache.change(tenant)
			r := c.open()
			done()
			return r
		}, []int{1, 1}},
		{"the change does not end", func(c *cacheReader) manifestReader { c.cache.change(tenant); return c.open() }, []int{1, 1}},
		{"one of two changes ends", func(c *cacheReader) manifestReader {
			c.cache.change(tenant)
			c.cache.change(tenant)()
			return c.open()
		}, []int{1, 1}},
		{"another tenant's change is under way", func(c *cacheReader) manifestReader {
			c.cache.change(ident.MustTenant(other))
			return c.open()
		}, []int{1, 0}},
		{"the same manifest of another tenant is kept", func(c *cacheReader) manifestReader { c.reads(c.open(), other, "m"); return c.open() }, []int{1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cr := &cacheReader{t: t, cache: newManifestCache(maxCached)}
			r := c.do(cr)
			if got := []int{cr.reads(r, acme, "m"), cr.reads(cr.open(), acme, "m")}; !slices.Equal(got, c.want) {
				t.Errorf("the store was read %d times, want %d", got, c.want)
			}
		})
	}
}

// TestCacheIsBounded: a full cache gives up what was used longest ago.
func TestCacheIsBounded(t *testing.T) {
	c := &cacheReader{t: t, cache: newManifestCache(2)}
	for _, step := range []struct {
		name  string
		reads int
	}{{"a", 1}, {"b", 1}, {"a", 0}, {"c", 1}, {"a", 0}, {"b", 1}} {
		if got := c.reads(c.open(), "acme", step.name); got != step.reads {
			t.Errorf("%s was read %d times, want %d", step.name, got, step.reads)
		}
		if n := len(c.cache.entries); n > 2 || n != c.cache.recent.Len() {
			t.Errorf("%d manifests are kept, at most 2", n)
		}
	}
}
