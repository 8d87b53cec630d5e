package bridge

import (
	"context"
	"errors"
	"fmt"

	"fleetbridge/campaign"
	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/ident"
	"fleetbridge/topics"
)

// problem makes a problem of the table.
func problem(slug, format string, args ...any) *topics.Problem {
	return topics.NewProblem(slug, fmt.Sprintf(format, args...))
}

// problemTable is where errors become words of the contract: the one place. The first row that matches wins.
var problemTable = []struct {
	err  error
	slug string
}{
	{topics.ErrMalformed, topics.ProblemMalformedBody},
	{topics.ErrDenied, topics.ProblemNotAllowed},
	{topics.ErrTopic, topics.ProblemInvalidRequest},
	{topics.ErrUnknownRole, topics.ProblemInvalidRequest},
	{ident.ErrInvalid, topics.ProblemInvalidRequest},
	{cose.ErrUnknownAlg, topics.ProblemInvalidRequest},
	{campaign.ErrExists, topics.ProblemAlreadyExists},
	{campaign.ErrConflict, topics.ProblemRevisionConflict},
	{campaign.ErrPlanChanged, topics.ProblemPlanChanged},
	{campaign.ErrOwnCampaign, topics.ProblemNotAllowed},
	{campaign.ErrQuota, topics.ProblemQuota},
	{campaign.ErrPhase, topics.ProblemWrongPhase},
	{firmware.ErrNoRoom, topics.ProblemQuota}, // before what the store says of its disk
	{campaign.ErrUnavailable, topics.ProblemStoreUnavailable},
	{campaign.ErrClosed, topics.ProblemStoreUnavailable},
	{firmware.ErrRevoked, topics.ProblemManifestKeyRevoked},
	{firmware.ErrSignature, topics.ProblemManifestSignature},
	{firmware.ErrUntimely, topics.ProblemManifestKeyUntimely},
	{firmware.ErrGrant, topics.ProblemManifestNotGranted},
	{firmware.ErrAhead, topics.ProblemSequenceTooFar},
	{firmware.ErrURI, topics.ProblemManifestURI},
	{firmware.ErrUnknown, topics.ProblemManifestUnknown},
	{firmware.ErrSevered, topics.ProblemManifestSevered},
	{firmware.ErrMalformed, topics.ProblemManifestMalformed},
	{firmware.ErrUnsupported, topics.ProblemManifestUnsupported},
	{firmware.ErrUntrusted, topics.ProblemManifestUntrusted},
	{firmware.ErrSigned, topics.ProblemAlreadyExists},
	{firmware.ErrDigestMismatch, topics.ProblemDigestMismatch},
	{firmware.ErrOffset, topics.ProblemUploadOffset},
	{firmware.ErrOverlap, topics.ProblemUploadOverlap},
	{campaign.ErrNeeded, topics.ProblemManifestInUse},
	{campaign.ErrInUse, topics.ProblemPayloadInUse},
	{firmware.ErrNoUpload, topics.ProblemUploadNotFound},
	{firmware.ErrNoPayload, topics.ProblemPayloadNotFound},
	{firmware.ErrQuota, topics.ProblemQuota},
	{firmware.ErrTooLarge, topics.ProblemTooLarge},
	{context.DeadlineExceeded, topics.ProblemStoreUnavailable},
	{context.Canceled, topics.ProblemStoreUnavailable},
}

// notFoundSlugs are the problems of a record that is not there, by its kind.
var notFoundSlugs = map[string]string{
	"tenant":     topics.ProblemTenantNotFound,
	"campaign":   topics.ProblemCampaignNotFound,
	"device":     topics.ProblemDeviceNotFound,
	"manifest":   topics.ProblemManifestNotFound,
	"payload":    topics.ProblemPayloadNotFound,
	"credential": topics.ProblemCredentialNotFound,
	"anchor":     topics.ProblemAnchorNotFound,
}

// problemOf turns any error into a problem. What is not foreseen is ours: internal, and without a word of detail.
func problemOf(err error) *topics.Problem {
	var (
		p       *topics.Problem
		fields  topics.FieldErrors
		invalid *campaign.InvalidError
		missing *campaign.NotFoundError
	)
	switch {
	case errors.As(err, &p):
		c := *p
		return &c
	case errors.As(err, &fields):
		p = topics.NewProblem(topics.ProblemInvalidRequest, fields.Error())
		p.Errors = fields
		return p
	case errors.As(err, &invalid):
		p = topics.NewProblem(topics.ProblemInvalidRequest, invalid.Error())
		for _, f := range invalid.Fields {
			p.Errors = append(p.Errors, topics.FieldError{Pointer: f.Pointer, Detail: f.Detail})
		}
		return p
	case errors.As(err, &missing) && notFoundSlugs[missing.Kind] != "":
		return problem(notFoundSlugs[missing.Kind], "%s %s: not found", missing.Kind, missing.ID)
	}
	for _, row := range problemTable {
		if errors.Is(err, row.err) {
			return topics.NewProblem(row.slug, detailOf(row.slug, err))
		}
	}
	return topics.NewProblem(topics.ProblemInternal, "")
}

// detailOf is what the client may read of err: nothing of a failure that is ours.
func detailOf(slug string, err error) string {
	switch {
	case errors.Is(err, firmware.ErrNoRoom):
		return "the server's disk has no room for so many bytes; none of them was taken"
	case slug == topics.ProblemStoreUnavailable:
		return "it is not known whether the command was carried out; send it again with the same idempotency key"
	}
	return err.Error()
}

// invalid is an invalid-request that points at one member.
func invalid(pointer, format string, args ...any) error {
	return topics.FieldErrors{{Pointer: pointer, Detail: fmt.Sprintf(format, args...)}}
}

// orMissing gives a bare ErrNotFound of the store its kind and identifier.
func orMissing(err error, kind string, id fmt.Stringer) error {
	var typed *campaign.NotFoundError
	if err == nil || !errors.Is(err, campaign.ErrNotFound) || errors.As(err, &typed) {
		return err
	}
	return &campaign.NotFoundError{Kind: kind, ID: id.String()}
}
