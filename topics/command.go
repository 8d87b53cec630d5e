package topics

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"fleetbridge/ident"
)

// The bodies of commands and replies. JSON names here; CBOR has the same members under integer keys, see fleet.cddl.
// Every request may carry `request_id` (key 100), which the reply repeats, for MQTT 3.1.1 clients that have no
// Correlation Data.

// Page asks for a part of a list: at most Limit items (1 to 500, default 100) after Cursor.
type Page struct {
	Limit  int    `json:"limit,omitempty" cbor:"90,keyasint,omitempty"`
	Cursor string `json:"cursor,omitempty" cbor:"91,keyasint,omitempty"`
}

// List is a page of a list. Next is absent on the last page.
type List[T any] struct {
	Items []T    `json:"items" cbor:"1,keyasint"`
	Next  string `json:"next,omitempty" cbor:"2,keyasint,omitempty"`
}

// MarshalJSON writes an empty list as [], so that no reader has to expect null.
func (l List[T]) MarshalJSON() ([]byte, error) {
	type plain List[T]
	if l.Items == nil {
		l.Items = []T{}
	}
	return json.Marshal(plain(l))
}

// Tenant commands (admin only).
type (
	// TenantAdd creates a tenant. Again with the same name is not an error.
	TenantAdd struct {
		Tenant ident.Tenant `json:"tenant" cbor:"1,keyasint"`
		Name   string       `json:"name,omitempty" cbor:"2,keyasint,omitempty"`
	}
	// TenantView is a tenant as replies show it.
	TenantView struct {
		Tenant  ident.Tenant `json:"tenant" cbor:"1,keyasint"`
		Name    string       `json:"name,omitempty" cbor:"2,keyasint,omitempty"`
		Created time.Time    `json:"created" cbor:"3,keyasint"`
	}
)

// Credential commands. An operator manages its own tenant's; an admin names the tenant.
type (
	// CredentialAdd creates one credential, or one per entry of Names (at most 500). The tokens are in the reply and
	// nowhere else.
	CredentialAdd struct {
		Tenant ident.Tenant `json:"tenant,omitzero" cbor:"1,keyasint,omitzero"` // admin only
		Role   Role         `json:"role" cbor:"2,keyasint"`
		Names  []ident.Name `json:"names" cbor:"3,keyasint"`
	}
	// CredentialIssued is the reply: user names and tokens for CONNECT.
	CredentialIssued struct {
		Items []IssuedCredential `json:"items" cbor:"1,keyasint"`
	}
	// IssuedCredential is a new credential with its secret.
	IssuedCredential struct {
		User  string `json:"user" cbor:"1,keyasint"` // tenant/name
		Token string `json:"token" cbor:"2,keyasint"`
		Role  Role   `json:"role" cbor:"3,keyasint"`
	}
	// CredentialList lists credentials, without secrets.
	CredentialList struct {
		Page
		Tenant ident.Tenant `json:"tenant,omitzero" cbor:"1,keyasint,omitzero"`
	}
	// CredentialView is a credential without its secret.
	CredentialView struct {
		User    string    `json:"user" cbor:"1,keyasint"`
		Role    Role      `json:"role" cbor:"2,keyasint"`
		Created time.Time `json:"created" cbor:"3,keyasint"`
		Revoked bool      `json:"revoked,omitempty" cbor:"4,keyasint,omitempty"`
	}
	// CredentialRevoke ends a credential and its live connection.
	CredentialRevoke struct {
		Tenant ident.Tenant `json:"tenant,omitzero" cbor:"1,keyasint,omitzero"`
		Name   ident.Name   `json:"name" cbor:"2,keyasint"`
	}
)

