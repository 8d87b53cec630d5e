package bridge

import (
	"context"
	"errors"
	"fmt"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/internal/failpoint"
	"fleetbridge/topics"
)

// The payload commands do their file I/O outside of any transaction, and need no stored reply: each may be repeated and
// says where the upload stands (decision 0009). Between begin and commit the metadata has no Created: such a payload is
// not listed and no manifest may name it, so it is not served either.

func payloadBegin(ctx context.Context, c *call, req topics.PayloadBegin) (any, error) {
	offset, err := c.b.o.Catalogue.Begin(c.tenant, req.Digest, req.Size)
	if err != nil {
		return nil, fmt.Errorf("begin upload: %w", err)
	}
	failpoint.At("payload: begun without record", "")
	complete := false
	err = c.b.commit(ctx, func(tx campaign.Tx) error {
		p, err := tx.Payload(c.tenant, req.Digest)
		complete = err == nil && !p.Created.IsZero()
		if complete {
			return nil
		}
		if err != nil && !errors.Is(err, campaign.ErrNotFound) {
			return fmt.Errorf("read payload: %w", err)
		}
		if err != nil {
			if err := campaign.MayStore(tx, c.tenant, req.Size); err != nil {
				return err
			}
		}
		_, _, err = c.audited(tx, func(tx campaign.Tx) (any, campaign.Result, error) {
			return nil, campaign.Result{}, tx.PutPayload(c.tenant, firmware.Payload{Digest: req.Digest, Size: req.Size, Name: req.Name})
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return topics.PayloadUpload{Digest: req.Digest, Offset: offset, Size: req.Size, MaxAppend: topics.MaxAppend, Complete: complete}, nil
}

func payloadAppend(ctx context.Context, c *call, req topics.PayloadAppend) (any, error) {
	var p firmware.Payload
	err := c.view(ctx, func(r campaign.Reader) error {
		var err error
		p, err = r.Payload(c.tenant, req.Digest)
		return err
	})
	if errors.Is(err, campaign.ErrNotFound) {
		err = firmware.ErrNoUpload
	}
	if err != nil {
		return nil, fmt.Errorf("append to payload %s: %w", req.Digest, err)
	}
	up := topics.PayloadUpload{Digest: req.Digest, Size: p.Size, MaxAppend: topics.MaxAppend}
	if !p.Created.IsZero() { // committed: a repeat whose answer was lost
		up.Offset, up.Complete = p.Size, true
		return up, nil
	}
	up.Offset, err = c.b.o.Catalogue.Append(c.tenant, req.Digest, req.Offset, req.Data)
	failpoint.At("payload: appended", "")
	if errors.Is(err, firmware.ErrOffset) {
		return nil, problem(topics.ProblemUploadOffset, "offset %d is not where the upload stands: go on from %d", req.Offset, up.Offset)
	}
	if err != nil {
		return nil, fmt.Errorf("append to payload %s: %w", req.Digest, err)
	}
	return up, nil
}

func payloadCommit(ctx context.Context, c *call, req topics.PayloadCommit) (any, error) {
	if err := c.b.o.Catalogue.Commit(c.tenant, req.Digest); err != nil {
		return nil, fmt.Errorf("commit payload %s: %w", req.Digest, err)
	}
	failpoint.At("payload: committed without record", "")
	size, err := c.b.o.Catalogue.Size(c.tenant, req.Digest)
	if err != nil {
		return nil, fmt.Errorf("commit payload %s: %w", req.Digest, err)
	}
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		p, err := tx.Payload(c.tenant, req.Digest)
		if err != nil && !errors.Is(err, campaign.ErrNotFound) {
			return nil, campaign.Result{}, fmt.Errorf("read payload: %w", err)
		}
		if p.Created.IsZero() {
			p.Digest, p.Size, p.Created = req.Digest, size, c.now
			err = tx.PutPayload(c.tenant, p)
		}
		return payloadView(p), campaign.Result{}, err
	})
}

func payloadList(ctx context.Context, c *call, req topics.Page) (any, error) {
	return lister[ident.Digest, firmware.Payload, topics.PayloadView]{
		parse: ident.ParseDigest,
		place: func(p firmware.Payload) string { return p.Digest.String() },
		read: func(r campaign.Reader, after ident.Digest, limit int) ([]firmware.Payload, error) {
			return r.Payloads(c.tenant, after, limit)
		},
		view: func(_ campaign.Reader, p firmware.Payload) (topics.PayloadView, bool, error) {
			return payloadView(p), !p.Created.IsZero(), nil
		},
	}.run(ctx, c, req)
}
