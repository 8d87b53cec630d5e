package campaign

import (
	"errors"
	"fmt"

	"fleetbridge/ident"
)

// usePage is how many manifests, or campaigns with their lists of devices, a check holds at a time.
const usePage = 64

// CheckUses compares the indexes of what manifests fetch and of what campaigns need with a scan of both, and says how many
// manifests there are.
func CheckUses(r Reader, t ident.Tenant) (n int, found []string, err error) {
	var bad faults
	fetched, n, err := scanFetches(r, t)
	if err != nil {
		return n, nil, err
	}
	needed, err := scanNeeds(r, t)
	if err != nil {
		return n, nil, err
	}
	index, err := r.UseIndex(t)
	if err != nil {
		return n, nil, err
	}
	entries := 0
	for payload, want := range fetched {
		have, err := entriesOf(func(after ident.Digest) ([]ident.Digest, error) { return r.FetchedBy(t, payload, after, checkPage) })
		if err != nil {
			return n, nil, err
		}
		entries += len(have)
		if !sameKeys(have, want) {
			bad.add("payload %s: %d manifests in the index, %d fetch it, or others do", payload, len(have), len(want))
		}
	}
	if index.Fetched != entries {
		bad.add("%d fetches of payloads in the index, %d of those that manifests name", index.Fetched, entries)
	}
	entries = 0
	for manifest, want := range needed {
		have, err := entriesOf(func(after ident.Campaign) ([]ident.Campaign, error) { return r.NeededBy(t, manifest, after, checkPage) })
		if err != nil {
			return n, nil, err
		}
		entries += len(have)
		if !sameKeys(have, want) {
			bad.add("manifest %s: %d campaigns in the index, %d need it, or others do", manifest, len(have), len(want))
		}
		if _, err := r.Manifest(t, manifest); errors.Is(err, ErrNotFound) {
			bad.add("manifest %s: it is gone, and campaigns need it", manifest)
		} else if err != nil {
			return n, nil, fmt.Errorf("read manifest %s: %w", manifest, err)
		}
	}
	if index.Needed != entries {
		bad.add("%d needs of manifests in the index, %d of those that campaigns name", index.Needed, entries)
	}
	return n, bad, nil
}

// scanFetches lists the manifests by what they fetch.
func scanFetches(r Reader, t ident.Tenant) (map[ident.Digest]map[ident.Digest]bool, int, error) {
	out, n := map[ident.Digest]map[ident.Digest]bool{}, 0
	for after := (ident.Digest{}); ; {
		page, err := r.Manifests(t, after, usePage)
		if err != nil {
			return nil, n, fmt.Errorf("list manifests: %w", err)
		}
		for _, m := range page {
			for _, f := range m.Fetches {
				gather(out, f.Digest, m.Digest)
			}
			after = m.Digest
		}
		n += len(page)
		if len(page) < usePage {
			return out, n, nil
		}
	}
}

// scanNeeds lists the campaigns by the manifest that they need.
func scanNeeds(r Reader, t ident.Tenant) (map[ident.Digest]map[ident.Campaign]bool, error) {
	out := map[ident.Digest]map[ident.Campaign]bool{}
	for after := (ident.Campaign{}); ; {
		page, err := r.Campaigns(t, after, usePage)
		if err != nil {
			return nil, fmt.Errorf("list campaigns: %w", err)
		}
		for _, c := range page {
			if c.Phase.NeedsManifest() {
				gather(out, c.Manifest, c.ID)
			}
			after = c.ID
		}
		if len(page) < usePage {
			return out, nil
		}
	}
}

func gather[K, V comparable](in map[K]map[V]bool, k K, v V) {
	if in[k] == nil {
		in[k] = map[V]bool{}
	}
	in[k][v] = true
}

// entriesOf reads an index to its end.
func entriesOf[K comparable](next func(after K) ([]K, error)) (all []K, err error) {
	var after K
	for {
		page, err := next(after)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < checkPage {
			return all, nil
		}
		after = page[len(page)-1]
	}
}

// sameKeys says whether have, each of which is there once, are the keys of want.
func sameKeys[K comparable](have []K, want map[K]bool) bool {
	for _, k := range have {
		if !want[k] {
			return false
		}
	}
	return len(have) == len(want)
}