// Trust commands.
type (
	// TrustAdd adds a trust anchor: one public key with one algorithm.
	TrustAdd struct {
		ID  ident.Key `json:"id" cbor:"1,keyasint"`
		Key []byte    `json:"key" cbor:"2,keyasint"`                     // PEM (SPKI) or COSE_Key
		Alg string    `json:"alg,omitempty" cbor:"3,keyasint,omitempty"` // ES256, ESP256, EdDSA, Ed25519; default: ESP256 or Ed25519
	}
	// AnchorView is a trust anchor as replies show it.
	AnchorView struct {
		ID          ident.Key    `json:"id" cbor:"1,keyasint"`
		Alg         string       `json:"alg" cbor:"2,keyasint"`
		Fingerprint ident.Digest `json:"fingerprint" cbor:"3,keyasint"` // SHA-256 of the SPKI
		Created     time.Time    `json:"created" cbor:"4,keyasint"`
		Revoked     bool         `json:"revoked,omitempty" cbor:"5,keyasint,omitempty"`
	}
)

// TrustRevoke revokes a trust anchor, for good.
type TrustRevoke struct {
	ID ident.Key `json:"id" cbor:"1,keyasint"`
}

// ManifestGet asks for one manifest.
type ManifestGet struct {
	Digest ident.Digest `json:"digest" cbor:"1,keyasint"`
}

// Payload commands. An upload is begun, appended to in order, and committed; each step may be repeated.
type (
	// PayloadBegin opens an upload, or finds the one that was interrupted.
	PayloadBegin struct {
		Digest ident.Digest `json:"digest" cbor:"1,keyasint"`
		Size   int64        `json:"size" cbor:"2,keyasint"`
		Name   string       `json:"name,omitempty" cbor:"3,keyasint,omitempty"`
	}
	// PayloadAppend adds bytes at Offset, which must be where the upload stands.
	PayloadAppend struct {
		Digest ident.Digest `json:"digest" cbor:"1,keyasint"`
		Offset int64        `json:"offset" cbor:"2,keyasint"`
		Data   []byte       `json:"data" cbor:"3,keyasint"`
	}
	// PayloadUpload says where an upload stands: Offset bytes are durable. MaxAppend is the most that one append takes.
	PayloadUpload struct {
		Digest    ident.Digest `json:"digest" cbor:"1,keyasint"`
		Offset    int64        `json:"offset" cbor:"2,keyasint"`
		Size      int64        `json:"size" cbor:"3,keyasint"`
		MaxAppend int64        `json:"max_append" cbor:"4,keyasint"`
		Complete  bool         `json:"complete,omitempty" cbor:"5,keyasint,omitempty"`
	}
	// PayloadCommit checks the digest of the whole and makes the payload available.
	PayloadCommit struct {
		Digest ident.Digest `json:"digest" cbor:"1,keyasint"`
	}
	// PayloadView is a payload as replies show it.
	PayloadView struct {
		Digest  ident.Digest `json:"digest" cbor:"1,keyasint"`
		Size    int64        `json:"size" cbor:"2,keyasint"`
		Name    string       `json:"name,omitempty" cbor:"3,keyasint,omitempty"`
		Created time.Time    `json:"created" cbor:"4,keyasint"`
	}
)

// Manifest commands.
type (
	// ManifestCreate uploads a signed SUIT envelope: checked, verified, then immutable under its digest.
	ManifestCreate struct {
		Envelope []byte `json:"envelope" cbor:"1,keyasint"`
	}
	// ManifestView is a manifest as replies show it. Digest is the SUIT digest of the manifest.
	ManifestView struct {
		Digest    ident.Digest `json:"digest" cbor:"1,keyasint"`
		Sequence  uint64       `json:"sequence" cbor:"2,keyasint"`
		Vendor    uuid.UUID    `json:"vendor" cbor:"3,keyasint"`
		Class     uuid.UUID    `json:"class" cbor:"4,keyasint"`
		Component string       `json:"component" cbor:"5,keyasint"`
		Payload   ident.Digest `json:"payload" cbor:"6,keyasint"`
		Size      int64        `json:"size" cbor:"7,keyasint"`
		URI       string       `json:"uri" cbor:"8,keyasint"`
		Version   string       `json:"version,omitempty" cbor:"9,keyasint,omitempty"`
		Keys      []string     `json:"keys" cbor:"10,keyasint"` // trust anchors that verified it, "id (alg)"
		Created   time.Time    `json:"created" cbor:"11,keyasint"`
	}
)

