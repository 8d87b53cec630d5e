package bridge

import (
	"context"
	"errors"
	"fmt"

	"fleetbridge/campaign"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// grant is that a device may fetch a payload: a live assignment of it names that.
type grant struct {
	payload  ident.Digest
	size     int64
	maxChunk uint32 // what the device said of itself, since an MQTT 3.1.1 client has no maximum packet size; 0: nothing
	version  uint64 // of the device in the store, before all this was read
}

// granted is assigned for a connection, which asks the store again only when something of the device has been committed since:
// what a commit took away is not served from when it has returned.
func (b *Bridge) granted(ctx context.Context, m *memo, t ident.Tenant, d ident.Device, payload ident.Digest) (grant, error) {
	if b.versions == nil {
		return b.assigned(ctx, t, d, payload)
	}
	version := b.versions.Version(t, d) // before the View: see campaign.Versioned
	if g := m.grant; g.payload == payload && g.version == version && !g.payload.IsZero() {
		return g, nil
	}
	g, err := b.assigned(ctx, t, d, payload)
	if err != nil {
		return grant{}, err
	}
	g.version = version
	m.grant = g
	return g, nil
}

// assigned finds the grant of a payload, which a manifest of a live assignment of the device must name: nothing else is served.
func (b *Bridge) assigned(ctx context.Context, t ident.Tenant, d ident.Device, payload ident.Digest) (grant, error) {
	g := grant{payload: payload, size: -1}
	err := b.manifests.view(ctx, b.o.Store, func(r manifestReader) error {
		size, err := b.assignedSize(r, t, d, payload)
		if err != nil || size < 0 {
			return err
		}
		self, err := r.Device(t, d)
		g.size, g.maxChunk = size, self.MaxChunk
		return orMissing(err, "device", d)
	})
	switch {
	case err != nil:
		return grant{}, fmt.Errorf("%w: %w", campaign.ErrUnavailable, err)
	case g.size < 0:
		return grant{}, problem(topics.ProblemFetchNotAssigned, "no live assignment of this device names payload %s", payload)
	}
	return g, nil
}

// assignedSize is the size of a payload that a live assignment of the device fetches; below 0 if none does.
func (b *Bridge) assignedSize(r manifestReader, t ident.Tenant, d ident.Device, payload ident.Digest) (int64, error) {
	w, err := r.Work(t, d)
	if err != nil {
		return 0, fmt.Errorf("read work: %w", err)
	}
	for _, l := range w.Live {
		m, err := r.held(t, l.Manifest)
		if errors.Is(err, campaign.ErrNotFound) {
			continue // of a stop that passed over the device
		}
		if err != nil {
			return 0, fmt.Errorf("read manifest %s: %w", l.Manifest, err)
		}
		if f, ok := m.Fetch(payload); ok {
			return f.Size, nil
		}
	}
	return -1, nil
}
