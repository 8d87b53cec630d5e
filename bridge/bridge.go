// Package bridge joins an MQTT link and the domain: it takes commands, records reports, puts manifests on devices'
// topics, serves payloads in chunks, and tells backends what moved. It translates and decides nothing: who may use a
// topic is topics' rule, what a report means is campaign's, what is signed rightly is firmware's.
//
// Commit, then speak. A report's Done follows the commit that records it; a manifest is published after the commit that
// offers it; a reply is sent after the commit that it tells of. What a crash leaves unsaid is said again: start-up is
// recovery. A topic's state is always published from the store as it is at that moment, so that an older state can't
// overtake a newer one.
//
// Only cmd imports this package.
package bridge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/link"
	"fleetbridge/topics"
)

// Defaults of Options.
const (
	DefaultCommitDeadline = 30 * time.Second
	DefaultMaxPacket      = 260 << 10
	DefaultAbandonAfter   = 24 * time.Hour
)

// Options are what a bridge is made of. Store, Link and Catalogue must be given.
type Options struct {
	Store     campaign.Store
	Link      link.Link
	Catalogue *firmware.Catalogue
	Directory *Directory       // of the same store, which the link asks; nil: there is none
	Logger    *slog.Logger     // nil: nothing is logged
	Now       func() time.Time // nil: time.Now
	Rand      io.Reader        // of tokens and campaign seeds; nil: crypto/rand
	Version   string           // told by server/info
	// Retention says how long stopped campaigns are kept; zero: for ever.
	Retention campaign.Retention
	// Disconnect ends the live connections of a principal whose credential was revoked; nil: they live on until they
	// end by themselves.
	Disconnect func(topics.Principal)
	// Bulk is called when work begins that reads or writes a whole fleet, and what it returns, perhaps more than once, when
	// that has ended; nil: nobody wants to know.
	Bulk func() (done func())
	// CommitDeadline is how long a message waits for its commit before it is refused; 0: DefaultCommitDeadline.
	CommitDeadline time.Duration
	// AbandonAfter is when an upload that got no byte is given up, and its room with it; 0: DefaultAbandonAfter.
	AbandonAfter time.Duration
	// Egress is how many bytes of chunks may be sent in a second; 0: no limit.
	Egress int64
	// MaxPacket is the largest packet that the link takes, in bytes, told by server/info; 0: DefaultMaxPacket.
	MaxPacket uint32
}

// Bridge is a link.Handler. Make it with New; nothing happens before Run. Handle and Stats are safe for concurrent use.
type Bridge struct {
	o         Options
	manifests *manifestCache
	audience  link.Audience // of the link; nil: it does not know who listens
	turns     *turns
	selects   *turns // campaigns that wait for their devices to be found
	fetches   *fetches
	egress    *egressGate
	versions  campaign.Versioned // of the store; nil: it has none
	plans     *plans
	scans     *scans
	progress  *progress
	slots     *slots
	speaker   *speaker
	receipts  *receipts
	underway  underway // hellos and reports that the store has not answered
	uploads   uploadLocks
	stats     counters
	events    chan event
	troubles  *troubles
}

// New returns a bridge that does nothing yet.
func New(o Options) (*Bridge, error) {
	if o.Store == nil || o.Link == nil || o.Catalogue == nil {
		return nil, errors.New("new bridge: Store, Link and Catalogue must be given")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Bulk == nil {
		o.Bulk = func() func() { return func() {} }
	}
	if o.CommitDeadline == 0 {
		o.CommitDeadline = DefaultCommitDeadline
	}
	if o.AbandonAfter == 0 {
		o.AbandonAfter = DefaultAbandonAfter
	}
	if o.MaxPacket == 0 {
		o.MaxPacket = DefaultMaxPacket
	}
	manifests := newManifestCache(maxCached)
	if o.Directory != nil {
		manifests = o.Directory.manifests // what the one forgets, the other must not serve
	}
	versions, _ := o.Store.(campaign.Versioned)
	audience, _ := o.Link.(link.Audience)
	unsent := func(a topics.Address, err error) {
		o.Logger.Debug("receipt could not be sent", "tenant", a.Tenant, "device", a.Device, "err", err)
	}
	return &Bridge{o: o, versions: versions, manifests: manifests, audience: audience, speaker: newSpeaker(), receipts: newReceipts(unsent), turns: newTurns(),
		selects: newTurns(), fetches: newFetches(), egress: newEgressGate(o.Egress), plans: newPlans(), scans: newScans(), progress: newProgress(), slots: newSlots(),
		troubles: newTroubles(), events: make(chan event, eventQueue)}, nil
}

// Run mends what a crash left, then drives campaigns and takes messages until ctx ends. It returns after all that it
// started has ended: nil when ctx ended, else what went wrong.
func (b *Bridge) Run(ctx context.Context) error {
	err := b.mend(ctx)
	if err == nil {
		b.speaker.start(b.say)
		g, gctx := errgroup.WithContext(ctx)
		g.Go(func() error { return b.runEngine(gctx) })
		g.Go(func() error { return b.runFetcher(gctx) })
		g.Go(func() error { return b.runProgress(gctx) })
		g.Go(func() error { return b.runEvents(gctx) })
		g.Go(func() error { return b.sweep(gctx) })
		g.Go(func() error { return b.keepHouse(gctx) })
		g.Go(func() error { return b.serveLink(gctx) })
		err = g.Wait()
		b.underway.wait() // the link has the last Ack; what follows from it is still to be said
		b.receipts.end()
		b.speaker.end()
		b.fetches.end()
		b.scans.end()
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("run bridge: %w", err)
}

func (b *Bridge) serveLink(ctx context.Context) error {
	if err := b.o.Link.Serve(ctx, b); err != nil {
		return fmt.Errorf("serve link: %w", err)
	}
	if ctx.Err() == nil {
		return errors.New("serve link: it ended by itself")
	}
	return nil
}

// commit runs fn in one transaction. The wait has the bridge's deadline, and ends with ctx only before fn has run; a
// failure of the store itself, as opposed to an error of fn, wraps campaign.ErrUnavailable.
func (b *Bridge) commit(ctx context.Context, fn func(campaign.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, b.o.CommitDeadline)
	defer cancel()
	began := b.o.Now()
	var refused error
	err := b.o.Store.Update(ctx, func(tx campaign.Tx) error {
		refused = fn(tx)
		return refused
	})
	if err == nil {
		b.stats.commits.add(b.o.Now().Sub(began))
		return nil
	}
	if refused != nil {
		return err
	}
	return fmt.Errorf("%w: %w", campaign.ErrUnavailable, err)
}
