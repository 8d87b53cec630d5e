package bridge

import (
	"fmt"
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

// TestFormsAreBounded: of one manifest no more than maxForms envelopes are kept, whatever devices ask for, and each is made
// once while it is.
func TestFormsAreBounded(t *testing.T) {
	c, r, tenant := newManifestCache(maxCached), &manifestsOf{}, ident.MustTenant("acme")
	m, err := c.get(r, tenant, ident.SumDigest([]byte("m")))
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	form := func(name string) {
		t.Helper()
		b, err := c.form(tenant, m, name, func() ([]byte, error) { made++; return []byte(name), nil })
		if err != nil || string(b) != name {
			t.Fatalf("%s: %q, %v", name, b, err)
		}
	}
	held := c.entries[manifestKey{tenant, m.Digest}].Value.(*cachedManifest)
	for range 3 {
		for i := range maxForms {
			form(fmt.Sprint(i))
		}
	}
	if made != maxForms || len(held.forms) != maxForms {
		t.Errorf("%d forms made, %d kept, want %d", made, len(held.forms), maxForms)
	}
	for i := range 10 * maxForms {
		form(fmt.Sprint("more ", i))
		if len(held.forms) > maxForms {
			t.Fatalf("%d forms are kept, at most %d", len(held.forms), maxForms)
		}
	}
}

// TestForgottenManifestIsReadAgain: after forget neither the manifest nor a form of it comes from the cache, also when it was
// being read meanwhile; and the cache holds no more manifests than it may.
func TestForgottenManifestIsReadAgain(t *testing.T) {
	c, r, tenant := newManifestCache(2), &manifestsOf{}, ident.MustTenant("acme")
	get := func(name string) firmware.Manifest {
		t.Helper()
		m, err := c.get(r, tenant, ident.SumDigest([]byte(name)))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := get("a")
	get("a")
	if r.reads != 1 {
		t.Errorf("read %d times, want 1", r.reads)
	}
	old := func() ([]byte, error) { return []byte("old"), nil }
	if _, err := c.form(tenant, m, "f", old); err != nil {
		t.Fatal(err)
	}
	c.forget(tenant, m.Digest)
	c.add(manifestKey{tenant, m.Digest}, m, 0) // by who began to read before
	get("a")
	if r.reads != 2 {
		t.Errorf("read %d times after it was forgotten, want 2", r.reads)
	}
	b, err := c.form(tenant, m, "f", func() ([]byte, error) { return []byte("new"), nil })
	if err != nil || string(b) != "new" {
		t.Errorf("the form is %q, %v", b, err)
	}
	get("b")
	get("c")
	if len(c.entries) != 2 || c.recent.Len() != 2 {
		t.Errorf("%d manifests are kept, at most 2", len(c.entries))
	}
}
