package topics

import (
	"time"

	"fleetbridge/ident"
)

// Commands that answer questions about what happened, and why something did not.
type (
	// DeviceWhy asks why a device is not updated, by the campaigns that could, or by one of them.
	DeviceWhy struct {
		Device   ident.Device   `json:"device" cbor:"1,keyasint"`
		Campaign ident.Campaign `json:"campaign,omitzero" cbor:"2,keyasint,omitzero"`
	}
	// DeviceAnswer is the reply. More says that other campaigns run that are not in it: name one to hear of it.
	DeviceAnswer struct {
		Device    ident.Device `json:"device" cbor:"1,keyasint"`
		Connected bool         `json:"connected" cbor:"2,keyasint"`
		LastSeen  time.Time    `json:"last_seen,omitzero" cbor:"3,keyasint,omitzero"`
		Campaigns []WhyView    `json:"campaigns" cbor:"4,keyasint"`
		More      bool         `json:"more,omitempty" cbor:"5,keyasint,omitempty"`
	}
	// WhyView says why one campaign has, or has not, updated the device.
	WhyView struct {
		Campaign      ident.Campaign `json:"campaign" cbor:"1,keyasint"`
		CampaignState string         `json:"campaign_state" cbor:"2,keyasint"`
		State         string         `json:"state,omitempty" cbor:"3,keyasint,omitempty"` // of the assignment; absent: it has none
		Why           string         `json:"why" cbor:"4,keyasint"`
		Reason        string         `json:"reason,omitempty" cbor:"5,keyasint,omitempty"`
		Detail        string         `json:"detail,omitempty" cbor:"6,keyasint,omitempty"`
		Wave          int            `json:"wave,omitempty" cbor:"7,keyasint,omitempty"` // from 1
		Offers        int            `json:"offers,omitempty" cbor:"8,keyasint,omitempty"`
		Since         time.Time      `json:"since,omitzero" cbor:"9,keyasint,omitzero"`
		Until         time.Time      `json:"until,omitzero" cbor:"10,keyasint,omitzero"`
		Blocker       ident.Campaign `json:"blocker,omitzero" cbor:"11,keyasint,omitzero"` // who holds the device
	}
	// CampaignReport asks for the whole record of a campaign, page by page.
	CampaignReport struct {
		Page
		Campaign ident.Campaign `json:"campaign" cbor:"1,keyasint"`
		Format   string         `json:"format,omitempty" cbor:"2,keyasint,omitempty"` // json (default) or csv
	}
	// CampaignReportPage is one page of it. Campaign and Actions are in the first; Items, or with csv their rows, in each.
	CampaignReportPage struct {
		Campaign *CampaignView    `json:"campaign,omitempty" cbor:"1,keyasint,omitempty"`
		Actions  []ActionView     `json:"actions,omitempty" cbor:"2,keyasint,omitempty"`
		Items    []AssignmentView `json:"items,omitempty" cbor:"3,keyasint,omitempty"`
		CSV      string           `json:"csv,omitempty" cbor:"4,keyasint,omitempty"`
		Next     string           `json:"next,omitempty" cbor:"5,keyasint,omitempty"`
	}
	// ActionView is something that happened to a campaign as a whole.
	ActionView struct {
		Action string    `json:"action" cbor:"1,keyasint"`
		By     string    `json:"by,omitempty" cbor:"2,keyasint,omitempty"` // absent: the server
		At     time.Time `json:"at" cbor:"3,keyasint"`
		Detail string    `json:"detail,omitempty" cbor:"4,keyasint,omitempty"`
	}
)

// The formats of a campaign's report.
const (
	ReportJSON = "json"
	ReportCSV  = "csv"
)

// Validate returns nil or FieldErrors.
func (r DeviceWhy) Validate() error {
	var f faults
	f.check(!r.Device.IsZero(), "/device", "required")
	return f.err()
}

// Validate returns nil or FieldErrors.
func (r CampaignReport) Validate() error {
	var f faults
	f.page(r.Page)
	f.check(!r.Campaign.IsZero(), "/campaign", "required")
	f.check(r.Format == "" || r.Format == ReportJSON || r.Format == ReportCSV, "/format", "json or csv")
	return f.err()
}
