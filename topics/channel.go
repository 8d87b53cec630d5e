// Package topics is the contract between fleetbridge and everything that speaks to it over MQTT: the grammar of topics,
// who may use which topic, the messages with their CBOR and JSON codecs, the words on the wire, and the registry of
// commands and problems. Everything is a pure function or a constant table: no I/O, no clock, no logger, no random, so a
// device vendor can read it alone. docs/topics is the same contract in prose, CDDL and AsyncAPI; tests hold them together.
//
// All functions are safe for concurrent use; the exported tables must not be changed.
package topics

// Channel is a kind of topic.
type Channel string

// The channels of version 1.
const (
	ChannelHello    Channel = "hello"
	ChannelManifest Channel = "manifest"
	ChannelReport   Channel = "report"
	ChannelReceipt  Channel = "receipt"
	ChannelFetch    Channel = "fetch"
	ChannelChunk    Channel = "chunk"
	ChannelPermit   Channel = "permit"
	ChannelCommand  Channel = "command"
	ChannelReply    Channel = "reply"
	ChannelProgress Channel = "progress"
	ChannelEvent    Channel = "event"
)

// Uplink reports whether clients publish on c and the bridge takes it.
func (c Channel) Uplink() bool {
	switch c {
	case ChannelHello, ChannelReport, ChannelFetch, ChannelCommand:
		return true
	}
	return false
}

// Bodies of the channels that fleetbridge takes, in bytes; what is larger is refused before any work.
const (
	// MaxBody is the largest body of any channel, replies included.
	MaxBody        = 256 << 10
	MaxHelloBody   = 16 << 10
	MaxReportBody  = 8 << 10
	MaxFetchBody   = 1 << 10
	MaxReceiptBody = 1 << 10
)

// ChannelSpec is one row of the channel table: the one source of the access rules, of the reference and of AsyncAPI.
// A principal only ever acts within its own tenant; `{device}` is its own name for a device, `{client}` for the others.
type ChannelSpec struct {
	Channel Channel
	// Pattern is the topic with its variable levels in braces. The reply channel may have up to MaxTail more levels.
	Pattern string
	// QoS is the highest that the contract uses; lower is always allowed. The embedded broker grants 0 to every
	// subscriber: nothing is lost by it, since each channel has its own way to ask again.
	QoS byte
	// Retained says that the topic has a state, which a later subscriber gets at once.
	Retained bool
	// MaxBody is in bytes.
	MaxBody int
	// Body is the zero value of the message; nil where it depends on the command, or is raw bytes.
	Body any
	// Publish and Subscribe list the roles that may; only fleetbridge itself publishes where Publish is empty.
	Publish   []Role
	Subscribe []Role
	Summary   string
}

// Channels is the channel table of docs/topics.
var Channels = []ChannelSpec{
	{ChannelHello, "fleet/v1/{tenant}/device/{device}/hello", 1, false, MaxHelloBody, Hello{},
		[]Role{RoleDevice}, []Role{RoleOperator, RoleViewer}, "What a device says of itself after each connect."},
	{ChannelManifest, "fleet/v1/{tenant}/device/{device}/manifest", 1, true, MaxBody, nil,
		nil, []Role{RoleDevice, RoleOperator, RoleViewer}, "The exact signed SUIT envelope that a device shall install; empty: nothing to do."},
	{ChannelReport, "fleet/v1/{tenant}/device/{device}/report", 1, false, MaxReportBody, Report{},
		[]Role{RoleDevice}, []Role{RoleOperator, RoleViewer}, "A device's acknowledgement on one manifest, durable when PUBACK arrives."},
	{ChannelReceipt, "fleet/v1/{tenant}/device/{device}/receipt", 0, false, MaxReceiptBody, Receipt{},
		nil, []Role{RoleDevice, RoleOperator, RoleViewer}, "Word that a report is durable, where the report asked for it."},
	{ChannelFetch, "fleet/v1/{tenant}/device/{device}/fetch", 1, false, MaxFetchBody, Fetch{},
		[]Role{RoleDevice}, []Role{RoleOperator, RoleViewer}, "Asks for chunks of the payload of a live assignment."},
	{ChannelChunk, "fleet/v1/{tenant}/device/{device}/chunk/{token}/{index}", 0, false, MaxChunk, nil,
		nil, []Role{RoleDevice, RoleOperator, RoleViewer}, "The raw bytes of one chunk; `error` in place of the index carries a problem."},
	{ChannelPermit, "fleet/v1/{tenant}/device/{device}/permit", 0, false, MaxReceiptBody, Permit{},
		nil, []Role{RoleDevice, RoleOperator, RoleViewer}, "Whether a device that asked may install now; a grant is short-lived."},
	{ChannelCommand, "fleet/v1/{tenant}/command/{noun}/{verb}", 1, false, MaxBody, nil,
		[]Role{RoleOperator, RoleViewer, RoleAdmin}, []Role{RoleOperator, RoleViewer}, "A backend's request."},
	{ChannelReply, "fleet/v1/{tenant}/reply/{client}", 1, false, MaxBody, nil,
		nil, []Role{RoleOperator, RoleViewer, RoleAdmin}, "The answer to a request, for the client that sent it."},
	{ChannelProgress, "fleet/v1/{tenant}/campaign/{campaign}/progress", 0, true, MaxBody, Progress{},
		nil, []Role{RoleOperator, RoleViewer}, "Where a campaign stands, at most once a second."},
	{ChannelEvent, "fleet/v1/{tenant}/campaign/{campaign}/event", 0, false, MaxBody, Event{},
		nil, []Role{RoleOperator, RoleViewer}, "One transition of one assignment."},
}
