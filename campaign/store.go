package campaign

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"fleetbridge/firmware"
	"fleetbridge/ident"
)

// Errors that callers branch on.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("already exists")
	ErrConflict = errors.New("revision has moved on")
	ErrPhase    = errors.New("not possible in this phase")
	ErrClosed   = errors.New("store closed")
	// ErrUnavailable is wrapped by every error of a store that can't take or make durable what it was given (disk full,
	// failed commit, unreachable server): nothing about the request is wrong, and the same may succeed later.
	ErrUnavailable = errors.New("store unavailable")
)

// Store keeps the domain's records. storetest is its contract suite; each implementation passes the same one.
type Store interface {
	// Update runs fn in a transaction that sees every commit before it. nil means that what fn wrote is durable (fsync).
	// An error of fn, or of the commit, means that nothing of it is there, and is returned. fn may run more than once,
	// so it sends nothing, logs nothing, draws no identifier, and touches captured state only to overwrite a result. It
	// must be quick: transactions of all callers run one after the other and share an fsync.
	Update(ctx context.Context, fn func(Tx) error) error
	// Submit runs fn as Update does and does not wait for the commit: done gets what Update would return, exactly once, when
	// fn's writes are durable and seen by whoever reads from then on, or when they are not going to be. The functions of one
	// caller run in the order in which it submitted them, and their dones are called in that order. While the store has more
	// to do than it holds, Submit waits for room, at most until ctx ends; done then gets ctx's error, on the caller's own
	// goroutine and before Submit returns, as where the store is closed. done is quick, waits for nobody, and calls neither Update, Submit nor Close: the
	// answers to others wait for it. Close waits for it.
	Submit(ctx context.Context, fn func(Tx) error, done func(error))
	// View runs fn on a consistent snapshot.
	View(ctx context.Context, fn func(Reader) error) error
	// Close waits for the transactions under way. Later calls get ErrClosed.
	Close() error
}

