package suit

import (
	"fmt"

	"github.com/google/uuid"

	"fleetbridge/ident"
)

// Image is what a manifest of our profile says: one payload for one component of one class of devices.
type Image struct {
	Vendor    uuid.UUID
	Class     uuid.UUID
	Component ComponentID
	Digest    ident.Digest
	Size      uint64 // bytes
	URI       string // a URI reference
}

// SingleImage reads m as a manifest of the single-image profile, and refuses everything else with ErrUnsupported: what
// the server hasn't understood whole, it doesn't pass on. The profile is
//
//	one component, no load, no invoke, nothing severed but text
//	shared:                  override-parameters {vendor, class, image-digest, image-size},
//	                         condition-vendor-identifier, condition-class-identifier
//	payload-fetch or install: override-parameters {uri}, fetch, condition-image-match
//	validate:                condition-image-match
//
// where a set-component-index of 0 may stand anywhere, and parameters may come in several override-parameters. So every
// fetch has its digest and size before it and a check after it, and never runs on a device of another class.
func (m Manifest) SingleImage() (Image, error) {
	img, err := m.singleImage()
	if err != nil {
		return Image{}, fmt.Errorf("read single-image manifest: %w: %w", err, ErrUnsupported)
	}
	return img, nil
}

func (m Manifest) singleImage() (Image, error) {
	if len(m.Components) != 1 {
		return Image{}, fmt.Errorf("%d components", len(m.Components))
	}
	if m.Load != nil || m.Invoke != nil {
		return Image{}, fmt.Errorf("a load or an invoke sequence")
	}
	for _, s := range m.Severed {
		if s != MemberText {
			return Image{}, fmt.Errorf("%s is severed", s)
		}
	}
	fetch := m.Install
	if fetch == nil {
		fetch = m.Fetch
	} else if m.Fetch != nil {
		return Image{}, fmt.Errorf("a payload-fetch and an install sequence")
	}
	img := Image{Component: m.Components[0]}
	for _, part := range []struct {
		name       string
		sequence   Sequence
		operations []Op
		parameters []ParameterID
	}{
		{"shared", m.Shared, []Op{VendorIdentifier, ClassIdentifier}, []ParameterID{ParamVendor, ParamClass, ParamDigest, ParamImageSize}},
		{"fetching", fetch, []Op{Fetch, ImageMatch}, []ParameterID{ParamURI}},
		{"validate", m.Validate, []Op{ImageMatch}, nil},
	} {
		if err := img.run(part.sequence, part.operations, part.parameters); err != nil {
			return Image{}, fmt.Errorf("%s sequence: %w", part.name, err)
		}
	}
	return img, nil
}

// run wants the sequence to set exactly the given parameters, each once, and then to do exactly the given operations.
func (i *Image) run(s Sequence, operations []Op, parameters []ParameterID) error {
	left := map[ParameterID]bool{}
	for _, p := range parameters {
		left[p] = true
	}
	for _, c := range s {
		switch {
		case c.Op == SetComponentIndex && !c.All && len(c.Indexes) == 1: // of one component: it is 0
		case c.Op == OverrideParameters:
			for _, p := range c.Parameters {
				if !left[p.ID] {
					return fmt.Errorf("%s is set", p.ID)
				}
				delete(left, p.ID)
				i.set(p)
			}
		case len(operations) == 0 || c.Op != operations[0] || len(left) > 0:
			return fmt.Errorf("%s, out of turn", c.Op)
		default:
			operations = operations[1:]
		}
	}
	if len(operations) > 0 {
		return fmt.Errorf("%s is missing", operations[0])
	}
	for _, p := range parameters {
		if left[p] {
			return fmt.Errorf("%s is missing", p)
		}
	}
	return nil
}

func (i *Image) set(p Parameter) {
	switch p.ID {
	case ParamVendor:
		i.Vendor = p.UUID
	case ParamClass:
		i.Class = p.UUID
	case ParamDigest:
		i.Digest = p.Digest
	case ParamImageSize:
		i.Size = p.Uint
	case ParamURI:
		i.URI = p.Text
	}
}
