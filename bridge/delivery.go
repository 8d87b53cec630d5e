package bridge

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// onTopic is the envelope that device's manifest topic holds; nil for none.
func onTopic(r campaign.Reader, cache *manifestCache, t ident.Tenant, device ident.Device) ([]byte, error) {
	w, err := r.Work(t, device)
	if err != nil {
		return nil, err
	}
	return workOnTopic(r, cache, t, device, w)
}

// workOnTopic is the envelope that the manifest topic of a device with work w holds; nil for none. Of several
// components' manifests it is the last one offered; when its slot is cleared, the one before it is there again. Whoever
// reads or publishes the topic comes through here.
func workOnTopic(r campaign.Reader, cache *manifestCache, t ident.Tenant, device ident.Device, w campaign.Work) ([]byte, error) {
	last, live := w.Shown()
	if !live {
		return nil, nil
	}
	m, err := cache.get(r, t, last.Manifest)
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
	return deliver(r, cache, t, m, d.Algs)
}

// deliver is the envelope of m for a device that understands algs: with the signatures of the first of them that there
// is; as it was uploaded if it said none. nil if no live anchor stands behind m (its campaign is being stopped), or none that
// such a device can check (it is offered nothing; what it was offered before runs into its deadline).
func deliver(r campaign.Reader, cache *manifestCache, t ident.Tenant, m firmware.Manifest, algs []int64) ([]byte, error) {
	anchors, err := campaign.Standing(r, t, m, time.Time{})
	switch {
	case errors.Is(err, firmware.ErrUntrusted):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read anchors: %w", err)
	case len(algs) == 0 || len(anchors) == 0:
		return m.Envelope, nil
	}
	alg, ok := firmware.Choose(algs, anchors)
	if !ok {
		return nil, nil
	}
	name := []string{alg.String()}
	for _, a := range anchors {
		name = append(name, a.ID.String())
	}
	return cache.form(t, m, strings.Join(name, "/"), func() ([]byte, error) { return firmware.ForDevice(m.Envelope, alg, anchors) })
}
