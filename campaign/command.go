package campaign

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fleetbridge/ident"
)

// Bounds of a spec.
const (
	MaxDescription = 2000 // bytes
	MaxSelected    = 10_000
	MaxLabels      = 16
	maxReason      = 256 // bytes
)

// NotFoundError names what was referred to and is not there. It wraps ErrNotFound.
type NotFoundError struct {
	Kind string // the noun of what was looked up: "campaign", "manifest", "device", …
	ID   string
}

// Error names the kind and the identifier.
func (e *NotFoundError) Error() string { return e.Kind + " " + e.ID + ": " + ErrNotFound.Error() }

// Unwrap returns ErrNotFound.
func (e *NotFoundError) Unwrap() error { return ErrNotFound }

// Spec is what Create makes a draft of.
type Spec struct {
	ID          ident.Campaign
	Description string
	Manifest    ident.Digest
	Selection   Selection
	Policy      Policy   // completed by Create; start from PolicyDefaults
	Seed        [16]byte // random, drawn by the caller
	By          string   // who asks
}

// phases is the life of a campaign: what may follow a phase.
var phases = map[Phase][]Phase{
	Draft:            {AwaitingApproval, Scheduled, Deleting},
	AwaitingApproval: {Draft, Scheduled},
	Scheduled:        {Starting, Stopping},
	Starting:         {Active, Stopping},
	Active:           {Paused, Stopping},
	Paused:           {Active, Stopping},
	Stopping:         {Stopped},
	Stopped:          {Archived, Deleting},
	Archived:         {Deleting},
}

// Create stores a draft. Creating is not starting: no device hears of it. The error is an *InvalidError, wraps
// ErrExists where the identifier is taken, or is a *NotFoundError for the manifest.
func Create(tx Tx, now time.Time, t ident.Tenant, s Spec) (Campaign, error) {
	s, err := s.complete()
	if err != nil {
		return Campaign{}, err
	}
	switch _, err := tx.Campaign(t, s.ID); {
	case err == nil:
		return Campaign{}, fmt.Errorf("create campaign %s: %w", s.ID, ErrExists)
	case !errors.Is(err, ErrNotFound):
		return Campaign{}, fmt.Errorf("read campaign: %w", err)
	}
	m, err := tx.Manifest(t, s.Manifest)
	if err != nil {
		return Campaign{}, missing(err, "manifest", s.Manifest)
	}
	c := Campaign{
		ID: s.ID, Description: s.Description, Manifest: m.Digest, Sequence: m.Sequence, Vendor: m.Vendor, Class: m.Class,
		Component: m.Component, Image: m.Image, Size: m.Download(), Algs: signedBy(m), Selection: s.Selection, Policy: s.Policy,
		Phase: Draft, Revision: 1, Seed: s.Seed, CreatedBy: s.By, Created: now,
	}
	if err := tx.PutCampaign(t, c); err != nil {
		return Campaign{}, fmt.Errorf("write campaign: %w", err)
	}
	return c, nil
}

// complete returns s with its policy complete and its list of devices sorted, each once; the error is an *InvalidError
// about everything that is wrong.
func (s Spec) complete() (Spec, error) {
	policy, err := s.Policy.Complete()
	var bad InvalidError
	if more, ok := errors.AsType[*InvalidError](err); ok {
		bad = *more
	} else if err != nil {
		return Spec{}, err
	}
	s.Policy = policy
	if s.ID.IsZero() {
		bad.add("/campaign", "missing")
	}
	if s.Manifest.IsZero() {
		bad.add("/manifest", "missing")
	}
	if len(s.Description) > MaxDescription {
		bad.Fields = append(bad.Fields, tooLong(s.Description).Fields...)
	}
	if len(s.Selection.Devices) > MaxSelected {
		bad.add("/selection/devices", "%d devices, at most %d", len(s.Selection.Devices), MaxSelected)
	}
	if len(s.Selection.Labels) > MaxLabels {
		bad.add("/selection/labels", "%d labels, at most %d", len(s.Selection.Labels), MaxLabels)
	}
	if len(s.Selection.Devices) > 0 && (len(s.Selection.Labels) > 0 || s.Selection.Filter != "") {
		bad.add("/selection", "a list of devices stands alone, without labels and filter")
	}
	s.Selection.From.check(&bad, s.Selection)
	if (len(s.Selection.Devices) > 0 || !s.Selection.From.IsZero()) && s.Policy.Membership == Continuous {
		bad.add("/policy/membership", "a list of devices can't grow: select by labels or a filter")
	}
	if _, err := compiled(s.Selection.Filter); err != nil {
		bad.add("/selection/filter", "%v", err)
	}
	devices := slices.Clone(s.Selection.Devices)
	slices.SortFunc(devices, func(a, b ident.Device) int { return cmp.Compare(a.String(), b.String()) })
	devices = slices.Compact(devices)
	if len(devices) > 0 && devices[0].IsZero() {
		bad.add("/selection/devices", "an empty identifier")
	}
	s.Selection.Devices, s.Selection.Labels = devices, maps.Clone(s.Selection.Labels)
	return s, bad.err()
}

