package suit

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"fleetbridge/ident"
)

// Plan is what a manifest of our profile asks of a device: to make sure that it is of the vendor and class, to go through
// the tries until one of them succeeds, and to check that the component holds the image.
type Plan struct {
	Vendor    uuid.UUID
	Class     uuid.UUID
	Component ComponentID // component 0: holds the image
	Staging   ComponentID // component 1: takes a delta or a ciphertext; nil where no try has one
	Image     Content
	Tries     []Try // deltas, then what needs no precursor; never empty
}

// Content names bytes by digest and length.
type Content struct {
	Digest ident.Digest
	Size   uint64 // bytes
}

// Try is one way to the image: fetch Payload, check it, and make the image out of it.
type Try struct {
	Precursor  Content // of a delta: what the component must hold; else the zero value
	Payload    Content // what is fetched
	URI        string  // a URI reference; "#name" is an integrated payload
	Encryption []byte  // COSE_Encrypt of the payload, detached; nil: it isn't encrypted
}

// Delta reports whether the payload is to be applied to the precursor.
func (t Try) Delta() bool { return t.Precursor != Content{} }

// Integrated reports whether the payload travels in the envelope.
func (t Try) Integrated() bool { return strings.HasPrefix(t.URI, "#") }

// Plan reads e as a manifest of our profile, and refuses everything else with ErrUnsupported: what the server hasn't
// understood whole, it doesn't pass on. The profile is
//
//	no load, no invoke, nothing severed but text
//	shared:   override-parameters {vendor, class, image-digest, image-size},
//	          condition-vendor-identifier, condition-class-identifier
//	validate: condition-image-match
//
// and one of three ways to install. A single image, of one component:
//
//	payload-fetch or install: override-parameters {uri}, fetch, condition-image-match
//
// A delta that falls back on the image, of two components, with a case for each precursor:
//
//	install: try-each
//	  0: override-parameters {precursor's digest, size}, condition-image-match,
//	     1: override-parameters {delta's digest, size, uri}, fetch, condition-image-match,
//	     0: override-parameters {image-digest, image-size, source-component 1}, copy, condition-image-match
//	  0: override-parameters {image-digest, image-size, uri}, fetch, condition-image-match
//
// An encrypted image, of two components:
//
//	payload-fetch: 1: override-parameters {ciphertext's digest, size, uri}, fetch, condition-image-match
//	install:       0: override-parameters {encryption-info, source-component 1}, copy, condition-image-match
//
// Parameters may come in several override-parameters, and a set-component-index may stand where none is needed; a
// parameter that no command uses is refused. So every fetch has its digest and size before it and a check after it, and
// none runs on a device of another class. The envelope holds exactly the integrated payloads that are fetched, each with
// the digest (ErrDigest if not) and the size that are signed.
func (e *Envelope) Plan() (Plan, error) {
	p, err := e.Manifest.plan()
	if err != nil {
		return Plan{}, fmt.Errorf("read the manifest's plan: %w: %w", err, ErrUnsupported)
	}
	if err := e.checkIntegrated(p); err != nil {
		return Plan{}, fmt.Errorf("read the manifest's plan: %w", err)
	}
	return p, nil
}

// Payload returns the integrated payload that a fetch of uri gets.
func (e *Envelope) Payload(uri string) ([]byte, bool) {
	for _, p := range e.Payloads {
		if p.Name == uri {
			return p.Bytes, true
		}
	}
	return nil, false
}

func (e *Envelope) checkIntegrated(p Plan) error {
	used := 0
	for _, t := range p.Tries {
		if !t.Integrated() {
			continue
		}
		b, ok := e.Payload(t.URI)
		switch {
		case !ok:
			return fmt.Errorf("payload %q is not in the envelope: %w", t.URI, ErrMalformed)
		case len(p.Tries) > 1:
			return fmt.Errorf("payload %q is integrated and another is a delta: %w", t.URI, ErrUnsupported)
		case uint64(len(b)) != t.Payload.Size || ident.SumDigest(b) != t.Payload.Digest:
			return fmt.Errorf("payload %q has %d bytes and %s, signed are %d and %s: %w", t.URI, len(b), ident.SumDigest(b),
				t.Payload.Size, t.Payload.Digest, ErrDigest)
		}
		used++
	}
	if used != len(e.Payloads) {
		return fmt.Errorf("the envelope carries %d payloads, the manifest fetches %d of them: %w", len(e.Payloads), used, ErrMalformed)
	}
	return nil
}

func (m Manifest) plan() (Plan, error) {
	if n := len(m.Components); n < 1 || n > 2 {
		return Plan{}, fmt.Errorf("%d components", n)
	}
	if m.Load != nil || m.Invoke != nil {
		return Plan{}, fmt.Errorf("a load or an invoke sequence")
	}
	for _, s := range m.Severed {
		if s != MemberText {
			return Plan{}, fmt.Errorf("%s is severed: %w", s, ErrSevered)
		}
	}
	p := Plan{Component: m.Components[0]}
	w := tracer{components: len(m.Components)}
	if err := p.shared(&w, m.Shared); err != nil {
		return Plan{}, fmt.Errorf("shared sequence: %w", err)
	}
	var err error
	switch {
	case len(m.Components) == 1:
		err = p.single(w, m)
	case m.Fetch == nil:
		err = p.deltas(w, m.Install)
	default:
		err = p.encrypted(w, m)
	}
	if err != nil {
		return Plan{}, err
	}
	if len(m.Components) == 2 {
		p.Staging = m.Components[1]
	}
	s, err := w.steps(m.Validate, ImageMatch.on(0))
	if err == nil {
		err = p.wantImage(s[0])
	}
	if err != nil {
		return Plan{}, fmt.Errorf("validate sequence: %w", err)
	}
	return p, nil
}

