package campaign

import (
	"errors"
	"fmt"

	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// ErrNeeded means that a campaign needs the manifest that was to be deleted.
var ErrNeeded = errors.New("manifest in use")

// NeedsManifest reports whether a campaign in phase p reads its manifest, now or later. One that has ended keeps its own
// record of what it rolled out.
func (p Phase) NeedsManifest() bool {
	switch p {
	case Stopped, Archived, Deleting:
		return false
	}
	return true
}

// DeleteManifest deletes a manifest. It is ErrNeeded while a campaign needs it, and a *NotFoundError where there is none.
// The sequence floor of its component stays: this manifest may come back, none with its number or a lower one may.
func DeleteManifest(tx Tx, t ident.Tenant, d ident.Digest) (firmware.Manifest, error) {
	m, err := tx.Manifest(t, d)
	if err != nil {
		return m, missing(err, "manifest", d)
	}
	needing, err := tx.NeededBy(t, d, ident.Campaign{}, 1)
	if err != nil {
		return m, fmt.Errorf("list campaigns of manifest: %w", err)
	}
	if len(needing) > 0 {
		c, err := tx.Campaign(t, needing[0])
		if err != nil {
			return m, fmt.Errorf("read campaign %s: %w", needing[0], err)
		}
		return m, fmt.Errorf("manifest %s is needed by campaign %s, which is %s: %w", d, c.ID, c.Phase, ErrNeeded)
	}
	if err := tx.DeleteManifest(t, d); err != nil {
		return m, fmt.Errorf("delete manifest: %w", err)
	}
	return m, nil
}
