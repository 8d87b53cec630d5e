package bridge

import (
	"errors"
	"fmt"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// onTopic is the envelope that device's manifest topic holds; nil for none.
func onTopic(r manifestReader, t ident.Tenant, device ident.Device) ([]byte, error) {
	w, err := r.Work(t, device)
	if err != nil {
		return nil, err
	}
	return workOnTopic(r, t, device, w)
}

// workOnTopic is the envelope that the manifest topic of a device with work w holds; nil for none. Of several
// components' manifests it is the last one offered; when its slot is cleared, the one before it is there again. Whoever
// reads or publishes the topic comes through here.
func workOnTopic(r manifestReader, t ident.Tenant, device ident.Device, w campaign.Work) ([]byte, error) {
	last, live := w.Shown()
	if !live {
		return nil, nil
	}
	m, err := r.held(t, last.Manifest)
	if errors.Is(err, campaign.ErrNotFound) {
		return nil, nil // of a stop that passed over the device; the sweep at start clears its slot
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", last.Manifest, err)
	}
	d, err := r.Device(t, device)
	if err != nil && !errors.Is(err, campaign.ErrNotFound) {
		return nil, fmt.Errorf("read device %s: %w", device, err)
	}
	return m.deliver(d.Algs)
}

// deliver is the envelope of m for a device that understands algs: with the signatures of the first of them that there
// is; as it was uploaded if it said none. nil if no live anchor stands behind m (its campaign is being stopped), or none that
// such a device can check (it is offered nothing; what it was offered before runs into its deadline).
func (m *heldManifest) deliver(algs []int64) ([]byte, error) {
	switch {
	case m.untrusted:
		return nil, nil
	case len(algs) == 0 || len(m.anchors) == 0:
		return m.Envelope, nil
	}
	alg, ok := firmware.Choose(algs, m.anchors)
	if !ok {
		return nil, nil
	}
	for _, f := range m.forms {
		if f.alg == alg {
			return f.envelope, f.err
		}
	}
	return nil, fmt.Errorf("manifest %s has no form for %s", m.Digest, alg) // each algorithm of its anchors has one
}