// shared reads the shared sequence; what it sets of the image is in force in every other one.
func (p *Plan) shared(w *tracer, s Sequence) error {
	steps, err := w.steps(s, VendorIdentifier.on(0), ClassIdentifier.on(0))
	if err != nil {
		return err
	}
	set := steps[1].with
	for _, id := range []ParameterID{ParamDigest, ParamImageSize} {
		if _, ok := set[id]; !ok {
			return fmt.Errorf("%s is missing", id)
		}
	}
	p.Vendor, p.Class, p.Image = set[ParamVendor].UUID, set[ParamClass].UUID, steps[1].content()
	w.shared = parameterSet{ParamDigest: set[ParamDigest], ParamImageSize: set[ParamImageSize]}
	return nil
}

func (p *Plan) single(w tracer, m Manifest) error {
	member, s := MemberInstall, m.Install
	if s == nil {
		member, s = MemberFetch, m.Fetch
	} else if m.Fetch != nil {
		return fmt.Errorf("a payload-fetch and an install sequence")
	}
	if err := p.whole(w, s); err != nil {
		return fmt.Errorf("%s sequence: %w", member, err)
	}
	return nil
}

// whole reads a sequence that fetches the image itself.
func (p *Plan) whole(w tracer, s Sequence) error {
	steps, err := w.steps(s, Fetch.on(0), ImageMatch.on(0))
	if err != nil {
		return err
	}
	p.Tries = append(p.Tries, Try{Payload: p.Image, URI: steps[0].with[ParamURI].Text})
	return p.wantImage(steps...)
}

func (p *Plan) deltas(w tracer, install Sequence) error {
	cases, err := onlyTryEach(install)
	if err != nil {
		return fmt.Errorf("install sequence: %w", err)
	}
	// A case that fails leaves its parameters behind, so the next one must set all that it uses.
	w.shared = nil
	last := len(cases) - 1
	for i, c := range cases[:last] {
		if err := p.delta(w, c); err != nil {
			return fmt.Errorf("install sequence, case %d: %w", i, err)
		}
	}
	if err := p.whole(w, cases[last]); err != nil {
		return fmt.Errorf("install sequence, last case: %w", err)
	}
	return nil
}

func (p *Plan) delta(w tracer, s Sequence) error {
	steps, err := w.steps(s, ImageMatch.on(0), Fetch.on(1), ImageMatch.on(1), Copy.on(0), ImageMatch.on(0))
	if err != nil {
		return err
	}
	precursor, fetch, check, apply := steps[0], steps[1], steps[2], steps[3]
	switch {
	case precursor.content() == p.Image:
		return fmt.Errorf("the precursor is the image")
	case check.content() != fetch.content():
		return fmt.Errorf("the check after the fetch is of other bytes")
	case apply.with[ParamSourceComponent].Uint != 1 || apply.encryption() != nil:
		return fmt.Errorf("%s from elsewhere, or decrypting", Copy)
	}
	p.Tries = append(p.Tries, Try{Precursor: precursor.content(), Payload: fetch.content(), URI: fetch.with[ParamURI].Text})
	return p.wantImage(steps[3:]...)
}

func (p *Plan) encrypted(w tracer, m Manifest) error {
	steps, err := w.steps(m.Fetch, Fetch.on(1), ImageMatch.on(1))
	if err == nil && steps[1].content() != steps[0].content() {
		err = fmt.Errorf("the check after the fetch is of other bytes")
	}
	if err != nil {
		return fmt.Errorf("payload-fetch sequence: %w", err)
	}
	fetch := steps[0]
	steps, err = w.steps(m.Install, Copy.on(0), ImageMatch.on(0))
	if err == nil && (steps[0].with[ParamSourceComponent].Uint != 1 || steps[0].encryption() == nil) {
		err = fmt.Errorf("%s from elsewhere, or without encryption-info", Copy)
	}
	if err == nil {
		err = p.wantImage(steps...)
	}
	if err != nil {
		return fmt.Errorf("install sequence: %w", err)
	}
	p.Tries = []Try{{Payload: fetch.content(), URI: fetch.with[ParamURI].Text, Encryption: steps[0].encryption()}}
	return nil
}

// wantImage wants the steps to be about the image that the shared sequence names.
func (p *Plan) wantImage(steps ...step) error {
	for _, s := range steps {
		if c := s.content(); c != p.Image {
			return fmt.Errorf("%s of %s, the image is %s", s.op, c.Digest, p.Image.Digest)
		}
	}
	return nil
}
