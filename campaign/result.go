package campaign

import (
	"time"

	"fleetbridge/ident"
)

// Result is what a committed transaction obliges its caller to say, in order. Saying it again is harmless.
type Result struct {
	Offers      []Offer      // manifests to publish on devices' topics
	Clears      []Clear      // devices whose manifest topic lost a manifest
	Transitions []Transition // one per assignment that moved
	// Campaigns lists those whose progress changed or whose engine has work now.
	Campaigns []ident.Campaign
	Verdict   Verdict      // of a report or hello
	Permits   []PermitWord // what devices are to be told of their permits
}

// Offer is a manifest to be put on a device's topic.
type Offer struct {
	Device   ident.Device
	Manifest ident.Digest
	Campaign ident.Campaign
}

// Clear is a device whose manifest topic lost a manifest: it holds the one before, or nothing.
type Clear struct{ Device ident.Device }

// Transition is one assignment's move.
type Transition struct {
	Campaign ident.Campaign
	Device   ident.Device
	Wave     int
	From, To State
	Reason   string
	At       time.Time
}

// Verdict is what became of a report or hello.
type Verdict string

// The verdicts.
const (
	Recorded  Verdict = "recorded"
	Duplicate Verdict = "duplicate"
	Stale     Verdict = "stale"
	Unknown   Verdict = "unknown"
	NoRoom    Verdict = "no-room" // of a hello: one device too many for the quota
)
