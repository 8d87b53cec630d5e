package bridge

import (
	"context"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// The payload commands do their file I/O outside of any transaction, and need no stored reply: each may be repeated and
// says where the upload stands (decision 0009). Between begin and commit the metadata has no Created: such a payload is
// not listed and no manifest may name it, so it is not served either.

func payloadBegin(ctx context.Context, c *call, req topics.PayloadBegin) (any, error) {
	return c.beginUpload(ctx, req)
}

// payloadAppend refuses what is too short to be worth a flush of the disk, and what is not what its own sum says.
func payloadAppend(ctx context.Context, c *call, req topics.PayloadAppend) (any, error) {
	if !req.Sum.IsZero() && ident.SumDigest(req.Data) != req.Sum {
		return nil, problem(topics.ProblemAppendMismatch, "the %d bytes at %d have not the digest %s: send them again", len(req.Data), req.Offset, req.Sum)
	}
	if len(req.Data) < topics.MinAppend {
		p, err := c.payload(ctx, req.Digest)
		if err == nil && p.Created.IsZero() && req.Offset+int64(len(req.Data)) < p.Size {
			return nil, problem(topics.ProblemAppendUndersized, "%d bytes at %d of %d: an append that is not the last has at least %d",
				len(req.Data), req.Offset, p.Size, topics.MinAppend)
		}
	}
	return c.appendUpload(ctx, req.Digest, req.Offset, req.Data)
}

func payloadCommit(ctx context.Context, c *call, req topics.PayloadCommit) (any, error) {
	return c.commitUpload(ctx, req.Digest)
}

func payloadAbort(ctx context.Context, c *call, req topics.PayloadRef) (any, error) {
	return c.dropPayload(ctx, req.Digest, func(tx campaign.Tx) (any, error) {
		p, err := campaign.AbortPayload(tx, c.tenant, req.Digest)
		return c.uploadView(p), err
	})
}

func payloadDelete(ctx context.Context, c *call, req topics.PayloadRef) (any, error) {
	return c.dropPayload(ctx, req.Digest, func(tx campaign.Tx) (any, error) {
		p, err := campaign.DeletePayload(tx, c.tenant, req.Digest)
		return payloadView(p), err
	})
}

func payloadList(ctx context.Context, c *call, req topics.Page) (any, error) {
	return payloadLister(c, func(p firmware.Payload) (topics.PayloadView, bool) {
		return payloadView(p), !p.Created.IsZero()
	}).run(ctx, c, req)
}

func payloadUploads(ctx context.Context, c *call, req topics.Page) (any, error) {
	return payloadLister(c, func(p firmware.Payload) (topics.PayloadUpload, bool) {
		return c.uploadView(p), p.Created.IsZero()
	}).run(ctx, c, req)
}

// payloadLister lists the records that view takes.
func payloadLister[V any](c *call, view func(firmware.Payload) (V, bool)) lister[ident.Digest, firmware.Payload, V] {
	return lister[ident.Digest, firmware.Payload, V]{
		parse: ident.ParseDigest,
		place: func(p firmware.Payload) string { return p.Digest.String() },
		read: func(r campaign.Reader, after ident.Digest, limit int) ([]firmware.Payload, error) {
			return r.Payloads(c.tenant, after, limit)
		},
		view: func(_ campaign.Reader, p firmware.Payload) (V, bool, error) {
			v, ok := view(p)
			return v, ok, nil
		},
	}
}

// uploadView is where an upload stands, by its record and its file.
func (c *call) uploadView(p firmware.Payload) topics.PayloadUpload {
	up := topics.PayloadUpload{Digest: p.Digest, Size: p.Size, Name: p.Name, Begun: p.Begun,
		MinAppend: topics.MinAppend, MaxAppend: topics.MaxAppend}
	// Without a file nothing is there yet, which is what the zero values say.
	offset, last, _ := c.b.o.Catalogue.Stands(c.tenant, p.Digest)
	if last.Before(p.Begun) {
		last = p.Begun
	}
	up.Offset, up.Expires = offset, last.Add(c.b.o.AbandonAfter).UTC()
	return up
}
