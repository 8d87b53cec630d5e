package topics

import "slices"

// CommandSpec is one row of the command registry, which feeds dispatch, CLI, reference and AsyncAPI.
type CommandSpec struct {
	Noun, Verb string
	// Roles may send it; the topic's tenant is always their own.
	Roles []Role
	// Mutates says that the command changes something; see Keyed.
	Mutates bool
	Summary string
	// Request and Reply are the zero values of the bodies.
	Request Validator
	Reply   any
}

var (
	byAdmin     = []Role{RoleAdmin}
	byOperator  = []Role{RoleOperator}
	byReader    = []Role{RoleOperator, RoleViewer}
	byEveryone  = []Role{RoleOperator, RoleViewer, RoleAdmin}
	byCustodian = []Role{RoleOperator, RoleAdmin}
)

// Commands is the command registry.
var Commands = []CommandSpec{
	{"server", "info", byEveryone, false, "Version, protocol and limits of the server.", None{}, ServerInfo{}},
	{"server", "check", byReader, false, "Compares the tenant's counts, indexes and devices' topics with its records, part by part.", ServerCheck{}, ServerChecked{}},
	{"quota", "get", byEveryone, false, "Shows what a tenant may have, and what it has used.", QuotaGet{}, QuotaView{}},
	{"quota", "set", byAdmin, true, "Changes a tenant's quota.", QuotaSet{}, QuotaView{}},
	{"quota", "ledger", byEveryone, false, "Lists the changes of a tenant's updates.", QuotaLedger{}, List[LedgerView]{}},
	{"audit", "list", byEveryone, false, "Lists the audit log of the tenant.", AuditList{}, List[AuditView]{}},
	{"audit", "verify", byEveryone, false, "Checks the chain of the audit log.", AuditVerify{}, AuditVerified{}},
	{"tenant", "add", byAdmin, true, "Creates a tenant; again with the same name is not an error.", TenantAdd{}, TenantView{}},
	{"tenant", "list", byAdmin, false, "Lists tenants.", Page{}, List[TenantView]{}},
	{"credential", "add", byCustodian, true, "Creates credentials; their tokens are in the reply and nowhere else.", CredentialAdd{}, CredentialIssued{}},
	{"credential", "list", byCustodian, false, "Lists credentials, without secrets.", CredentialList{}, List[CredentialView]{}},
	{"credential", "revoke", byCustodian, true, "Ends a credential and its connections.", CredentialRevoke{}, CredentialView{}},
	{"trust", "add", byOperator, true, "Adds a trust anchor: one public key with one algorithm.", TrustAdd{}, AnchorView{}},
	{"trust", "list", byReader, false, "Lists trust anchors.", Page{}, List[AnchorView]{}},
	{"trust", "get", byReader, false, "Shows one trust anchor.", TrustGet{}, AnchorView{}},
	{"trust", "revoke", byOperator, true, "Revokes a trust anchor, for good.", TrustRevoke{}, AnchorRevoked{}},
	{"payload", "begin", byOperator, true, "Opens an upload, or finds the one that was interrupted.", PayloadBegin{}, PayloadUpload{}},
	{"payload", "append", byOperator, true, "Adds bytes to an upload; durable when replied.", PayloadAppend{}, PayloadUpload{}},
	{"payload", "commit", byOperator, true, "Checks the digest of the whole and makes the payload available.", PayloadCommit{}, PayloadView{}},
	{"payload", "abort", byOperator, true, "Gives an upload up, and its room back.", PayloadRef{}, PayloadUpload{}},
	{"payload", "uploads", byReader, false, "Lists uploads that are not committed.", Page{}, List[PayloadUpload]{}},
	{"payload", "delete", byOperator, true, "Deletes a payload that no manifest fetches.", PayloadRef{}, PayloadView{}},
	{"payload", "list", byReader, false, "Lists payloads.", Page{}, List[PayloadView]{}},
	{"manifest", "create", byOperator, true, "Uploads a signed SUIT envelope: verified, then immutable.", ManifestCreate{}, ManifestView{}},
	{"manifest", "list", byReader, false, "Lists manifests.", Page{}, List[ManifestView]{}},
	{"manifest", "get", byReader, false, "Shows one manifest.", ManifestGet{}, ManifestView{}},
	{"manifest", "delete", byOperator, true, "Deletes a manifest that no campaign needs; its sequence number stays taken.", ManifestDelete{}, ManifestView{}},
	{"device", "add", byOperator, true, "Registers a device, with a credential if asked.", DeviceAdd{}, DeviceView{}},
	{"device", "list", byReader, false, "Lists devices, all or those that pass a filter.", DeviceList{}, List[DeviceView]{}},
	{"device", "label", byOperator, true, "Sets and unsets labels and groups of devices, listed or found by a filter.", DeviceLabel{}, DeviceLabelled{}},
	{"device", "get", byReader, false, "Shows one device.", DeviceGet{}, DeviceView{}},
	{"device", "why", byReader, false, "Says why a device is not updated.", DeviceWhy{}, DeviceAnswer{}},
	{"device", "clear", byOperator, true, "Forgets that payloads failed on devices, listed or found by a filter, so that they may be offered again.", DeviceClear{}, DeviceCleared{}},
	{"selector", "test", byReader, false, "Says what a filter selects, and what it may have meant.", SelectorTest{}, SelectorTested{}},
	{"campaign", "create", byOperator, true, "Creates a draft: a manifest, a selection and a policy.", CampaignCreate{}, CampaignView{}},
	{"campaign", "update", byOperator, true, "Edits a draft; after the start, its description.", CampaignUpdate{}, CampaignView{}},
	{"campaign", "list", byReader, false, "Lists campaigns.", Page{}, List[CampaignView]{}},
	{"campaign", "get", byReader, false, "Shows one campaign with its progress.", CampaignRef{}, CampaignView{}},
	{"campaign", "plan", byReader, false, "Says what would run if a draft started now, device by device.", CampaignPlan{}, PlanView{}},
	{"campaign", "start", byOperator, true, "Starts a draft.", CampaignStart{}, CampaignView{}},
	{"campaign", "approve", byOperator, true, "Lets a campaign run that waits for an approval of its plan.", CampaignApprove{}, CampaignView{}},
	{"campaign", "reject", byOperator, true, "Makes a campaign that waits for an approval a draft again.", CampaignRef{}, CampaignView{}},
	{"campaign", "stop", byOperator, true, "Stops a campaign: what is not finished is withdrawn.", CampaignRef{}, CampaignView{}},
	{"campaign", "retry", byOperator, true, "Makes a draft of the devices that failed in a campaign, or stand in other states.", CampaignRetry{}, CampaignView{}},
	{"campaign", "pause", byOperator, true, "Pauses an active campaign: nothing is offered; devices that have their offer go on.", CampaignRef{}, CampaignView{}},
	{"campaign", "resume", byOperator, true, "Lets a paused campaign go on.", CampaignRef{}, CampaignView{}},
	{"campaign", "next", byOperator, true, "Releases the wave after the open one of a campaign with manual waves.", CampaignRef{}, CampaignView{}},
	{"campaign", "devices", byReader, false, "Lists a campaign's assignments.", CampaignDevices{}, List[AssignmentView]{}},
	{"campaign", "archive", byOperator, true, "Puts a stopped campaign away; everything of it stays readable.", CampaignRef{}, CampaignView{}},
	{"campaign", "delete", byOperator, true, "Deletes a campaign that is a draft, stopped or archived; its audit entries stay.", CampaignRef{}, CampaignView{}},
	{"campaign", "events", byReader, false, "Lists what happened to a campaign as a whole.", CampaignEvents{}, List[AuditView]{}},
	{"campaign", "report", byReader, false, "The whole record of a campaign, page by page.", CampaignReport{}, CampaignReportPage{}},
}

// Keyed says that an idempotency-key makes sense: the reply is stored under it. The steps of an upload change something
// too, but may be repeated as they are, and a key on them is ignored.
func (c CommandSpec) Keyed() bool {
	upload := c.Noun == "payload" && (c.Verb == "begin" || c.Verb == "append")
	return c.Mutates && !upload
}

// Allows says whether a role may send the command.
func (c CommandSpec) Allows(r Role) bool { return slices.Contains(c.Roles, r) }

// LookupCommand returns the row of a command.
func LookupCommand(noun, verb string) (CommandSpec, bool) {
	for i := range Commands {
		if Commands[i].Noun == noun && Commands[i].Verb == verb {
			return Commands[i], true
		}
	}
	return CommandSpec{}, false
}