// Device commands.
type (
	// DeviceAdd registers a device and, when Credential is set, issues its credential.
	DeviceAdd struct {
		Device     ident.Device      `json:"device" cbor:"1,keyasint"`
		Vendor     uuid.UUID         `json:"vendor,omitzero" cbor:"2,keyasint,omitzero"`
		Class      uuid.UUID         `json:"class,omitzero" cbor:"3,keyasint,omitzero"`
		Labels     map[string]string `json:"labels,omitempty" cbor:"4,keyasint,omitempty"`
		Credential bool              `json:"credential,omitempty" cbor:"5,keyasint,omitempty"`
	}
	// DeviceGet asks for one device.
	DeviceGet struct {
		Device ident.Device `json:"device" cbor:"1,keyasint"`
	}
	// DeviceView is a device as replies show it. User and Token are in the reply to an add that asked for a credential.
	DeviceView struct {
		Device    ident.Device      `json:"device" cbor:"1,keyasint"`
		Vendor    uuid.UUID         `json:"vendor,omitzero" cbor:"2,keyasint,omitzero"`
		Class     uuid.UUID         `json:"class,omitzero" cbor:"3,keyasint,omitzero"`
		Installed []Installed       `json:"installed,omitempty" cbor:"4,keyasint,omitempty"`
		Boot      uint64            `json:"boot,omitempty" cbor:"5,keyasint,omitempty"`
		Labels    map[string]string `json:"labels,omitempty" cbor:"6,keyasint,omitempty"`
		LastSeen  time.Time         `json:"last_seen,omitzero" cbor:"7,keyasint,omitzero"`
		Connected bool              `json:"connected" cbor:"8,keyasint"`
		Live      []LiveView        `json:"live,omitempty" cbor:"9,keyasint,omitempty"` // what it is offered now
		Created   time.Time         `json:"created" cbor:"10,keyasint"`
		User      string            `json:"user,omitempty" cbor:"11,keyasint,omitempty"`
		Token     string            `json:"token,omitempty" cbor:"12,keyasint,omitempty"`
	}
	// LiveView is a live assignment of a device.
	LiveView struct {
		Campaign  ident.Campaign `json:"campaign" cbor:"1,keyasint"`
		Manifest  ident.Digest   `json:"manifest" cbor:"2,keyasint"`
		Component string         `json:"component" cbor:"3,keyasint"`
	}
)

