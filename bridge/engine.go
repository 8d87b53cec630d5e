package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/ident"
	"fleetbridge/internal/failpoint"
	"fleetbridge/topics"
)

const (
	// sliceSize is how many assignments one transaction of the engine moves at most: reports share the store with it.
	sliceSize = 256
	// bulkTurns is after how many slices in a row the engine's work is bulk work.
	bulkTurns = 8
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
	done := func() {} // ends the bulk work under way
	defer func() { done() }()
	for row := 0; ; { // of turns that left more to do at once
		j, err := b.turns.next(ctx, b.o.Now)
		if err != nil {
			return nil // ctx has ended
		}
		again, err := b.advance(ctx, j)
		if err != nil {
			return err
		}
		switch {
		case !again:
			row = 0
			done()
		case row < bulkTurns:
			if row++; row == bulkTurns {
				done = b.o.Bulk()
			}
		}
	}
}

// runFetcher finds the devices of campaigns that start, one campaign at a time, until ctx ends. It reads beside the
// engine, because a registry of a million devices takes seconds.
func (b *Bridge) runFetcher(ctx context.Context) error {
	for {
		j, err := b.selects.next(ctx, b.o.Now)
		if err != nil {
			return nil // ctx has ended
		}
		if err := b.fetch(ctx, j); err != nil {
			return err
		}
	}
}

// fetch finds one campaign's devices and commits its waves. The error is fatal.
func (b *Bridge) fetch(ctx context.Context, j job) error {
	defer b.o.Bulk()()
	_, err := b.step(ctx, j, func(now time.Time) (res campaign.Result, wake campaign.Wake, err error) {
		var found campaign.Fetched
		err = b.o.Store.View(ctx, func(r campaign.Reader) error {
			var err error
			found, err = campaign.Fetch(r, j.tenant, j.campaign)
			return err
		})
		if err == nil {
			err = b.commit(ctx, func(tx campaign.Tx) error {
				var err error
				res, wake, err = campaign.Freeze(tx, now, j.tenant, j.campaign, found)
				failpoint.At("fetch: before commit", "")
				return err
			})
			failpoint.At("fetch: after commit", "")
		}
		return res, wake, err
	})
	return err
}

// advance does one slice of work on one campaign, and says whether there is more at once. The error is fatal.
func (b *Bridge) advance(ctx context.Context, j job) (again bool, err error) {
	step := "" // for failpoints
	again, err = b.step(ctx, j, func(now time.Time) (res campaign.Result, wake campaign.Wake, err error) {
		err = b.commit(ctx, func(tx campaign.Tx) error {
			var err error
			from := situation(tx, j)
			res, wake, err = campaign.Advance(tx, now, j.tenant, j.campaign, b.outside(j.tenant, now), b.troubles.slice(j))
			if failpoint.Enabled {
				step = from + ">" + situation(tx, j)
			}
			failpoint.At("advance: before commit", step)
			return err
		})
		failpoint.At("advance: after commit", step)
		return res, wake, err
	})
	failpoint.At("advance: after publish", step)
	return again, err
}

// step commits by do, then publishes, and says whether the campaign has more to do at once. A crash between the two is mended
// by mend and by the due index. The error is fatal.
func (b *Bridge) step(ctx context.Context, j job, do func(now time.Time) (campaign.Result, campaign.Wake, error)) (again bool, err error) {
	now := b.o.Now()
	res, wake, err := do(now)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return false, nil
	case errors.Is(err, campaign.ErrClosed):
		return false, fmt.Errorf("advance campaign %s: %w", j.campaign, err)
	case errors.Is(err, campaign.ErrNotFound):
		b.o.Logger.Warn("campaign to advance was gone", "tenant", j.tenant, "campaign", j.campaign, "err", err)
		return false, nil
	default:
		b.o.Logger.Error("campaign could not be advanced", "tenant", j.tenant, "campaign", j.campaign, "err", err)
		b.turns.want(j, now.Add(b.troubles.worse(j)))
		b.progress.mark(j)
		res.Campaigns = slices.DeleteFunc(res.Campaigns, func(c ident.Campaign) bool { return c == j.campaign }) // it has its turn
		b.remind(ctx, j.tenant, res)
		return false, nil
	}
	if !wake.Fetch { // else the hard part is still to come
		b.troubles.better(j)
	}
	b.announce(ctx, j.tenant, res)
	switch {
	case wake.Fetch:
		b.selects.want(j, now)
	case wake.Again:
		b.turns.want(j, now)
	case !wake.At.IsZero():
		at := wake.At
		if soon := now.Add(settle); at.Before(soon) {
			at = soon // a moment that has passed must not make the engine spin
		}
		b.turns.want(j, at)
	}
	return wake.Again, nil
}

// trouble is what is known of a campaign whose transactions fail.
type trouble struct {
	wait  time.Duration
	halve int // how often sliceSize is halved: a slice may be more than one transaction holds
}

// troubles are those of all campaigns. Safe for concurrent use.
type troubles struct {
	mu sync.Mutex
	of map[job]trouble
}

func newTroubles() *troubles { return &troubles{of: map[job]trouble{}} }

// slice is how many assignments the next transaction may move.
func (t *troubles) slice(j job) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(sliceSize>>t.of[j].halve, 1)
}

// worse notes a failure and says how long to wait.
func (t *troubles) worse(j job) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.of[j]
	t.of[j] = trouble{min(max(2*o.wait, minRetry), maxRetry), min(o.halve+1, 8)}
	return t.of[j].wait
}

// better lets a campaign that failed before go on with slices that grow again.
func (t *troubles) better(j job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o, ok := t.of[j]
	switch {
	case !ok:
	case o.halve <= 1:
		delete(t.of, j)
	default:
		t.of[j] = trouble{halve: o.halve - 1}
	}
}

// outside is what campaign asks beyond the records. Who listens may differ when the transaction runs again: it decides on no
// more than when an offer is repeated.
func (b *Bridge) outside(t ident.Tenant, now time.Time) campaign.Outside {
	return campaign.Outside{Check: b.checker(t, now), Listens: func(d ident.Device) bool { return b.heard(topics.ManifestTopic(t, d)) }}
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
		return b.checkPayloads(r, t, m)
	}
}

// checkPayloads checks that the payloads which a device would take from us are there.
func (b *Bridge) checkPayloads(r campaign.Reader, t ident.Tenant, m firmware.Manifest) error {
	for _, f := range m.Fetches {
		if err := b.checkPayload(r, t, f); err != nil {
			return err
		}
	}
	return nil
}

// checkPayload checks that a payload which f takes from us is there, with the digest and size that were signed. A payload
// elsewhere (an https URI) is its author's care.
func (b *Bridge) checkPayload(r campaign.Reader, t ident.Tenant, f firmware.Fetch) error {
	d, ours := firmware.PayloadOf(f.URI)
	if !ours {
		return nil
	}
	if d != f.Digest {
		return fmt.Errorf("payload URI %q names other bytes than the manifest's digest: %w", f.URI, firmware.ErrUnsupported)
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
	if p.Size != f.Size {
		return problem(topics.ProblemPayloadSize, "payload %s has %d bytes, the manifest says %d", d, p.Size, f.Size)
	}
	switch _, err := b.o.Catalogue.Size(t, d); {
	case errors.Is(err, firmware.ErrNoPayload):
		return fmt.Errorf("payload %s: %w", d, err)
	case err != nil: // the disk, not the manifest
		return fmt.Errorf("payload %s: %w: %w", d, campaign.ErrUnavailable, err)
	}
	return nil
}