func tooLong(description string) *InvalidError {
	var bad InvalidError
	bad.add("/description", "%d bytes, at most %d", len(description), MaxDescription)
	return &bad
}

// Start hands a draft to the engine. An ifRevision other than 0 must be the campaign's revision (ErrConflict); a campaign
// that is no draft gives ErrPhase, one whose time is over or whose policy wants an approval an *InvalidError.
func Start(tx Tx, now time.Time, t ident.Tenant, id ident.Campaign, ifRevision uint64, by string) (Campaign, Result, error) {
	return StartPlanned(tx, now, t, id, ifRevision, by, ident.Digest{})
}

// Stop ends a campaign that is scheduled, starting, active or paused: from this commit on nothing is offered, and the
// engine withdraws what is. Other phases give ErrPhase, another revision than ifRevision (if not 0) ErrConflict.
func Stop(tx Tx, now time.Time, t ident.Tenant, id ident.Campaign, ifRevision uint64, by, reason string) (Campaign, Result, error) {
	return command(tx, t, id, ifRevision, func(c *Campaign) error {
		c.StoppedBy = by
		return c.end(now, UserStopped, said("stopped by "+by, reason))
	})
}

// said is a reason of the campaign's record: who did what, and why if they said so.
func said(what, why string) string {
	if why != "" {
		what += ": " + why
	}
	return clip(what)
}

// command changes one campaign at a user's word.
func command(tx Tx, t ident.Tenant, id ident.Campaign, ifRevision uint64, change func(*Campaign) error) (Campaign, Result, error) {
	c, err := tx.Campaign(t, id)
	if err != nil {
		return Campaign{}, Result{}, missing(err, "campaign", id)
	}
	if ifRevision != 0 && ifRevision != c.Revision {
		return Campaign{}, Result{}, fmt.Errorf("campaign %s is at revision %d: %w", id, c.Revision, ErrConflict)
	}
	if err := change(&c); err != nil {
		return Campaign{}, Result{}, err
	}
	if err := tx.PutCampaign(t, c); err != nil {
		return Campaign{}, Result{}, fmt.Errorf("write campaign: %w", err)
	}
	return c, Result{Campaigns: []ident.Campaign{id}}, nil
}

// enter moves c to another phase and step, and counts the revision. The error wraps ErrPhase.
func (c *Campaign) enter(p Phase, s Step) error {
	if !slices.Contains(phases[c.Phase], p) {
		return fmt.Errorf("campaign %s is %s, can't become %s: %w", c.ID, c.Phase, p, ErrPhase)
	}
	c.Phase, c.Step = p, s
	c.Revision++
	return nil
}

// at moves c to another step of its phase.
func (c *Campaign) at(s Step) {
	if c.Step != s {
		c.Step = s
		c.Revision++
	}
}

// end begins the stop of c: the outcome is fixed, the engine withdraws the rest.
func (c *Campaign) end(now time.Time, o Outcome, reason string) error {
	if err := c.enter(Stopping, c.Step); err != nil {
		return err
	}
	c.Outcome, c.Reason, c.StoppingAt, c.Cursor = o, clip(reason), now, ident.Device{}
	return nil
}

// clip bounds a text that people read, at a border of its characters.
func clip(s string) string {
	if len(s) <= maxReason {
		return s
	}
	return strings.ToValidUTF8(s[:maxReason-3], "") + "..."
}

// missing makes a lookup's ErrNotFound a *NotFoundError.
func missing(err error, kind string, id fmt.Stringer) error {
	if errors.Is(err, ErrNotFound) {
		return &NotFoundError{kind, id.String()}
	}
	return fmt.Errorf("read %s: %w", kind, err)
}
