package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// expireUploads gives up the uploads of all tenants that got no byte for Options.AbandonAfter.
func (b *Bridge) expireUploads(ctx context.Context) error {
	before := b.o.Now().Add(-b.o.AbandonAfter)
	return b.eachTenant(ctx, func(t ident.Tenant) error {
		return b.eachPayload(ctx, t, func(p firmware.Payload) error {
			if !p.Created.IsZero() || !p.Begun.Before(before) {
				return nil
			}
			return b.expireUpload(ctx, t, p.Digest, before)
		})
	})
}

func (b *Bridge) expireUpload(ctx context.Context, t ident.Tenant, d ident.Digest, before time.Time) error {
	defer b.uploads.lock(d)()
	_, last, err := b.o.Catalogue.Stands(t, d)
	switch {
	case err != nil && !errors.Is(err, firmware.ErrNoUpload):
		return err
	case err == nil && !last.Before(before):
		return nil
	}
	gone := false
	err = b.commit(ctx, func(tx campaign.Tx) error {
		p, err := tx.Payload(t, d)
		gone = err == nil && p.Created.IsZero() && p.Begun.Before(before)
		switch {
		case gone:
			return tx.DeletePayload(t, d)
		case errors.Is(err, campaign.ErrNotFound):
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("expire upload of %s: %w", d, err)
	}
	if gone {
		b.removeFile(t, d)
		b.o.Logger.Info("abandoned upload was removed", "tenant", t, "payload", d)
	}
	return nil
}

// removeOrphans removes the files of a tenant that no record names: what a crash left of a begin, an abort or a delete.
func (b *Bridge) removeOrphans(ctx context.Context, t ident.Tenant) error {
	digests, err := b.o.Catalogue.Digests(t)
	if err != nil {
		return err
	}
	for _, d := range digests {
		if err := b.removeOrphan(ctx, t, d); err != nil {
			return err
		}
	}
	return nil
}

// removeOrphan looks for the record under the lock of d: an upload that begins at this moment has its file before its record.
func (b *Bridge) removeOrphan(ctx context.Context, t ident.Tenant, d ident.Digest) error {
	defer b.uploads.lock(d)()
	err := b.o.Store.View(ctx, func(r campaign.Reader) error {
		_, err := r.Payload(t, d)
		return err
	})
	switch {
	case errors.Is(err, campaign.ErrNotFound):
		b.o.Logger.Info("file without a record was removed", "tenant", t, "payload", d)
		b.removeFile(t, d)
		return nil
	case err != nil:
		return fmt.Errorf("read payload: %w", err)
	}
	return nil
}

// eachPayload calls fn for every payload and upload of a tenant, outside of any transaction.
func (b *Bridge) eachPayload(ctx context.Context, t ident.Tenant, fn func(firmware.Payload) error) error {
	for after := (ident.Digest{}); ; {
		var page []firmware.Payload
		err := b.o.Store.View(ctx, func(r campaign.Reader) (err error) {
			page, err = r.Payloads(t, after, mendPage)
			return err
		})
		if err != nil {
			return fmt.Errorf("read payloads: %w", err)
		}
		for _, p := range page {
			if err := fn(p); err != nil {
				return err
			}
			after = p.Digest
		}
		if len(page) < mendPage {
			return nil
		}
	}
}
