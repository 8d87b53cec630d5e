package badger

import (
	"hash/maphash"
	"sync/atomic"

	"fleetbridge/campaign"
	"fleetbridge/ident"
)

// versionStripes is how many counters all devices share, 256 KiB of them: a device whose neighbour is written is read once
// more than needed.
const versionStripes = 1 << 15

// versions are the counters behind Version.
type versions [versionStripes]atomic.Uint64

var versionSeed = maphash.MakeSeed()

func versionOf(t ident.Tenant, d ident.Device) uint32 {
	tenant := maphash.String(versionSeed, t.String())
	return uint32((maphash.String(versionSeed, d.String()) + 31*tenant) % versionStripes)
}

var _ campaign.Versioned = (*Store)(nil)

// Version is campaign.Versioned's.
func (s *Store) Version(t ident.Tenant, d ident.Device) uint64 {
	return s.versions[versionOf(t, d)].Load()
}

// renew changes the versions of what o wrote: after it is shown, and when nobody knows whether it is there.
func (v *versions) renew(o *overlay) {
	for _, stripe := range o.versions {
		v[stripe].Add(1)
	}
}

// renews notes that a device's version is to change with this commit. A rollback leaves it: a change too many costs a read.
func (t *tx) renews(tn ident.Tenant, d ident.Device) {
	t.ov.versions = append(t.ov.versions, versionOf(tn, d))
}
