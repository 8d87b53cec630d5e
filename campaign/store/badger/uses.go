package badger

import (
	"errors"
	"fmt"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// fetchedKeys are m's entries in the index of manifests by what they fetch.
func fetchedKeys(t ident.Tenant, m firmware.Manifest) (keys []key) {
	for _, f := range m.Fetches {
		keys = append(keys, keyOf(t, kindFetched).bytes(f.Digest[:]).bytes(m.Digest[:]))
	}
	return keys
}

// neededKey is c's entry in the index of campaigns by the manifest that they need, nil if it is not in it.
func neededKey(t ident.Tenant, c campaign.Campaign) key {
	if c.Manifest.IsZero() || !c.Phase.NeedsManifest() {
		return nil
	}
	return keyOf(t, kindNeeded).bytes(c.Manifest[:]).last(c.ID.String())
}

func (r *reader) FetchedBy(t ident.Tenant, payload, after ident.Digest, limit int) ([]ident.Digest, error) {
	names, err := r.rest(keyOf(t, kindFetched).bytes(payload[:]), string(digestBytes(after)), limit)
	if err != nil {
		return nil, fmt.Errorf("read index of fetched payloads: %w", err)
	}
	var list []ident.Digest
	for _, name := range names {
		if len(name) != len(ident.Digest{}) {
			return nil, fmt.Errorf("read index of fetched payloads: %w", errRecord)
		}
		list = append(list, ident.Digest([]byte(name)))
	}
	return list, nil
}

func (r *reader) NeededBy(t ident.Tenant, manifest ident.Digest, after ident.Campaign, limit int) ([]ident.Campaign, error) {
	names, err := r.rest(keyOf(t, kindNeeded).bytes(manifest[:]), after.String(), limit)
	if err != nil {
		return nil, fmt.Errorf("read index of needed manifests: %w", err)
	}
	var list []ident.Campaign
	for _, name := range names {
		c, err := ident.ParseCampaign(name)
		if err != nil {
			return nil, fmt.Errorf("read index of needed manifests: %w: %w", errRecord, err)
		}
		list = append(list, c)
	}
	return list, nil
}

func (r *reader) UseIndex(t ident.Tenant) (x campaign.UseIndex, err error) {
	count := func(kind byte) (n int, err error) {
		prefix := keyOf(t, kind)
		if err := r.usable(); err != nil {
			return 0, err
		}
		err = r.src.scan(prefix, prefix, true, func(_, _ []byte) (bool, error) { n++; return true, nil })
		return n, err
	}
	if x.Fetched, err = count(kindFetched); err != nil {
		return x, fmt.Errorf("read index of fetched payloads: %w", err)
	}
	if x.Needed, err = count(kindNeeded); err != nil {
		return x, fmt.Errorf("read index of needed manifests: %w", err)
	}
	return x, nil
}

func (t *tx) PutManifest(tn ident.Tenant, v firmware.Manifest) error {
	if err := t.named("manifest", tn, v.Digest); err != nil {
		return err
	}
	if err := t.unfetch(tn, v.Digest); err != nil {
		return err
	}
	for _, k := range fetchedKeys(tn, v) {
		t.index(k, true)
	}
	return t.put(keyOf(tn, kindManifest).bytes(v.Digest[:]), manifestRecordOf(v))
}

func (t *tx) DeleteManifest(tn ident.Tenant, d ident.Digest) error {
	if err := t.named("manifest", tn, d); err != nil {
		return err
	}
	if err := t.unfetch(tn, d); err != nil {
		return err
	}
	t.ov.delete(keyOf(tn, kindManifest).bytes(d[:]))
	return nil
}

// unfetch takes a manifest out of the index of those by what they fetch.
func (t *tx) unfetch(tn ident.Tenant, d ident.Digest) error {
	old, err := t.Manifest(tn, d)
	if errors.Is(err, campaign.ErrNotFound) {
		return nil
	}
	if err != nil {
		return t.fail(err)
	}
	for _, k := range fetchedKeys(tn, old) {
		t.index(k, false)
	}
	return nil
}
