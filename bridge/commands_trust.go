package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

func trustAdd(ctx context.Context, c *call, req topics.TrustAdd) (any, error) {
	key, err := cose.ParsePublicKey(req.Key)
	if err != nil {
		return nil, invalid("/key", "%v", err)
	}
	alg := cose.DefaultAlg(key)
	if req.Alg != "" {
		if alg, err = cose.ParseAlg(req.Alg); err != nil {
			return nil, invalid("/alg", "%v", err)
		}
	}
	anchor, err := firmware.NewAnchor(req.ID, key, alg, c.now)
	if err != nil {
		return nil, invalid("/alg", "%v", err)
	}
	anchor.Grants = grantsOf(req.Grants)
	defer c.b.manifests.change(c.tenant)()
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		old, err := tx.Anchor(c.tenant, req.ID)
		if err == nil {
			if old.Live() && old.Alg == anchor.Alg && slices.Equal(old.SPKI, anchor.SPKI) && old.Grants.Equal(anchor.Grants) {
				return anchorView(old), campaign.Result{}, nil
			}
			return nil, campaign.Result{}, problem(topics.ProblemAlreadyExists, "anchor %s exists with another key or other grants, or is revoked: take another id", req.ID)
		}
		if !errors.Is(err, campaign.ErrNotFound) {
			return nil, campaign.Result{}, fmt.Errorf("read anchor: %w", err)
		}
		all, err := tx.Anchors(c.tenant, ident.Key{}, anchorLimit)
		if err != nil {
			return nil, campaign.Result{}, fmt.Errorf("read anchors: %w", err)
		}
		if len(all) >= anchorLimit {
			return nil, campaign.Result{}, problem(topics.ProblemQuota, "a tenant has at most %d trust anchors", anchorLimit)
		}
		return anchorView(anchor), campaign.Result{}, tx.PutAnchor(c.tenant, anchor)
	})
}

func trustList(ctx context.Context, c *call, req topics.Page) (any, error) {
	return lister[ident.Key, firmware.Anchor, topics.AnchorView]{
		parse: ident.ParseKey,
		place: func(a firmware.Anchor) string { return a.ID.String() },
		read: func(r campaign.Reader, after ident.Key, limit int) ([]firmware.Anchor, error) {
			return r.Anchors(c.tenant, after, limit)
		},
		view: plainly(anchorView),
	}.run(ctx, c, req)
}

func trustGet(ctx context.Context, c *call, req topics.TrustGet) (any, error) {
	var v topics.AnchorView
	err := c.view(ctx, func(r campaign.Reader) error {
		a, err := r.Anchor(c.tenant, req.ID)
		v = anchorView(a)
		return orMissing(err, "anchor", req.ID)
	})
	return v, err
}

// trustRevoke also stops the campaigns behind whose manifests nobody stands any more; see campaign.Revoke.
func trustRevoke(ctx context.Context, c *call, req topics.TrustRevoke) (any, error) {
	defer c.b.manifests.change(c.tenant)()
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		a, stopped, res, err := campaign.Revoke(tx, c.now, c.tenant, req.ID)
		return topics.AnchorRevoked{AnchorView: anchorView(a), Stopped: uint64(stopped)}, res, err
	})
}