// Campaign commands.
type (
	// CampaignCreate creates a draft. Creating is not starting.
	CampaignCreate struct {
		Campaign    ident.Campaign `json:"campaign" cbor:"1,keyasint"`
		Description string         `json:"description,omitempty" cbor:"2,keyasint,omitempty"`
		Manifest    ident.Digest   `json:"manifest" cbor:"3,keyasint"`
		Selection   Selection      `json:"selection,omitzero" cbor:"4,keyasint,omitzero"`
		Policy      Policy         `json:"policy,omitzero" cbor:"5,keyasint,omitzero"`
	}
	// Selection names devices: those listed, or all that carry the labels; with neither, every device whose vendor and
	// class are the manifest's.
	Selection struct {
		Devices []ident.Device    `json:"devices,omitempty" cbor:"1,keyasint,omitempty"` // at most 10,000
		Labels  map[string]string `json:"labels,omitempty" cbor:"2,keyasint,omitempty"`
	}
	// Policy is how a campaign rolls out. Percentages are 0 to 100; what is absent takes the default in parentheses.
	Policy struct {
		Waves          []Wave    `json:"waves,omitempty" cbor:"1,keyasint,omitempty"`           // (one wave of everything)
		InFlight       int       `json:"in_flight,omitempty" cbor:"2,keyasint,omitempty"`       // updates at once (no cap)
		SuccessPercent *float64  `json:"success_percent,omitempty" cbor:"3,keyasint,omitempty"` // gate to the next wave (90)
		FailurePercent *float64  `json:"failure_percent,omitempty" cbor:"4,keyasint,omitempty"` // stops the campaign above it (10)
		SilentPercent  *float64  `json:"silent_percent,omitempty" cbor:"5,keyasint,omitempty"`  // stops the campaign above it (100: never)
		MinSample      int       `json:"min_sample,omitempty" cbor:"6,keyasint,omitempty"`      // settled devices before a threshold counts (20)
		Deadlines      Deadlines `json:"deadlines,omitzero" cbor:"7,keyasint,omitzero"`
		// Within ends the campaign this long after its start (90 days at most, the default).
		Within Duration `json:"within,omitempty" cbor:"8,keyasint,omitempty"`
	}
	// Wave is one group, by count or by percent of the eligible devices; the last wave takes the rest whatever it says.
	Wave struct {
		Percent float64 `json:"percent,omitempty" cbor:"1,keyasint,omitempty"`
		Count   int     `json:"count,omitempty" cbor:"2,keyasint,omitempty"`
	}
	// Deadlines bound each state of an assignment: past it the device is silent. Defaults: offered 72h, others 24h.
	Deadlines struct {
		Offered     Duration `json:"offered,omitempty" cbor:"1,keyasint,omitempty"`
		Received    Duration `json:"received,omitempty" cbor:"2,keyasint,omitempty"`
		Downloading Duration `json:"downloading,omitempty" cbor:"3,keyasint,omitempty"`
		Downloaded  Duration `json:"downloaded,omitempty" cbor:"4,keyasint,omitempty"`
		Installing  Duration `json:"installing,omitempty" cbor:"5,keyasint,omitempty"`
		Rebooting   Duration `json:"rebooting,omitempty" cbor:"6,keyasint,omitempty"`
	}
	// CampaignRef names a campaign; IfRevision, when not 0, must be the campaign's revision.
	CampaignRef struct {
		Campaign   ident.Campaign `json:"campaign" cbor:"1,keyasint"`
		IfRevision uint64         `json:"if_revision,omitempty" cbor:"2,keyasint,omitempty"`
		Reason     string         `json:"reason,omitempty" cbor:"3,keyasint,omitempty"` // kept with a stop
	}
	// CampaignView is a campaign as replies show it.
	CampaignView struct {
		Campaign    ident.Campaign `json:"campaign" cbor:"1,keyasint"`
		Description string         `json:"description,omitempty" cbor:"2,keyasint,omitempty"`
		Manifest    ident.Digest   `json:"manifest" cbor:"3,keyasint"`
		Payload     ident.Digest   `json:"payload" cbor:"4,keyasint"`
		Size        int64          `json:"size" cbor:"5,keyasint"` // payload bytes
		Selection   Selection      `json:"selection" cbor:"6,keyasint"`
		Policy      Policy         `json:"policy" cbor:"7,keyasint"`
		State       string         `json:"state" cbor:"8,keyasint"`
		Step        string         `json:"step,omitempty" cbor:"9,keyasint,omitempty"`
		Outcome     string         `json:"outcome,omitempty" cbor:"10,keyasint,omitempty"`
		Reason      string         `json:"reason,omitempty" cbor:"11,keyasint,omitempty"`
		Revision    uint64         `json:"revision" cbor:"12,keyasint"`
		CreatedBy   string         `json:"created_by" cbor:"13,keyasint"`
		Created     time.Time      `json:"created" cbor:"14,keyasint"`
		Started     time.Time      `json:"started,omitzero" cbor:"15,keyasint,omitzero"`
		Active      time.Time      `json:"active,omitzero" cbor:"16,keyasint,omitzero"`
		Stopped     time.Time      `json:"stopped,omitzero" cbor:"17,keyasint,omitzero"`
		Progress    Progress       `json:"progress" cbor:"18,keyasint"`
	}
	// CampaignDevices lists assignments, all or those in one state.
	CampaignDevices struct {
		Page
		Campaign ident.Campaign `json:"campaign" cbor:"1,keyasint"`
		State    string         `json:"state,omitempty" cbor:"2,keyasint,omitempty"`
	}
	// AssignmentView is a device's part in a campaign.
	AssignmentView struct {
		Device   ident.Device `json:"device" cbor:"1,keyasint"`
		Wave     int          `json:"wave" cbor:"2,keyasint"` // from 1
		State    string       `json:"state" cbor:"3,keyasint"`
		Reason   string       `json:"reason,omitempty" cbor:"4,keyasint,omitempty"`
		Detail   string       `json:"detail,omitempty" cbor:"5,keyasint,omitempty"`
		Waiting  bool         `json:"waiting,omitempty" cbor:"6,keyasint,omitempty"` // busy with another campaign
		Offers   int          `json:"offers" cbor:"7,keyasint"`
		Bytes    uint64       `json:"bytes,omitempty" cbor:"8,keyasint,omitempty"` // reported progress
		Seq      uint64       `json:"seq,omitempty" cbor:"9,keyasint,omitempty"`   // of its last report
		Reports  uint64       `json:"reports" cbor:"10,keyasint"`                  // recorded, repeats included
		Updated  time.Time    `json:"updated" cbor:"11,keyasint"`
		Deadline time.Time    `json:"deadline,omitzero" cbor:"12,keyasint,omitzero"`
		Path     []StepView   `json:"path,omitempty" cbor:"13,keyasint,omitempty"`
	}
	// StepView is one step of an assignment's path.
	StepView struct {
		State  string    `json:"state" cbor:"1,keyasint"`
		Reason string    `json:"reason,omitempty" cbor:"2,keyasint,omitempty"`
		Seq    uint64    `json:"seq,omitempty" cbor:"3,keyasint,omitempty"`
		At     time.Time `json:"at" cbor:"4,keyasint"`
	}
	// Progress is the retained state of a campaign. Counts add up to Total.
	Progress struct {
		Campaign ident.Campaign    `json:"campaign" cbor:"1,keyasint"`
		State    string            `json:"state" cbor:"2,keyasint"`
		Outcome  string            `json:"outcome,omitempty" cbor:"3,keyasint,omitempty"`
		Reason   string            `json:"reason,omitempty" cbor:"4,keyasint,omitempty"`
		Total    uint64            `json:"total" cbor:"5,keyasint"`
		Counts   map[string]uint64 `json:"counts" cbor:"6,keyasint"` // by assignment state; states with none are left out
		Wave     int               `json:"wave" cbor:"7,keyasint"`   // the open wave, from 1
		Waves    []WaveProgress    `json:"waves,omitempty" cbor:"8,keyasint,omitempty"`
		Reports  uint64            `json:"reports" cbor:"9,keyasint"` // recorded, repeats included
		Revision uint64            `json:"revision" cbor:"10,keyasint"`
		At       time.Time         `json:"at" cbor:"11,keyasint"`
	}
	// WaveProgress is one wave's counts.
	WaveProgress struct {
		Total  uint64            `json:"total" cbor:"1,keyasint"`
		Counts map[string]uint64 `json:"counts" cbor:"2,keyasint"`
	}
	// Event is one transition of an assignment, published on the campaign's event topic.
	Event struct {
		Campaign ident.Campaign `json:"campaign" cbor:"1,keyasint"`
		Device   ident.Device   `json:"device" cbor:"2,keyasint"`
		From     string         `json:"from" cbor:"3,keyasint"`
		To       string         `json:"to" cbor:"4,keyasint"`
		Reason   string         `json:"reason,omitempty" cbor:"5,keyasint,omitempty"`
		Wave     int            `json:"wave" cbor:"6,keyasint"`
		At       time.Time      `json:"at" cbor:"7,keyasint"`
	}
)

// ServerInfo is the reply to server/info.
type ServerInfo struct {
	Version  string `json:"version" cbor:"1,keyasint"`
	Protocol int    `json:"protocol" cbor:"2,keyasint"` // the topics' version
	// MaxAppend and MaxPacket are what a client may send, in bytes.
	MaxAppend int64  `json:"max_append" cbor:"3,keyasint"`
	MaxPacket uint32 `json:"max_packet" cbor:"4,keyasint"`
}

// None is the body of a request that needs no member.
type None struct{}