// Reader reads records. Everything is seen through a tenant: no method crosses one. A single record that is not there
// is ErrNotFound (where a zero value has a meaning, it says so). Lists are in the byte order of their identifiers, start
// after the given one (zero: from the first) and hold at most limit items.
type Reader interface {
	Tenant(ident.Tenant) (Tenant, error)
	Tenants(after ident.Tenant, limit int) ([]Tenant, error)
	Credential(ident.Tenant, ident.Name) (Credential, error)
	Credentials(t ident.Tenant, after ident.Name, limit int) ([]Credential, error)
	Anchor(ident.Tenant, ident.Key) (firmware.Anchor, error)
	Anchors(t ident.Tenant, after ident.Key, limit int) ([]firmware.Anchor, error)
	Payload(ident.Tenant, ident.Digest) (firmware.Payload, error)
	Payloads(t ident.Tenant, after ident.Digest, limit int) ([]firmware.Payload, error)
	Manifest(ident.Tenant, ident.Digest) (firmware.Manifest, error)
	Manifests(t ident.Tenant, after ident.Digest, limit int) ([]firmware.Manifest, error)
	// FetchedBy lists the manifests that fetch a payload, from an index: no manifest is read.
	FetchedBy(t ident.Tenant, payload, after ident.Digest, limit int) ([]ident.Digest, error)
	// NeededBy lists the campaigns that need a manifest, see Phase.NeedsManifest, from an index: no campaign is read.
	NeededBy(t ident.Tenant, manifest ident.Digest, after ident.Campaign, limit int) ([]ident.Campaign, error)
	// UseIndex counts what FetchedBy and NeededBy list.
	UseIndex(ident.Tenant) (UseIndex, error)
	// Floor returns the zero value where nothing was published yet.
	Floor(t ident.Tenant, vendor, class uuid.UUID, component string) (Floor, error)
	Device(ident.Tenant, ident.Device) (Device, error)
	// Boot is the Boot of a device's record; 0 where there is none. It costs less than the record: every report asks.
	Boot(ident.Tenant, ident.Device) (uint64, error)
	Devices(t ident.Tenant, after ident.Device, limit int) ([]Device, error)
	// DevicesOf reads the records of devices that are in order, each once; the zero value stands for one that is not there.
	// It costs less than asking for each.
	DevicesOf(ident.Tenant, []ident.Device) ([]Device, error)
	// DeviceCount is how many devices are registered. It reads no device.
	DeviceCount(ident.Tenant) (uint64, error)
	// Narrow lists the devices of n by their identifier, from indexes alone: no device record is read. It looks at no
	// more than limit entries of an index, so that fewer devices than limit do not mean the end; it goes on after next,
	// which is zero at the end.
	Narrow(t ident.Tenant, n Narrow, after ident.Device, limit int) (ids []ident.Device, next ident.Device, err error)
	// Work returns the zero value for a device that has none.
	Work(ident.Tenant, ident.Device) (Work, error)
	// WorksOf reads the work of devices as DevicesOf does their records.
	WorksOf(ident.Tenant, []ident.Device) ([]Work, error)
	// Works lists the devices that have a live assignment.
	Works(t ident.Tenant, after ident.Device, limit int) ([]DeviceWork, error)
	Campaign(ident.Tenant, ident.Campaign) (Campaign, error)
	Campaigns(t ident.Tenant, after ident.Campaign, limit int) ([]Campaign, error)
	// Running lists the campaigns whose phase is Running.
	Running(t ident.Tenant, after ident.Campaign, limit int) ([]Campaign, error)
	// Ended lists the campaigns in phase Stopped, or in phase Archived, that stopped at or before until, the earliest first.
	Ended(t ident.Tenant, p Phase, until time.Time, limit int) ([]Campaign, error)
	// Continuous lists the campaigns that are Joinable, all of them. It is quick: every hello asks.
	Continuous(ident.Tenant) ([]ident.Campaign, error)
	Assignment(ident.Tenant, ident.Campaign, ident.Device) (Assignment, error)
	// Assignments lists those of a campaign by device.
	Assignments(t ident.Tenant, c ident.Campaign, after ident.Device, limit int) ([]Assignment, error)
	// InState lists those in one state by (wave, order, device), after the given one; the waiting and the unpaid ones
	// are left out.
	InState(t ident.Tenant, c ident.Campaign, s State, after Place, limit int) ([]Assignment, error)
	// Unpaid lists those that are Unpaid by (wave, order, device); InState leaves them out.
	Unpaid(t ident.Tenant, c ident.Campaign, limit int) ([]Assignment, error)
	// StateIndex counts what InState lists.
	StateIndex(ident.Tenant, ident.Campaign) (StateIndex, error)
	// DueBy lists those whose Due is not zero and not after until, the earliest first.
	DueBy(t ident.Tenant, c ident.Campaign, until time.Time, limit int) ([]Assignment, error)
	// NextDue is when DueBy is to be asked next: the earliest Due of a campaign's assignments, or earlier, where one has moved
	// away from there since. An Update that asks DueBy then learns where it is. Zero if there is none.
	NextDue(ident.Tenant, ident.Campaign) (time.Time, error)
	// Asking lists those that are InLine for a value, by the time at which they asked, then by device.
	Asking(t ident.Tenant, c ident.Campaign, value string, limit int) ([]Assignment, error)
	// Counts returns the zero value for a campaign without assignments.
	Counts(ident.Tenant, ident.Campaign) (Counts, error)
	// AuditHead is the last entry of a tenant's audit log; zero if there is none.
	AuditHead(ident.Tenant) (AuditEntry, error)
	// Audits lists entries by number.
	Audits(t ident.Tenant, after uint64, limit int) ([]AuditEntry, error)
	// CampaignAudits lists those about one campaign.
	CampaignAudits(t ident.Tenant, c ident.Campaign, after uint64, limit int) ([]AuditEntry, error)
	// Quota returns the zero value, which limits nothing, where none was put.
	Quota(ident.Tenant) (Quota, error)
	// TurnedAway returns the zero value where no device was.
	TurnedAway(ident.Tenant) (TurnedAway, error)
	// Ledger lists the entries of the quota's ledger by number.
	Ledger(t ident.Tenant, after uint64, limit int) ([]LedgerEntry, error)
	// Reply finds the stored reply to a principal's command; ErrNotFound also when it has expired at now.
	Reply(t ident.Tenant, n ident.Name, key string, now time.Time) (StoredReply, error)
}

