package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// manifestCreate verifies an envelope outside of the transaction, where hostile bytes may take their time, and once more
// within it, where the anchors can't change.
func manifestCreate(ctx context.Context, c *call, req topics.ManifestCreate) (any, error) {
	if len(req.Envelope) > topics.MaxEnvelope {
		return nil, problem(topics.ProblemTooLarge, "envelope of %d bytes, at most %d: serve the payload beside it, shorten the text", len(req.Envelope), topics.MaxEnvelope)
	}
	var m firmware.Manifest
	err := c.view(ctx, func(r campaign.Reader) error {
		anchors, err := r.Anchors(c.tenant, ident.Key{}, anchorLimit)
		if err != nil {
			return err
		}
		m, err = firmware.Verify(req.Envelope, anchors, c.now)
		return err
	})
	if err != nil {
		return nil, err
	}
	check := c.b.checker(c.tenant, c.now)
	defer c.b.manifests.change(c.tenant)() // its envelope may gain blocks
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		old, err := tx.Manifest(c.tenant, m.Digest)
		if err == nil {
			return again(tx, c.tenant, old, m)
		}
		if !errors.Is(err, campaign.ErrNotFound) {
			return nil, campaign.Result{}, fmt.Errorf("read manifest: %w", err)
		}
		if err := check(tx, m); err != nil {
			return nil, campaign.Result{}, err
		}
		if err := raiseFloor(tx, c.tenant, m); err != nil {
			return nil, campaign.Result{}, err
		}
		return manifestView(m), campaign.Result{}, tx.PutManifest(c.tenant, m)
	})
}

// again is for a manifest that is here already. The manifest never changes, and of its signatures none is lost: an
// envelope with further ones takes the place of the stored one (decision 0066).
func again(tx campaign.Tx, t ident.Tenant, old, m firmware.Manifest) (any, campaign.Result, error) {
	kept, err := firmware.Supersede(old, m)
	if err != nil {
		return nil, campaign.Result{}, problem(topics.ProblemManifestBlocks, "%v", err)
	}
	if slices.Equal(kept.Keys, old.Keys) && bytes.Equal(kept.Envelope, old.Envelope) {
		return manifestView(old), campaign.Result{}, nil
	}
	return manifestView(kept), campaign.Result{}, tx.PutManifest(t, kept)
}

// raiseFloor refuses a sequence number that is not above those published for the same component of the same class: a
// device would refuse it as a rollback.
func raiseFloor(tx campaign.Tx, t ident.Tenant, m firmware.Manifest) error {
	floor, err := tx.Floor(t, m.Vendor, m.Class, m.Component)
	switch {
	case err != nil:
		return fmt.Errorf("read sequence floor: %w", err)
	case floor.Manifest == m.Digest: // it was deleted, and comes back
		return nil
	case !floor.Manifest.IsZero() && m.Sequence == floor.Sequence:
		return problem(topics.ProblemSequenceTaken, "sequence number %d is that of manifest %s: sign again with a higher one", m.Sequence, floor.Manifest)
	case !floor.Manifest.IsZero() && m.Sequence < floor.Sequence:
		return problem(topics.ProblemSequenceNotNewer, "sequence number %d is not above %d of manifest %s: sign again with a higher one",
			m.Sequence, floor.Sequence, floor.Manifest)
	}
	return tx.PutFloor(t, m.Vendor, m.Class, m.Component, campaign.Floor{Sequence: m.Sequence, Manifest: m.Digest})
}

func manifestDelete(ctx context.Context, c *call, req topics.ManifestDelete) (any, error) {
	defer c.b.manifests.change(c.tenant)()
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		m, err := campaign.DeleteManifest(tx, c.tenant, req.Digest)
		return manifestView(m), campaign.Result{}, err
	})
}

func manifestList(ctx context.Context, c *call, req topics.Page) (any, error) {
	return lister[ident.Digest, firmware.Manifest, topics.ManifestView]{
		parse: ident.ParseDigest,
		place: func(m firmware.Manifest) string { return m.Digest.String() },
		read: func(r campaign.Reader, after ident.Digest, limit int) ([]firmware.Manifest, error) {
			return r.Manifests(c.tenant, after, limit)
		},
		view: plainly(manifestView),
	}.run(ctx, c, req)
}

func manifestGet(ctx context.Context, c *call, req topics.ManifestGet) (any, error) {
	var v topics.ManifestView
	err := c.view(ctx, func(r campaign.Reader) error {
		m, err := r.Manifest(c.tenant, req.Digest)
		v = manifestView(m)
		return orMissing(err, "manifest", req.Digest)
	})
	return v, err
}
