package firmware

import (
	"errors"
	"fmt"
	"io/fs"

	"fleetbridge/ident"
)

// Remove deletes a payload, or an upload of one; neither is no error. Who reads the payload at the time reads on.
func (c *Catalogue) Remove(t ident.Tenant, d ident.Digest) error {
	if err := checkName(t, d); err != nil {
		return err
	}
	if err := c.Cancel(t, d); err != nil {
		return err
	}
	defer c.lock(t, d)()
	err := c.root.Remove(payloadFile(t, d))
	removed := err == nil
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err := errors.Join(err, c.handles.forget(payloadKey{t, d})); err != nil {
		return fmt.Errorf("remove payload %s: %w", d, err)
	}
	if !removed {
		return nil
	}
	return c.syncFolder(t.String())
}

// Digests lists what a tenant has files of: payloads and uploads, in no order.
func (c *Catalogue) Digests(t ident.Tenant) ([]ident.Digest, error) {
	files, err := fs.ReadDir(c.root.FS(), t.String())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list payloads of %s: %w", t, err)
	}
	var all []ident.Digest
	for _, f := range files {
		if d, _, ok := parsePart(f.Name()); ok {
			all = append(all, d)
		} else if d, err := ident.ParseDigest(f.Name()); err == nil && d.Hex() == f.Name() {
			all = append(all, d)
		}
	}
	return all, nil
}
