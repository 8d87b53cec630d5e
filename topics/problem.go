package topics

import "strings"

// Problem is an RFC 9457 problem: the body of a reply that is not a success, and of `chunk/{token}/error`. Its CBOR keys
// are no other message's, so that a client without properties (MQTT 3.1.1) can tell it from a success.
type Problem struct {
	// Type is a slug of the closed list in Problems, such as "campaign-not-found".
	Type      string       `json:"type" cbor:"101,keyasint"`
	Status    int          `json:"status" cbor:"102,keyasint"` // HTTP's numbers
	Title     string       `json:"title,omitempty" cbor:"103,keyasint,omitempty"`
	Detail    string       `json:"detail,omitempty" cbor:"104,keyasint,omitempty"` // what, and how to mend it
	Errors    []FieldError `json:"errors,omitempty" cbor:"105,keyasint,omitempty"`
	RequestID string       `json:"request_id,omitempty" cbor:"100,keyasint,omitempty"`
}

// FieldError points at one member of a request by RFC 6901 JSON pointer.
type FieldError struct {
	Pointer string `json:"pointer" cbor:"1,keyasint"`
	Detail  string `json:"detail" cbor:"2,keyasint"`
}

// Error lets a Problem travel as an error.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Type
	}
	first, rest, _ := strings.Cut(p.Detail, "\n")
	if rest != "" { // the lines of a filter and its caret
		rest = "\n" + rest
	}
	return first + " (" + p.Type + ")" + rest
}

// The problem types.
const (
	ProblemMalformedBody       = "malformed-body"
	ProblemInvalidRequest      = "invalid-request"
	ProblemRetainedCommand     = "retained-command"
	ProblemUnknownCommand      = "unknown-command"
	ProblemNotAllowed          = "not-allowed"
	ProblemResponseTopicDenied = "response-topic-denied"
	ProblemTenantNotFound      = "tenant-not-found"
	ProblemCampaignNotFound    = "campaign-not-found"
	ProblemDeviceNotFound      = "device-not-found"
	ProblemManifestNotFound    = "manifest-not-found"
	ProblemPayloadNotFound     = "payload-not-found"
	ProblemCredentialNotFound  = "credential-not-found"
	ProblemAnchorNotFound      = "anchor-not-found"
	ProblemUploadNotFound      = "upload-not-found"
	ProblemDeadlinePassed      = "deadline-passed"
	ProblemAlreadyExists       = "already-exists"
	ProblemRevisionConflict    = "revision-conflict"
	ProblemWrongPhase          = "wrong-phase"
	ProblemPlanChanged         = "plan-changed"
	ProblemIdempotencyMismatch = "idempotency-mismatch"
	ProblemUploadOffset        = "upload-offset"
	ProblemUploadOverlap       = "upload-overlap"
	ProblemAppendUndersized    = "append-undersized"
	ProblemAppendMismatch      = "append-mismatch"
	ProblemPayloadInUse        = "payload-in-use"
	ProblemManifestInUse       = "manifest-in-use"
	ProblemSequenceNotNewer    = "sequence-not-newer"
	ProblemTooLarge            = "too-large"
	ProblemDigestMismatch      = "digest-mismatch"
	ProblemManifestMalformed   = "manifest-malformed"
	ProblemManifestUnsupported = "manifest-unsupported"
	ProblemManifestUntrusted   = "manifest-untrusted"
	ProblemManifestKeyRevoked  = "manifest-key-revoked"
	ProblemManifestSignature   = "manifest-signature"
	ProblemManifestNotGranted  = "manifest-not-granted"
	ProblemManifestKeyUntimely = "manifest-key-untimely"
	ProblemManifestURI         = "manifest-uri"
	ProblemManifestUnknown     = "manifest-unknown-command"
	ProblemManifestSevered     = "manifest-severed"
	ProblemManifestBlocks      = "manifest-blocks"
	ProblemSequenceTaken       = "sequence-taken"
	ProblemSequenceTooFar      = "sequence-too-far-ahead"
	ProblemPayloadSize         = "payload-size"
	ProblemQuota               = "quota"
	ProblemStoreUnavailable    = "store-unavailable"
	ProblemInternal            = "internal"
	ProblemFetchInvalid        = "fetch-invalid"
	ProblemFetchNotAssigned    = "fetch-not-assigned"
	ProblemFetchOutOfRange     = "fetch-out-of-range"
	ProblemChunkTooLarge       = "chunk-too-large"
	ProblemUnauthenticated     = "unauthenticated"
	ProblemLengthRequired      = "length-required"
	ProblemTooManyTransfers    = "too-many-transfers"
)

