package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"fleetbridge/firmware"
	"fleetbridge/firmware/cose"
	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
	"fleetbridge/internal/client"
	"fleetbridge/internal/config"
	"fleetbridge/internal/spec"
	"fleetbridge/simulator"
	"fleetbridge/topics"
)

// The exit codes, the same for every command.
const (
	exitOK          = 0   // done
	exitFailure     = 1   // what no other code says
	exitUsage       = 2   // wrong flags, arguments or configuration
	exitNotFound    = 3   // the object is not there, or not this tenant's
	exitDenied      = 4   // not authenticated, or not allowed
	exitConflict    = 5   // it exists already, has moved on, or is in another phase
	exitTimeout     = 6   // the server was not reached, or did not answer in time
	exitCampaign    = 7   // the campaign ended without success
	exitVerify      = 8   // a signature, digest or manifest is not good
	exitInterrupted = 130 // by a signal, before it was done
)

// failure is an error with an exit code of its own, and a hint.
type failure struct {
	code int
	hint string
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func usagef(format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// exitCode finds the code for an error: the one table from errors to codes.
func exitCode(err error) int {
	var f *failure
	var p *topics.Problem
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &f):
		return f.code
	case errors.As(err, &p):
		return problemCode(p)
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, client.ErrDenied):
		return exitDenied
	case errors.Is(err, client.ErrTimeout), errors.Is(err, client.ErrUnreachable):
		return exitTimeout
	}
	for _, bad := range []error{config.ErrInvalid, client.ErrServer, ident.ErrInvalid, topics.ErrUnknownRole,
		cose.ErrUnknownAlg, cose.ErrKey, cose.ErrPassphrase, simulator.ErrConfig, simulator.ErrMix, spec.ErrInvalid} {
		if errors.Is(err, bad) {
			return exitUsage
		}
	}
	for _, bad := range []error{firmware.ErrMalformed, firmware.ErrUnsupported, firmware.ErrUntrusted, firmware.ErrDigestMismatch} {
		if errors.Is(err, bad) {
			return exitVerify
		}
	}
	return exitFailure
}

// problemCode finds the code for a refusal of the server.
func problemCode(p *topics.Problem) int {
	switch {
	case p.Status == 422 && strings.HasPrefix(p.Type, "manifest-"), p.Type == topics.ProblemDigestMismatch,
		p.Type == topics.ProblemSequenceTooFar, p.Type == topics.ProblemPayloadSize:
		return exitVerify
	}
	switch p.Status {
	case 400, 411, 422:
		return exitUsage
	case 401, 403:
		return exitDenied
	case 404:
		return exitNotFound
	case 409, 412:
		return exitConflict
	case 408, 504:
		return exitTimeout
	}
	return exitFailure
}

// printError says on stderr what went wrong, and how to mend it where that is known. With -o json a refusal of the
// server is the RFC 9457 object itself.
func (a *app) printError(err error) {
	var p *topics.Problem
	isProblem := errors.As(err, &p)
	if isProblem && a.output != "table" {
		// The error stream is all that is left to tell, so a failure to write to it is not told.
		_ = json.NewEncoder(a.stderr).Encode(p)
		return
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(a.stderr, "interrupted")
		return
	}
	fmt.Fprintf(a.stderr, "error: %v\n", err)
	if isProblem && len(p.Errors) > 1 { // a single one is in the detail
		for _, e := range p.Errors {
			fmt.Fprintf(a.stderr, "  %s: %s\n", e.Pointer, e.Detail)
		}
	}
	if h := hint(err); h != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", h)
	}
}

// envelopeHint is for a file that is no envelope.
const envelopeHint = "a SUIT envelope begins with d86b, tag 107; `fleetbridge manifest create` makes one"

func hint(err error) string {
	var f *failure
	var p *topics.Problem
	switch {
	case errors.As(err, &f) && f.hint != "":
		return f.hint
	case errors.As(err, &p):
		known, _ := topics.LookupProblem(p.Type) // a newer server's own problem has no hint here
		return commandHint(known)
	case errors.Is(err, client.ErrUnreachable):
		return "is `fleetbridge serve` running at the address that the context file names?"
	case errors.Is(err, client.ErrDenied):
		return "the context file's user and token must be a live credential of that server, and its role must allow the command"
	case errors.Is(err, client.ErrTimeout):
		return "a longer --timeout may help; a command that changes something may have been carried out"
	case errors.Is(err, suit.ErrMalformed):
		return envelopeHint
	case errors.Is(err, cose.ErrKey):
		return "`fleetbridge key generate` makes a key, `fleetbridge key public` prints its public half"
	case errors.Is(err, firmware.ErrUntrusted):
		return "sign it with `fleetbridge manifest sign`, with the key whose public half is the trust anchor"
	}
	return ""
}
