// Package campaign is the domain: campaigns, the selection of devices, rollout policies, assignments and the engine that
// moves them. It is pure. Nothing in it reads a clock, draws an identifier, does I/O or logs: time, identifiers and seeds
// come in as arguments, records are read and written through a Tx.
//
// Create, Start, Stop, Advance, ApplyReport, ApplyHello and Sweep are each one step inside one Store.Update. They may be
// run again on the same records and then return the same; what they return (Result) holds only once the transaction is
// durable, and saying it again is harmless. The caller that crashes between commit and saying calls Advance for every
// running campaign at its next start: no step depends on what an earlier one kept in memory.
//
// It knows neither topics nor wire bodies; the bridge translates. See DESIGN.md beside this file.
package campaign

import (
	"time"

	"github.com/google/uuid"

	"fleetbridge/ident"
)

// State is where an assignment stands. States are words in the store, on the wire and in logs.
type State string

// The states of an assignment (DESIGN.md, "An assignment").
const (
	Pending      State = "pending"
	Offered      State = "offered"
	Received     State = "received"
	Downloading  State = "downloading"
	Downloaded   State = "downloaded"
	Installing   State = "installing"
	Rebooting    State = "rebooting"
	Retrying     State = "retrying" // failed for a reason that the policy tries again: pending after a while
	Confirmed    State = "confirmed"
	Skipped      State = "skipped"
	Failed       State = "failed"
	Rejected     State = "rejected"
	Silent       State = "silent"
	Withdrawn    State = "withdrawn"
	Deregistered State = "deregistered"
	Reverted     State = "reverted"
)

// States lists every state in the order in which people read them.
var States = []State{Pending, Offered, Received, Downloading, Downloaded, Installing, Rebooting,
	Retrying, Confirmed, Skipped, Failed, Rejected, Silent, Withdrawn, Deregistered, Reverted}

// Live reports whether an assignment in state s holds the device's slot: the manifest is retained for it.
func (s State) Live() bool {
	switch s {
	case Offered, Received, Downloading, Downloaded, Installing, Rebooting:
		return true
	}
	return false
}

// Settled reports whether an assignment in state s waits for nothing. A silent, failed or withdrawn device may still
// come back; its campaign does not wait for it.
func (s State) Settled() bool { return s != Pending && s != Retrying && !s.Live() }

// Phase is where a campaign stands (DESIGN.md, "A campaign").
type Phase string

// The phases of a campaign.
const (
	Draft            Phase = "draft"
	AwaitingApproval Phase = "awaiting_approval"
	Scheduled        Phase = "scheduled"
	Starting         Phase = "starting"
	Active           Phase = "active"
	Paused           Phase = "paused"
	Stopping         Phase = "stopping"
	Stopped          Phase = "stopped"
	Archived         Phase = "archived"
	Deleting         Phase = "deleting" // its records are being taken out of the store
)

// Running reports whether the engine has work with a campaign in phase p.
func (p Phase) Running() bool {
	switch p {
	case Scheduled, Starting, Active, Paused, Stopping, Deleting:
		return true
	}
	return false
}

// Step is the fine state within a phase.
type Step string

// The steps that the engine passes.
const (
	CheckingManifest Step = "checkingmanifest"
	DeviceFetch      Step = "devicefetch" // selecting: wave bounds are being fixed
	DeviceCopy       Step = "devicecopy"  // freezing: assignments are being written
	Publishing       Step = "publishing"  // offers of the open wave are going out
	Deploying        Step = "deploying"   // waiting for reports
	Soaking          Step = "soaking"     // the open wave met its gate and must stay so for Policy.Soak
	AwaitingRelease  Step = "awaitingrelease"
	OutsideWindow    Step = "outsidewindow"
	ManifestRemoved  Step = "manifestremoved"
	GivingUp         Step = "givingup" // stopping has taken too long: what can't be withdrawn is passed over
)

// Outcome says how a campaign ended.
type Outcome string

// The outcomes of a stopped campaign.
const (
	Succeeded   Outcome = "succeeded"
	AutoStopped Outcome = "autostopped" // a threshold was passed
	UserStopped Outcome = "userstopped"
	Expired     Outcome = "expired"
	Refused     Outcome = "refused" // the check at start said no
)

// Tenant is a party whose devices, keys and campaigns nobody else sees.
type Tenant struct {
	ID      ident.Tenant
	Name    string
	Created time.Time
}

// Credential lets a principal connect. Hash is SHA-256 of a 256-bit random token; the token itself is stored nowhere.
type Credential struct {
	Name    ident.Name
	Role    string // a role word of the wire
	Hash    [32]byte
	Created time.Time
	Revoked time.Time // zero while live
}

// Image is what a component of a device holds, as the device measured it.
type Image struct {
	Component string
	Digest    ident.Digest
	Sequence  uint64
	Version   string
}

// Device is what the registry knows of a device: facts from its hello, and labels.
type Device struct {
	ID        ident.Device
	Vendor    uuid.UUID
	Class     uuid.UUID
	Installed []Image
	Boot      uint64
	MaxChunk  uint32
	Algs      []int64
	Facts     map[string]string // labels from hello
	Labels    map[string]string // set by operators
	Groups    []string          // set by operators, sorted, each once
	HelloSeq  uint64            // of the newest hello or report whose facts are kept here
	LastSeen  time.Time         // zero before the first hello
	Created   time.Time
}

// Work is what one device has on its hands: at most one live manifest per component, the campaigns that wait for it,
// and the latest assignments, so that a late report finds its own.
type Work struct {
	Live     []Live           // in the order of publication: the manifest topic shows the last
	Waiting  []ident.Campaign // at most MaxWaiting
	Recent   []Live           // newest first, at most MaxRecent, live ones included
	Failures []Failure        // at most MaxFailures
}