// ProblemSpec is one row of the problem table.
type ProblemSpec struct {
	Type   string
	Status int
	Title  string
	// Fix says to a person what mends it.
	Fix string
}

// Problems is the closed list of problem types.
var Problems = []ProblemSpec{
	{ProblemMalformedBody, 400, "The body is not a message of the contract", "Send one JSON object or one CBOR map of definite length, within the bounds of the reference."},
	{ProblemInvalidRequest, 422, "Members of the request are out of their bounds", "Correct the members that errors points at."},
	{ProblemRetainedCommand, 400, "The command was published with the retain flag", "Publish commands without retain."},
	{ProblemUnknownCommand, 404, "There is no such command", "Look the noun and verb up in the reference; server/info tells the server's version."},
	{ProblemNotAllowed, 403, "This principal's role may not do that", "Use a credential whose role the command lists."},
	{ProblemResponseTopicDenied, 403, "The response topic is not the sender's own", "Use fleet/v1/{tenant}/reply/{name}, or up to three levels below it."},
	{ProblemTenantNotFound, 404, "There is no such tenant", "See tenant/list."},
	{ProblemCampaignNotFound, 404, "There is no such campaign", "See campaign/list."},
	{ProblemDeviceNotFound, 404, "There is no such device", "See device/list; add it by device/add."},
	{ProblemManifestNotFound, 404, "There is no such manifest", "Upload it by manifest/create."},
	{ProblemPayloadNotFound, 404, "There is no such payload", "Upload it by payload/begin, append and commit."},
	{ProblemCredentialNotFound, 404, "There is no such credential", "See credential/list."},
	{ProblemAnchorNotFound, 404, "There is no such trust anchor", "See trust/list."},
	{ProblemUploadNotFound, 404, "There is no such upload", "Begin it by payload/begin."},
	{ProblemDeadlinePassed, 408, "The deadline passed before the command was done", "Send it again with the same idempotency-key and a longer message expiry."},
	{ProblemAlreadyExists, 409, "The name is taken", "Use the object that is there, or another name."},
	{ProblemRevisionConflict, 409, "The object has changed since it was read", "Read it again and repeat with its revision."},
	{ProblemWrongPhase, 409, "The campaign is in a phase that does not allow this", "See its state by campaign/get."},
	{ProblemPlanChanged, 409, "The campaign's plan is not the one that was named", "Look at what is different by campaign/plan, and name its digest."},
	{ProblemIdempotencyMismatch, 409, "The idempotency-key was used with another request", "Use a new key for each new request."},
	{ProblemUploadOffset, 409, "The offset is not where the upload stands", "Go on from the offset that payload/begin replies."},
	{ProblemUploadOverlap, 409, "Those bytes are there already", "Go on from the offset that payload/begin replies."},
	{ProblemPayloadInUse, 409, "A manifest fetches the payload", "Keep the payload as long as the manifest, which manifest/delete deletes."},
	{ProblemAppendUndersized, 422, "An append that is not the last is too small", "Send min_append to max_append bytes at a time; only the end may be shorter."},
	{ProblemAppendMismatch, 422, "The appended bytes are not what their sum says", "Send the same append again; nothing of it was taken."},
	{ProblemManifestInUse, 409, "A campaign needs the manifest", "Stop the campaign, or delete it if it is a draft; one that has ended needs no manifest."},
	{ProblemSequenceNotNewer, 409, "The manifest's sequence number is not above the published ones", "Sign again with a higher sequence number."},
	{ProblemSequenceTaken, 409, "Another manifest has this sequence number", "Create it again with a higher sequence number: the time of signing, in seconds, is one."},
	{ProblemManifestBlocks, 409, "The manifest is here with signatures that this envelope lacks", "Add blocks to the envelope that was uploaded before, by fleetbridge manifest sign; or delete the manifest first."},
	{ProblemTooLarge, 413, "The object is larger than allowed", "See the limits in server/info and in the reference."},
	{ProblemDigestMismatch, 422, "The bytes are not what the digest names", "Upload the file again, or correct the digest."},
	{ProblemManifestMalformed, 422, "The envelope is not a SUIT envelope", "Make it by fleetbridge manifest create, or another SUIT tool."},
	{ProblemManifestUnsupported, 422, "The manifest is outside the profile", "Keep to one component, one image and the commands of the profile."},
	{ProblemManifestUntrusted, 422, "No signature verifies under a live trust anchor", "Sign with a key whose anchor trust/list shows, or add the anchor."},
	{ProblemManifestKeyRevoked, 422, "The key that signed the manifest is revoked", "Sign with a key whose anchor is live; trust/list shows them."},
	{ProblemManifestSignature, 422, "A signature does not verify under the trust anchor that it names", "Sign again with that anchor's key, or name the key that signed: fleetbridge manifest sign --id."},
	{ProblemManifestNotGranted, 422, "The key that signed the manifest is not granted this", "See the anchor's grants by trust/get; sign with another key, or add an anchor with wider grants."},
	{ProblemManifestKeyUntimely, 422, "The key that signed the manifest is not valid at this time", "See the anchor's times by trust/get; sign with a key that is valid now."},
	{ProblemManifestURI, 422, "The manifest's URI is not allowed", "Use payload/<sha256 in hex>, or an absolute https URL without user info and fragment."},
	{ProblemManifestUnknown, 422, "The manifest has a command, parameter or member that is not known", "Keep to the commands and parameters of the profile; private ones are never taken."},
	{ProblemManifestSevered, 422, "The manifest severs a member other than text", "Keep the command sequences inside of the manifest: sever text only."},
	{ProblemSequenceTooFar, 422, "The manifest's sequence number lies too far in the future", "Use the time of signing, in seconds since 1970: a higher one would lock the devices out of every later update."},
	{ProblemPayloadSize, 422, "The payload has another size than the manifest says", "Create the manifest from the payload file itself."},
	{ProblemQuota, 429, "A quota or rate is used up", "Wait, or ask the administrator for more; of uploads, payload/uploads lists the unfinished ones."},
	{ProblemStoreUnavailable, 503, "The store can't commit now", "Send it again with the same idempotency-key."},
	{ProblemInternal, 500, "The server failed", "Send it again with the same idempotency-key; report it with the time and topic if it stays."},
	{ProblemFetchInvalid, 422, "The fetch is out of its bounds", "Correct the members that errors points at."},
	{ProblemFetchNotAssigned, 404, "The payload belongs to no live assignment of this device", "Fetch only the payload of the manifest on the device's topic."},
	{ProblemFetchOutOfRange, 416, "The fetch asks for chunks beyond the payload's end", "Chunks count from 0; the last may be short."},
	{ProblemUnauthenticated, 401, "HTTP: no such user or wrong token", "Send Basic authentication with the user tenant/name and its token."},
	{ProblemLengthRequired, 411, "HTTP: an upload must say its length", "Send Content-Length, not chunked encoding."},
	{ProblemTooManyTransfers, 429, "HTTP: too many transfers at once", "Try again after the seconds of Retry-After."},
	{ProblemChunkTooLarge, 413, "A chunk of that size does not fit the client's maximum packet size", "Ask for smaller chunks."},
}

// LookupProblem returns the row of a problem type.
func LookupProblem(typ string) (ProblemSpec, bool) {
	for _, s := range Problems {
		if s.Type == typ {
			return s, true
		}
	}
	return ProblemSpec{}, false
}

// NewProblem returns a problem of the table with a detail for people. A type that is not in the table becomes
// "internal" without detail: what is not foreseen is ours, and stays inside.
func NewProblem(typ, detail string) *Problem {
	s, ok := LookupProblem(typ)
	if !ok {
		s, _ = LookupProblem(ProblemInternal)
		detail = ""
	}
	return &Problem{Type: s.Type, Status: s.Status, Title: s.Title, Detail: detail}
}

// DecodeProblem returns the problem that a reply's body is, or nil if it is a success.
func DecodeProblem(b []byte) *Problem {
	var p Problem
	if _, err := Decode(b, &p); err != nil || p.Type == "" || p.Status < 400 {
		return nil
	}
	return &p
}
