package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
)

const (
	// sliceSize is how many assignments one transaction of the engine moves at most: reports share the store with it.
	sliceSize = 256
	// settle is how long the engine lets reports gather before it looks at their campaign.
	settle = 25 * time.Millisecond
	// A campaign whose transaction failed is looked at again after minRetry, then twice as long each time.
	minRetry = 100 * time.Millisecond
	maxRetry = 10 * time.Second
	// anchorLimit bounds the trust anchors of a tenant that a manifest is checked against.
	anchorLimit = 500
)

// runEngine drives the running campaigns, one slice of one campaign at a time, until ctx ends or the store is closed.
func (b *Bridge) runEngine(ctx context.Context) error {
	for {
		j, err := b.turns.next(ctx, b.o.Now)
		if err != nil {
			return nil // ctx has ended
		}
		if err := b.advance(ctx, j); err != nil {
			return err
		}
	}
}

// advance does one slice of work on one campaign: commit, then publish. A crash between the two is mended by mend and by
// the due index. The error is fatal.
func (b *Bridge) advance(ctx context.Context, j job) error {
	var (
		res  campaign.Result
		wake campaign.Wake
	)
	now := b.o.Now()
	err := b.commit(ctx, func(tx campaign.Tx) error {
		var err error
		res, wake, err = campaign.Advance(tx, now, j.tenant, j.campaign, b.checker(j.tenant, now), b.troubles[j].slice())
		return err
	})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, campaign.ErrClosed):
		return fmt.Errorf("advance campaign %s: %w", j.campaign, err)
	case errors.Is(err, campaign.ErrNotFound):
		b.o.Logger.Warn("campaign to advance was gone", "tenant", j.tenant, "campaign", j.campaign, "err", err)
		return nil
	default:
		b.o.Logger.Error("campaign could not be advanced", "tenant", j.tenant, "campaign", j.campaign, "err", err)
		b.troubles[j] = b.troubles[j].worse()
		b.turns.want(j, now.Add(b.troubles[j].wait))
		b.progress.mark(j)
		res.Campaigns = slices.DeleteFunc(res.Campaigns, func(c ident.Campaign) bool { return c == j.campaign }) // it has its turn
		b.remind(ctx, j.tenant, res)
		return nil
	}
	b.recovered(j)
	b.announce(ctx, j.tenant, res)
	switch {
	case wake.Again:
		b.turns.want(j, now)
	case !wake.At.IsZero():
		at := wake.At
		if soon := now.Add(settle); at.Before(soon) {
			at = soon // a moment that has passed must not make the engine spin
		}
		b.turns.want(j, at)
	}
	return nil
}

// trouble is what is known of a campaign whose transactions fail.
type trouble struct {
	wait  time.Duration
	halve int // how often sliceSize is halved: a slice may be more than one transaction holds
}

func (t trouble) slice() int { return max(sliceSize>>t.halve, 1) }

func (t trouble) worse() trouble {
	return trouble{min(max(2*t.wait, minRetry), maxRetry), min(t.halve+1, 8)}
}

// recovered lets a campaign that failed before go on with slices that grow again.
func (b *Bridge) recovered(j job) {
	t, ok := b.troubles[j]
	switch {
	case !ok:
	case t.halve <= 1:
		delete(b.troubles, j)
	default:
		b.troubles[j] = trouble{halve: t.halve - 1}
	}
}

// checker is the check of a manifest before its campaign runs: it still verifies under the tenant's live anchors, and
// its payload is there. Uploads and starts use the same.
func (b *Bridge) checker(t ident.Tenant, now time.Time) campaign.Checker {
	return func(r campaign.Reader, m firmware.Manifest) error {
		anchors, err := r.Anchors(t, ident.Key{}, anchorLimit)
		if err != nil {
			return fmt.Errorf("read anchors: %w: %w", campaign.ErrUnavailable, err)
		}
		if _, err := firmware.Verify(m.Envelope, anchors, now); err != nil {
			return err
		}
		return b.checkPayload(r, t, m)
	}
}

// checkPayload checks that a payload which the manifest takes from us is there, with the digest and size that were
// signed. A payload elsewhere (an https URI) is its author's care.
func (b *Bridge) checkPayload(r campaign.Reader, t ident.Tenant, m firmware.Manifest) error {
	d, ours := firmware.PayloadOf(m.URI)
	if !ours {
		return nil
	}
	if d != m.Payload {
		return fmt.Errorf("payload URI %q names other bytes than the manifest's digest: %w", m.URI, firmware.ErrUnsupported)
	}
	p, err := r.Payload(t, d)
	if errors.Is(err, campaign.ErrNotFound) {
		return fmt.Errorf("payload %s: %w", d, firmware.ErrNoPayload)
	}
	if err != nil {
		return fmt.Errorf("read payload %s: %w: %w", d, campaign.ErrUnavailable, err)
	}
	if p.Created.IsZero() { // its upload was begun and not committed
		return fmt.Errorf("payload %s: %w", d, firmware.ErrNoPayload)
	}
	if p.Size != m.Size {
		return fmt.Errorf("payload %s has %d bytes, the manifest says %d: %w", d, p.Size, m.Size, firmware.ErrDigestMismatch)
	}
	switch _, err := b.o.Catalogue.Size(t, d); {
	case errors.Is(err, firmware.ErrNoPayload):
		return fmt.Errorf("payload %s: %w", d, err)
	case err != nil: // the disk, not the manifest
		return fmt.Errorf("payload %s: %w: %w", d, campaign.ErrUnavailable, err)
	}
	return nil
}
