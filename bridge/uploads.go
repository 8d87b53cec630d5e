package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/internal/failpoint"
	"fleetbridge/topics"
)

// uploadLocks keep apart what makes and what removes one payload's record and file: begin, commit, abort, delete and
// expiry. Two payloads may share a lock; nobody holds two.
type uploadLocks [64]sync.Mutex

func (l *uploadLocks) lock(d ident.Digest) (unlock func()) {
	m := &l[int(d[0])%len(l)]
	m.Lock()
	return m.Unlock
}

// beginUpload reserves an upload's room and says where it stands. A file without a record is the most that a crash leaves.
func (c *call) beginUpload(ctx context.Context, req topics.PayloadBegin) (topics.PayloadUpload, error) {
	defer c.b.uploads.lock(req.Digest)()
	up := topics.PayloadUpload{Digest: req.Digest, Size: req.Size, MinAppend: topics.MinAppend, MaxAppend: topics.MaxAppend}
	var p firmware.Payload
	may := func(r campaign.Reader) (changed bool, err error) {
		p, changed, err = campaign.BeginPayload(r, c.now, c.tenant, req.Digest, req.Size, req.Name)
		return changed, err
	}
	// What can't be is refused before an earlier upload of another size is given up for it.
	err := c.view(ctx, func(r campaign.Reader) error { _, err := may(r); return err })
	if err != nil {
		return up, err
	}
	if !p.Created.IsZero() {
		up.Offset, up.Complete = p.Size, true
		return up, nil
	}
	if up.Offset, err = c.b.o.Catalogue.Begin(c.tenant, req.Digest, req.Size); err != nil {
		return up, err
	}
	failpoint.At("payload: begun without record", "")
	err = c.b.commit(ctx, func(tx campaign.Tx) error {
		changed, err := may(tx)
		if err != nil || !changed {
			return err
		}
		_, _, err = c.audited(tx, func(tx campaign.Tx) (any, campaign.Result, error) {
			return nil, campaign.Result{}, tx.PutPayload(c.tenant, p)
		})
		return err
	})
	if err != nil && !errors.Is(err, campaign.ErrUnavailable) {
		err = errors.Join(err, c.b.o.Catalogue.Cancel(c.tenant, req.Digest)) // another upload took the room
	}
	up.Name, up.Begun, up.Expires = p.Name, p.Begun, c.now.Add(c.b.o.AbandonAfter)
	return up, err
}

// appendUpload makes data durable at offset. A committed payload has every byte already.
func (c *call) appendUpload(ctx context.Context, d ident.Digest, offset int64, data []byte) (topics.PayloadUpload, error) {
	up := topics.PayloadUpload{Digest: d, MinAppend: topics.MinAppend, MaxAppend: topics.MaxAppend, Expires: c.now.Add(c.b.o.AbandonAfter)}
	p, err := c.payload(ctx, d)
	if err != nil {
		return up, fmt.Errorf("append to payload %s: %w", d, err)
	}
	if p.Created.IsZero() {
		up.Offset, err = c.b.o.Catalogue.Append(c.tenant, d, offset, data)
		if errors.Is(err, firmware.ErrNoUpload) { // another client is making a payload of it, or giving it up
			p, err = c.settled(ctx, d)
		}
	}
	up.Size, up.Name, up.Begun = p.Size, p.Name, p.Begun
	if err == nil && !p.Created.IsZero() { // it is all there
		up.Offset, up.Complete, up.Expires = p.Size, true, time.Time{}
		return up, nil
	}
	failpoint.At("payload: appended", "")
	switch {
	case errors.Is(err, firmware.ErrOverlap):
		return up, problem(topics.ProblemUploadOverlap, "bytes %d to %d are there already: go on from %d", offset, up.Offset-1, up.Offset)
	case errors.Is(err, firmware.ErrOffset):
		return up, problem(topics.ProblemUploadOffset, "offset %d is beyond where the upload stands: go on from %d", offset, up.Offset)
	}
	return up, err
}

// settled waits for a commit or an abort of an upload that is under way, and reads the payload's record if there is one then.
func (c *call) settled(ctx context.Context, d ident.Digest) (firmware.Payload, error) {
	defer c.b.uploads.lock(d)()
	p, err := c.payload(ctx, d)
	if err == nil && p.Created.IsZero() {
		err = firmware.ErrNoUpload
	}
	if err != nil {
		return p, fmt.Errorf("append to payload %s: %w", d, err)
	}
	return p, nil
}

// payload reads the record of a payload or an upload; ErrNoUpload where there is none.
func (c *call) payload(ctx context.Context, d ident.Digest) (p firmware.Payload, err error) {
	err = c.view(ctx, func(r campaign.Reader) error {
		p, err = r.Payload(c.tenant, d)
		return err
	})
	if errors.Is(err, campaign.ErrNotFound) {
		err = firmware.ErrNoUpload
	}
	return p, err
}

// commitUpload makes an upload a payload. A crash between file and record leaves what another commit completes.
func (c *call) commitUpload(ctx context.Context, d ident.Digest) (any, error) {
	defer c.b.uploads.lock(d)()
	if _, err := c.payload(ctx, d); err != nil {
		return nil, fmt.Errorf("commit payload %s: %w", d, err)
	}
	if err := c.b.o.Catalogue.Commit(c.tenant, d); err != nil {
		return nil, err
	}
	failpoint.At("payload: committed without record", "")
	size, err := c.b.o.Catalogue.Size(c.tenant, d)
	if err != nil {
		return nil, fmt.Errorf("commit payload %s: %w", d, err)
	}
	return c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		p, err := campaign.CommitPayload(tx, c.now, c.tenant, d, size)
		return payloadView(p), campaign.Result{}, err
	})
}

// dropPayload deletes a record by drop, and then its file. A crash in between leaves a file without a record, which the next start
// removes.
func (c *call) dropPayload(ctx context.Context, d ident.Digest, drop func(campaign.Tx) (any, error)) (any, error) {
	defer c.b.uploads.lock(d)()
	reply, err := c.mutate(ctx, func(tx campaign.Tx) (any, campaign.Result, error) {
		reply, err := drop(tx)
		return reply, campaign.Result{}, err
	})
	if err != nil {
		return nil, err
	}
	failpoint.At("payload: file without record", "")
	c.b.removeFile(c.tenant, d)
	return reply, nil
}

// removeFile removes the file of a payload that has no record any more. What fails is tried again at the next start.
func (b *Bridge) removeFile(t ident.Tenant, d ident.Digest) {
	if err := b.o.Catalogue.Remove(t, d); err != nil {
		b.o.Logger.Warn("file of a deleted payload could not be removed", "tenant", t, "payload", d, "err", err)
	}
}
