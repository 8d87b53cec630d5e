package suit

import "fmt"

// Member is a key of the envelope or of the manifest (sections 8.2 and 8.4).
type Member uint64

// The members that we know. Payload fetch, install and text are severable: the manifest may hold their digest only.
const (
	memberAuthentication Member = 2
	memberManifest       Member = 3

	memberVersion      Member = 1
	memberSequence     Member = 2
	memberCommon       Member = 3
	memberReferenceURI Member = 4
	memberSetVersion   Member = 6 // suit-update-management
	MemberValidate     Member = 7
	MemberLoad         Member = 8
	MemberInvoke       Member = 9
	MemberFetch        Member = 16
	MemberInstall      Member = 20
	MemberText         Member = 23
)

// String returns the member's name.
func (m Member) String() string {
	switch m {
	case MemberValidate:
		return "validate"
	case MemberLoad:
		return "load"
	case MemberInvoke:
		return "invoke"
	case MemberFetch:
		return "payload-fetch"
	case MemberInstall:
		return "install"
	case MemberText:
		return "text"
	}
	return fmt.Sprintf("member %d", uint64(m))
}

// Op is the number of a condition or a directive (section 8.4.9 and 8.4.10).
type Op int64

// The conditions and directives that our profile uses.
const (
	VendorIdentifier   Op = 1
	ClassIdentifier    Op = 2
	ImageMatch         Op = 3
	SetComponentIndex  Op = 12
	TryEach            Op = 15
	OverrideParameters Op = 20
	Fetch              Op = 21
	Copy               Op = 22
	RunSequence        Op = 32
)

// argument says what follows an Op in a sequence.
type argument int

const (
	argPolicy   argument = iota + 1 // a reporting policy
	argIndex                        // a component index, a list of them, or true for all
	argCases                        // byte strings of sequences, and perhaps null
	argSequence                     // one byte string of a sequence
	argParameters
)

type opSpec struct {
	name   string
	arg    argument
	shared bool // may stand in the shared sequence: it has no side effect
}

// ops are the base draft's, and suit-update-management's that take a reporting policy. Those of suit-trust-domains (7, 8,
// 11, 19, 33) need dependencies, which we don't have.
var ops = map[Op]opSpec{
	VendorIdentifier:   {"condition-vendor-identifier", argPolicy, true},
	ClassIdentifier:    {"condition-class-identifier", argPolicy, true},
	ImageMatch:         {"condition-image-match", argPolicy, true},
	4:                  {"condition-use-before", argPolicy, true},
	5:                  {"condition-component-slot", argPolicy, true},
	6:                  {"condition-check-content", argPolicy, true},
	SetComponentIndex:  {"directive-set-component-index", argIndex, true},
	14:                 {"condition-abort", argPolicy, true},
	TryEach:            {"directive-try-each", argCases, true},
	18:                 {"directive-write", argPolicy, false},
	OverrideParameters: {"directive-override-parameters", argParameters, true},
	Fetch:              {"directive-fetch", argPolicy, false},
	Copy:               {"directive-copy", argPolicy, false},
	23:                 {"directive-invoke", argPolicy, false},
	24:                 {"condition-device-identifier", argPolicy, true},
	25:                 {"condition-image-not-match", argPolicy, true},
	26:                 {"condition-minimum-battery", argPolicy, true},
	27:                 {"condition-update-authorized", argPolicy, true},
	28:                 {"condition-version", argPolicy, true},
	29:                 {"directive-wait", argPolicy, false},
	31:                 {"directive-swap", argPolicy, false},
	RunSequence:        {"directive-run-sequence", argSequence, true},
}

// String returns the name in the draft's words.
func (o Op) String() string {
	if s, ok := ops[o]; ok {
		return s.name
	}
	return fmt.Sprintf("command %d", int64(o))
}

// ParameterID is the number of a parameter (section 8.4.8).
type ParameterID int64

// The parameters that our profile uses.
const (
	ParamVendor          ParameterID = 1
	ParamClass           ParameterID = 2
	ParamDigest          ParameterID = 3
	ParamImageSize       ParameterID = 14
	ParamEncryption      ParameterID = 19
	ParamURI             ParameterID = 21
	ParamSourceComponent ParameterID = 22
	paramSoftFailure     ParameterID = 13
)

// form says how a parameter's value is written.
type form int

const (
	formUUID form = iota + 1
	formDigest
	formUint
	formInt
	formBool
	formBytes
	formURI
	formVersion
)

type parameterSpec struct {
	name string
	form form
}

var parameters = map[ParameterID]parameterSpec{
	ParamVendor:          {"vendor-identifier", formUUID},
	ParamClass:           {"class-identifier", formUUID},
	ParamDigest:          {"image-digest", formDigest},
	4:                    {"use-before", formUint},
	5:                    {"component-slot", formUint},
	12:                   {"strict-order", formBool},
	paramSoftFailure:     {"soft-failure", formBool},
	ParamImageSize:       {"image-size", formUint},
	18:                   {"content", formBytes},
	ParamEncryption:      {"encryption-info", formBytes},
	ParamURI:             {"uri", formURI},
	ParamSourceComponent: {"source-component", formUint},
	23:                   {"invoke-args", formBytes},
	24:                   {"device-identifier", formUUID},
	25:                   {"fetch-arguments", formBytes},
	26:                   {"minimum-battery", formUint},
	27:                   {"update-priority", formInt},
	28:                   {"version", formVersion},
}

// String returns the name in the draft's words.
func (p ParameterID) String() string {
	if s, ok := parameters[p]; ok {
		return s.name
	}
	return fmt.Sprintf("parameter %d", int64(p))
}

// Text keys: of the manifest, and of one component (section 8.4.4).
var (
	manifestText  = []string{1: "manifest-description", 2: "update-description", 3: "manifest-json-source", 4: "manifest-yaml-source"}
	componentText = []string{1: "vendor-name", 2: "model-name", 3: "vendor-domain", 4: "model-info", 5: "component-description",
		6: "component-version", 7: "component-version-required", 8: "current-version"}
)

const (
	textUpdateDescription = 2
	textVendorDomain      = 3
	textModelInfo         = 4
	textComponentVersion  = 6
)