// Tx reads its own writes, and puts and deletes records. A put replaces the record of the same identifier and takes what it
// is given: nobody writes into a slice or map of it afterwards, nor ever into an Assignment's Path. PutAssignment
// and PutCampaign keep the indexes and counts behind InState, DueBy, NextDue, Asking, Counts and Running in the same commit,
// PutDevice those behind Narrow and DeviceCount, PutManifest and PutCampaign those behind FetchedBy and NeededBy.
type Tx interface {
	Reader
	PutTenant(Tenant) error
	PutCredential(ident.Tenant, Credential) error
	PutAnchor(ident.Tenant, firmware.Anchor) error
	PutPayload(ident.Tenant, firmware.Payload) error
	// DeletePayload deletes the record; one that is not there is no error.
	DeletePayload(ident.Tenant, ident.Digest) error
	PutManifest(ident.Tenant, firmware.Manifest) error
	// DeleteManifest deletes the record; one that is not there is no error.
	DeleteManifest(ident.Tenant, ident.Digest) error
	PutFloor(t ident.Tenant, vendor, class uuid.UUID, component string, f Floor) error
	PutDevice(ident.Tenant, Device) error
	// PutWork with the zero value deletes the record.
	PutWork(ident.Tenant, ident.Device, Work) error
	PutCampaign(ident.Tenant, Campaign) error
	PutAssignment(ident.Tenant, Assignment) error
	// DeleteAssignment takes an assignment out of the indexes and counts too; one that is not there is no error.
	DeleteAssignment(ident.Tenant, ident.Campaign, ident.Device) error
	// DeleteCampaign deletes the record; its assignments must be gone before.
	DeleteCampaign(ident.Tenant, ident.Campaign) error
	// PutAudit appends: the number must be the one after the head's, and no entry is ever replaced.
	PutAudit(ident.Tenant, AuditEntry) error
	PutQuota(ident.Tenant, Quota) error
	PutTurnedAway(ident.Tenant, TurnedAway) error
	// PutLedger appends: no entry is ever replaced.
	PutLedger(ident.Tenant, LedgerEntry) error
	PutReply(t ident.Tenant, n ident.Name, key string, r StoredReply) error
	// ExpireReplies deletes at most limit replies of a tenant that have expired at now, and says how many.
	ExpireReplies(t ident.Tenant, now time.Time, limit int) (int, error)
}

// DeviceWork is a device and its work.
type DeviceWork struct {
	Device ident.Device
	Work   Work
}

// StateIndex is how many assignments of a campaign InState lists in each state, told twice, so that a check can compare:
// by the entries of the index, one by one, and by what is kept of it in memory (nil: nothing is).
type StateIndex struct {
	Entries map[State]int
	Kept    map[State]int
}

// UseIndex is how many entries the indexes of what manifests fetch and of what campaigns need have, counted one by one.
type UseIndex struct {
	Fetched int
	Needed  int
}

// Narrow is what the indexes of the registry know: the devices of one vendor and class that carry all Labels and are in
// all Groups. With a zero Vendor and Class, of any.
type Narrow struct {
	Vendor uuid.UUID
	Class  uuid.UUID
	Labels map[string]string
	Groups []string
}

// Place is where an assignment stands within its state; the zero value is before all.
type Place struct {
	Wave   int
	Order  uint64
	Device ident.Device
}

// Place returns a's place.
func (a Assignment) Place() Place { return Place{a.Wave, a.Order, a.Device} }