// Bounds of Work. Recent drops its oldest entry that is not live; a campaign that would be one too many in Waiting skips
// the device.
const (
	MaxRecent  = 8
	MaxWaiting = 16
)

// MaxInstalled bounds Device.Installed.
const MaxInstalled = 16

// Live names an assignment by what a report carries.
type Live struct {
	Component string
	Manifest  ident.Digest
	Campaign  ident.Campaign
}

// Assignment is one device's part in one campaign.
type Assignment struct {
	Campaign  ident.Campaign
	Device    ident.Device
	Manifest  ident.Digest
	Component string
	Image     ident.Digest // the installed digest that proves the update
	Wave      int          // from 0
	Order     uint64       // keyed hash: place within the wave
	State     State
	Reason    string
	Detail    string
	Waiting   bool // pending, and the device is busy with another campaign
	Unpaid    bool // pending, and the tenant's quota has no update for it yet
	Offers    int
	Retries   int // how often a failure was tried again
	Permit    Permit
	NextOffer time.Time // when an unanswered offer is published again, if that is before Deadline; zero: not again
	Deadline  time.Time // when a live state turns silent, or a failure is tried again; zero: none
	Seq       uint64    // of the newest report
	Boot      uint64    // from the newest report or hello that gave one
	Bytes     uint64    // of the payload, as reported
	Reports   uint64    // recorded, duplicates and stale ones included
	Charged   bool      // the device said a word about an offer: it counts as an update of the quota
	Updated   time.Time
	Path      []PathStep // at most MaxPath; when full, the second half rolls
}

// MaxPath bounds Assignment.Path.
const MaxPath = 24

// PathStep is one transition of an assignment.
type PathStep struct {
	State  State
	Reason string
	Seq    uint64 // of the report that caused it, 0 if none did
	At     time.Time
}

// Due is when the engine must look at a without being told; zero means never.
func (a Assignment) Due() time.Time {
	if a.State == Retrying {
		return a.Deadline
	}
	if next := a.Permit.Next; a.State == Downloaded && !next.IsZero() && (a.Deadline.IsZero() || next.Before(a.Deadline)) {
		return next
	}
	if !a.State.Live() {
		return time.Time{}
	}
	if a.State == Offered && !a.NextOffer.IsZero() && (a.Deadline.IsZero() || a.NextOffer.Before(a.Deadline)) {
		return a.NextOffer
	}
	return a.Deadline
}

// Selection names the devices of a campaign: those listed, or, of the devices whose vendor and class are the manifest's,
// all that carry Labels and pass the Filter.
type Selection struct {
	Devices []ident.Device
	Labels  map[string]string
	Filter  string // of package selector; "": all pass
	From    From   // stands alone
}

// Wave is one group of a campaign: Percent of the eligible devices, a Count of them (decision 0020), or all that pass a
// Filter.
type Wave struct {
	Percent float64
	Count   int
	Filter  string // of package selector
}

// Policy is how a campaign rolls out. In a Campaign it is complete, see Complete.
type Policy struct {
	Waves          []Wave
	InFlight       int // 0: no cap
	SuccessPercent float64
	FailurePercent float64
	SilentPercent  float64
	MinSample      int
	Deadlines      map[State]time.Duration // one for each live state
	Within         time.Duration
	Membership     Membership
	Approval       bool   // somebody else than who made and started it has to approve its plan
	Stratify       string // a label each of whose values has a device in the first wave; "": no such rule
	Rollout
	Recovery
}

// Campaign is one manifest offered to a selection of devices under a policy.
type Campaign struct {
	ID          ident.Campaign
	Description string
	Manifest    ident.Digest
	Sequence    uint64 // of the manifest, as are the five below
	Vendor      uuid.UUID
	Class       uuid.UUID
	Component   string
	Image       ident.Digest
	Size        int64   // bytes that a device downloads, at most
	Algs        []int64 // COSE algorithms of the trust anchors that stand behind the manifest; none: it is not known which
	Selection   Selection
	Policy      Policy
	Phase       Phase
	Step        Step
	Outcome     Outcome
	Reason      string
	Revision    uint64
	Seed        [16]byte     // keys the order of devices; drawn by the caller of Create
	Bounds      []uint64     // wave i takes orders up to Bounds[i]; fixed by DeviceFetch
	Cursor      ident.Device // DeviceCopy goes on after it
	SelectAt    time.Time    // the moment that the filter is asked about while devices are frozen
	Unjudged    uint64       // devices that DeviceFetch left out because the filter failed on them
	Unjudgeable string       // why it failed on the first of them
	Open        int          // the open wave, from 0
	CreatedBy   string
	StartedBy   string
	StoppedBy   string // "" if the engine stopped it
	Created     time.Time
	Started     time.Time
	ActiveAt    time.Time
	StoppingAt  time.Time
	StoppedAt   time.Time
	ArchivedBy  string // "" if its age did it
	ArchivedAt  time.Time
	Metered     bool     // updates were counted when it became active, so that its devices use them up
	Reserved    uint64   // updates of the quota, until it has stopped
	Abandoned   int      // devices that a stop could not withdraw from
	First       []uint64 // orders of the first wave beyond its bound, sorted
	Agreement
	Pace
}

// StoredReply is the answer that a command with an idempotency key got.
type StoredReply struct {
	Body    ident.Digest // of the request
	Status  int
	Reply   []byte
	Type    string // content type of Reply
	Expires time.Time
}

// Floor is the highest sequence number that a tenant published for one (vendor, class, component).
type Floor struct {
	Sequence uint64
	Manifest ident.Digest
}
