package suit

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"fleetbridge/ident"
)

// Reporting policies that we write: conditions leave a record and system information on success and on failure, a fetch
// and a copy leave a record on failure.
const (
	policyCondition = 15
	policyDirective = 2
)

// language is what we tag text with.
const language = "en"

// Text is what a manifest says to people.
type Text struct {
	Description  string // of the update
	Version      string // of the component
	VendorDomain string // that the vendor identifier is the UUIDv5 of
	ModelInfo    string // that the class identifier is the UUIDv5 of, in the vendor's namespace
}

// Build writes the unsigned envelope of a manifest that says p; integrated holds the payload that p takes from the
// envelope, if any. Text is severed, so that a device need not be sent it; payload fetch and install are not, because
// deployed processors run a severed install without a look at its digest.
func Build(sequence uint64, p Plan, integrated []byte, text Text) ([]byte, error) {
	w := writer{}
	manifest := w.plan(p)
	manifest[memberVersion], manifest[memberSequence] = 1, sequence
	envelope := map[any]any{}
	for _, t := range p.Tries {
		if t.Integrated() {
			envelope[t.URI] = integrated
		}
	}
	if text != (Text{}) {
		severed := w.wrap(text.members(&w, p.Component))
		manifest[MemberText] = ident.SumDigest(w.encode(severed))
		envelope[uint64(MemberText)] = severed
	}
	wrapped := w.wrap(manifest)
	signed := w.wrap(ident.SumDigest(w.encode(wrapped)))
	envelope[uint64(memberAuthentication)] = w.wrap([]any{signed})
	envelope[uint64(memberManifest)] = wrapped
	b := w.encode(cbor.Tag{Number: tagEnvelope, Content: envelope})
	if w.err != nil {
		return nil, fmt.Errorf("build envelope: %w", w.err)
	}
	if err := checkBuilt(b, p); err != nil {
		return nil, fmt.Errorf("build envelope: %w", err)
	}
	return b, nil
}

// checkBuilt reads back what was written, so that a value out of our own limits never leaves.
func checkBuilt(envelope []byte, want Plan) error {
	e, err := Decode(envelope)
	if err != nil {
		return err
	}
	got, err := e.Plan()
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(got, want) {
		return errors.New("it reads back as something else")
	}
	return nil
}

// members writes SUIT_Text_Map. The key of a component is an array, which no Go map can hold, so it is put in raw.
func (t Text) members(w *writer, c ComponentID) map[string]cbor.RawMessage {
	var notes []byte
	n := byte(0)
	if t.Description != "" {
		n++
		notes = append(append(notes, textUpdateDescription), w.encode(t.Description)...)
	}
	component := map[uint64]string{textVendorDomain: t.VendorDomain, textModelInfo: t.ModelInfo, textComponentVersion: t.Version}
	maps.DeleteFunc(component, func(_ uint64, s string) bool { return s == "" })
	if len(component) > 0 {
		n++
		notes = append(append(notes, w.encode(c)...), w.encode(component)...)
	}
	return map[string]cbor.RawMessage{language: append([]byte{majorMap<<5 | n}, notes...)}
}

// AddBlock returns envelope with block as its last signature block. It checks neither: a block that doesn't sign the
// envelope's digest is found by whoever verifies it.
func AddBlock(envelope, block []byte) ([]byte, error) {
	p, err := Split(envelope)
	if err != nil {
		return nil, err
	}
	if len(p.Blocks) >= maxBlocks {
		return nil, fmt.Errorf("add signature block: %d are there, at most %d: %w", len(p.Blocks), maxBlocks, ErrMalformed)
	}
	b, err := p.withBlocks(append(p.Blocks, block))
	if err != nil {
		return nil, fmt.Errorf("add signature block: %w", err)
	}
	return b, nil
}

// KeepBlocks returns envelope with only those signature blocks that keep names, in their order: what they sign, and all
// else that the envelope holds, stays as it is.
func KeepBlocks(envelope []byte, keep func(block []byte) bool) ([]byte, error) {
	p, err := Split(envelope)
	if err != nil {
		return nil, err
	}
	blocks := slices.DeleteFunc(slices.Clone(p.Blocks), func(b []byte) bool { return !keep(b) })
	if len(blocks) == len(p.Blocks) {
		return envelope, nil
	}
	b, err := p.withBlocks(blocks)
	if err != nil {
		return nil, fmt.Errorf("keep signature blocks: %w", err)
	}
	return b, nil
}

// withBlocks is the envelope of p with other signature blocks.
func (p *Parts) withBlocks(blocks [][]byte) ([]byte, error) {
	w := writer{}
	wrapper := []any{p.Signed()}
	for _, b := range blocks {
		wrapper = append(wrapper, b)
	}
	members := map[any]any{uint64(memberAuthentication): w.wrap(wrapper), uint64(memberManifest): p.manifest}
	for m, b := range p.severed {
		members[uint64(m)] = cbor.RawMessage(b)
	}
	for _, i := range p.payloads {
		members[i.Name] = i.Bytes
	}
	b := w.encode(cbor.Tag{Number: tagEnvelope, Content: members})
	if w.err != nil {
		return nil, w.err
	}
	if _, err := Split(b); err != nil {
		return nil, err
	}
	return b, nil
}

// writer encodes in core deterministic encoding; the first error sticks.
type writer struct{ err error }

var encoding, errEncoding = cbor.CoreDetEncOptions().EncMode()

func (w *writer) encode(v any) []byte {
	if w.err == nil {
		w.err = errEncoding
	}
	if w.err != nil {
		return nil
	}
	b, err := encoding.Marshal(v)
	w.err = err
	return b
}

// wrap encodes v for a member that is "bstr .cbor": as a []byte, the result is written as a byte string.
func (w *writer) wrap(v any) []byte { return w.encode(v) }
