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

// ManifestGet asks for one manifest.
type ManifestGet struct {
	Digest ident.Digest `json:"digest" cbor:"1,keyasint"`
}

// ManifestDelete names the manifest to delete.
type ManifestDelete struct {
	Digest ident.Digest `json:"digest" cbor:"1,keyasint"`
}

// Manifest commands.
type (
	// ManifestCreate uploads a signed SUIT envelope: checked, verified, then immutable under its digest.
	ManifestCreate struct {
		Envelope []byte `json:"envelope" cbor:"1,keyasint"`
	}
	// ManifestView is a manifest as replies show it. Digest is the SUIT digest of the manifest; Payload and Size are of
	// the image, whose presence proves the install; Fetches are what a device may fetch for it, in the order of its tries.
	ManifestView struct {
		Digest    ident.Digest `json:"digest" cbor:"1,keyasint"`
		Sequence  uint64       `json:"sequence" cbor:"2,keyasint"`
		Vendor    uuid.UUID    `json:"vendor" cbor:"3,keyasint"`
		Class     uuid.UUID    `json:"class" cbor:"4,keyasint"`
		Component string       `json:"component" cbor:"5,keyasint"`
		Payload   ident.Digest `json:"payload" cbor:"6,keyasint"`
		Size      int64        `json:"size" cbor:"7,keyasint"`
		URI       string       `json:"uri" cbor:"8,keyasint"` // of the last of Fetches, for a device without a precursor
		Version   string       `json:"version,omitempty" cbor:"9,keyasint,omitempty"`
		Keys      []string     `json:"keys" cbor:"10,keyasint"` // trust anchors that verified it, "id (alg)"
		Created   time.Time    `json:"created" cbor:"11,keyasint"`
		Fetches   []FetchView  `json:"fetches,omitempty" cbor:"80,keyasint,omitempty"`
	}
	// FetchView is one payload that a device may fetch. Role is image, delta (Precursor is what it is applied to) or
	// ciphertext.
	FetchView struct {
		Role      string       `json:"role" cbor:"1,keyasint"`
		Payload   ident.Digest `json:"payload" cbor:"2,keyasint"`
		Size      int64        `json:"size" cbor:"3,keyasint"`
		URI       string       `json:"uri" cbor:"4,keyasint"`
		Precursor ident.Digest `json:"precursor,omitzero" cbor:"5,keyasint,omitzero"`
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
		Groups    []string          `json:"groups,omitempty" cbor:"13,keyasint,omitempty"`
		Facts     map[string]string `json:"facts,omitempty" cbor:"14,keyasint,omitempty"`    // the labels of its hello
		Failures  []FailureView     `json:"failures,omitempty" cbor:"17,keyasint,omitempty"` // payloads that failed here
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
	// CampaignUpdate edits a draft; after the start only its description. What is absent stays; a selection or a policy
	// is replaced as a whole.
	CampaignUpdate struct {
		Campaign    ident.Campaign `json:"campaign" cbor:"1,keyasint"`
		Description *string        `json:"description,omitempty" cbor:"2,keyasint,omitempty"`
		Manifest    ident.Digest   `json:"manifest,omitzero" cbor:"3,keyasint,omitzero"`
		Selection   *Selection     `json:"selection,omitempty" cbor:"4,keyasint,omitempty"`
		Policy      *Policy        `json:"policy,omitempty" cbor:"5,keyasint,omitempty"`
		IfRevision  uint64         `json:"if_revision,omitempty" cbor:"6,keyasint,omitempty"`
	}
	// Selection names devices: those listed, or, of the devices whose vendor and class are the manifest's, all that carry
	// the labels and pass the filter.
	Selection struct {
		Devices []ident.Device    `json:"devices,omitempty" cbor:"1,keyasint,omitempty"` // at most 10,000
		Labels  map[string]string `json:"labels,omitempty" cbor:"2,keyasint,omitempty"`
		Filter  string            `json:"filter,omitempty" cbor:"3,keyasint,omitempty"` // see docs/selector.md
		// From selects the devices of another campaign; it stands alone.
		From SelectionFrom `json:"from,omitzero" cbor:"7,keyasint,omitzero"`
		// Unjudged and Unjudgeable are told in replies: how many devices were left out because the filter failed on them,
		// and why it failed on the first.
		Unjudged    uint64 `json:"unjudged,omitempty" cbor:"4,keyasint,omitempty"`
		Unjudgeable string `json:"unjudgeable,omitempty" cbor:"5,keyasint,omitempty"`
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
		// Manual keeps each wave after the first shut until campaign/next.
		Manual  bool      `json:"manual,omitempty" cbor:"10,keyasint,omitempty"`
		Soak    Duration  `json:"soak,omitempty" cbor:"11,keyasint,omitempty"`    // so long a wave must meet its gate before the next opens (0s)
		StartAt time.Time `json:"start_at,omitzero" cbor:"12,keyasint,omitzero"`  // started earlier, it is scheduled until then
		EndAt   time.Time `json:"end_at,omitzero" cbor:"13,keyasint,omitzero"`    // expires then, if Within is not sooner
		Windows []Window  `json:"windows,omitempty" cbor:"14,keyasint,omitempty"` // offers go out only inside one of them (always)
		Rate    Rate      `json:"rate,omitzero" cbor:"15,keyasint,omitzero"`      // offers per minute (no bound)
		// WaveFailurePercent and WaveSilentPercent stop the campaign above it in any one wave; above 0 to 100 (never).
		WaveFailurePercent float64 `json:"wave_failure_percent,omitempty" cbor:"16,keyasint,omitempty"`
		WaveSilentPercent  float64 `json:"wave_silent_percent,omitempty" cbor:"17,keyasint,omitempty"`
		Priority           int     `json:"priority,omitempty" cbor:"18,keyasint,omitempty"` // 0 to 100: who has a device first that several campaigns wait for
		// Membership is one-shot (the default), or continuous: devices that come to match later join, and the campaign
		// does not end by itself.
		Membership string `json:"membership,omitempty" cbor:"20,keyasint,omitempty"`
		// Approval makes a started campaign wait until somebody who neither made, edited nor started it approves its plan.
		Approval bool `json:"approval,omitempty" cbor:"25,keyasint,omitempty"`
		// Stratify names a label; each of its values, none included, has a device in the first wave, which grows if it must.
		Stratify string `json:"stratify,omitempty" cbor:"26,keyasint,omitempty"`
		Retry    Retry  `json:"retry,omitzero" cbor:"30,keyasint,omitzero"` // which failures are tried again (none)
		// Poison is after how many failures of a payload on a device, in whatever campaign, it is not offered there (3).
		Poison int `json:"poison,omitempty" cbor:"31,keyasint,omitempty"`
		// StopWithin is after how long a stop passes over devices that it can't withdraw from (10m).
		StopWithin Duration   `json:"stop_within,omitempty" cbor:"32,keyasint,omitempty"`
		Permit     PermitRule `json:"permit,omitzero" cbor:"33,keyasint,omitzero"` // whether devices ask before they install (not)
	}

	// Wave is one group, by count, by percent of the eligible devices, or all that pass a filter (docs/selector.md); the
	// last wave takes the rest whatever it says, and has no filter.
	Wave struct {
		Percent float64 `json:"percent,omitempty" cbor:"1,keyasint,omitempty"`
		Count   int     `json:"count,omitempty" cbor:"2,keyasint,omitempty"`
		Filter  string  `json:"filter,omitempty" cbor:"3,keyasint,omitempty"`
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
		Reason     string         `json:"reason,omitempty" cbor:"3,keyasint,omitempty"` // kept with a stop or pause
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
		Released    int            `json:"released,omitempty" cbor:"20,keyasint,omitempty"`  // the last wave, from 1, that may open under a manual policy
		GateMet     time.Time      `json:"gate_met,omitzero" cbor:"21,keyasint,omitzero"`    // since when the open wave is done and meets its gate
		Abandoned   int            `json:"abandoned,omitempty" cbor:"30,keyasint,omitempty"` // devices that a stop could not withdraw from
		Plan        ident.Digest   `json:"plan,omitzero" cbor:"25,keyasint,omitzero"`        // what must run
		ApprovedBy  string         `json:"approved_by,omitempty" cbor:"26,keyasint,omitempty"`
		Approved    time.Time      `json:"approved,omitzero" cbor:"27,keyasint,omitzero"`
		EditedBy    []string       `json:"edited_by,omitempty" cbor:"28,keyasint,omitempty"` // others who changed the draft
		StartedBy   string         `json:"started_by,omitempty" cbor:"35,keyasint,omitempty"`
		StoppedBy   string         `json:"stopped_by,omitempty" cbor:"36,keyasint,omitempty"` // absent: the server stopped it
		Archived    time.Time      `json:"archived,omitzero" cbor:"37,keyasint,omitzero"`
		ArchivedBy  string         `json:"archived_by,omitempty" cbor:"38,keyasint,omitempty"` // absent: its age did it
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
		Retries  int          `json:"retries,omitempty" cbor:"14,keyasint,omitempty"` // failures that were tried again
		// Stop is what a stop of the campaign meant for the device: not-started, stopped, or too-late.
		Stop   string `json:"stop,omitempty" cbor:"15,keyasint,omitempty"`
		Permit string `json:"permit,omitempty" cbor:"16,keyasint,omitempty"` // waiting, granted, or lapsed: granted and not used
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
		// Reasons says why devices were not updated, the most frequent first; beyond 32 different ones it is "other".
		Reasons []ReasonCount `json:"reasons,omitempty" cbor:"12,keyasint,omitempty"`
		// Stops says of a campaign that was stopped, by whomever, what that means for its devices; they add up to those that
		// are done.
		Stops *StopCounts `json:"stops,omitempty" cbor:"60,keyasint,omitempty"`
	}
	// StopCounts is how many devices a stop came to before they were offered anything (or needed it), in time, and too late.
	StopCounts struct {
		NotStarted uint64 `json:"not_started" cbor:"1,keyasint"`
		Stopped    uint64 `json:"stopped" cbor:"2,keyasint"`
		TooLate    uint64 `json:"too_late" cbor:"3,keyasint"`
	}
	// ReasonCount is how many assignments stand in a state for a reason.
	ReasonCount struct {
		State  string `json:"state" cbor:"1,keyasint"`
		Reason string `json:"reason,omitempty" cbor:"2,keyasint,omitempty"`
		Count  uint64 `json:"count" cbor:"3,keyasint"`
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
