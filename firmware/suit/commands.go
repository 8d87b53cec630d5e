package suit

// This file writes the manifests that (Envelope).Plan reads.

// commands is a command sequence being written: operations and their arguments in turn.
type commands []any

// plan returns the members of a manifest that say p.
func (w *writer) plan(p Plan) map[Member]any {
	components := []any{p.Component}
	if p.Staging != nil {
		components = append(components, p.Staging)
	}
	on := func(i int) commands { // with one component, nothing needs to be selected
		if len(components) == 1 {
			return nil
		}
		return commands{SetComponentIndex, i}
	}
	shared := w.set(p.Image)
	shared[ParamVendor], shared[ParamClass] = p.Vendor[:], p.Class[:]
	m := map[Member]any{
		memberCommon: w.wrap(map[int]any{2: components, 4: w.wrap(append(on(0),
			OverrideParameters, shared, VendorIdentifier, policyCondition, ClassIdentifier, policyCondition))}),
		MemberValidate: w.wrap(append(on(0), ImageMatch, policyCondition)),
	}
	var cases []any
	for _, t := range p.Tries {
		switch {
		case t.Encryption != nil:
			m[MemberFetch] = w.wrap(append(on(1), w.fetch(t)...))
			m[MemberInstall] = w.wrap(append(on(0), copyIn(map[ParameterID]any{ParamEncryption: t.Encryption})...))
			return m
		case t.Delta():
			cases = append(cases, w.wrap(w.delta(t, p.Image)))
		case p.Staging != nil:
			cases = append(cases, w.wrap(append(on(0), w.fetch(t)...)))
		default:
			m[MemberInstall] = w.wrap(commands{OverrideParameters, map[ParameterID]any{ParamURI: t.URI},
				Fetch, policyDirective, ImageMatch, policyCondition})
		}
	}
	if cases != nil {
		m[MemberInstall] = w.wrap(append(on(0), TryEach, cases))
	}
	return m
}

// delta fetches a delta into component 1 and applies it to component 0, if that holds the precursor.
func (w *writer) delta(t Try, image Content) commands {
	c := commands{SetComponentIndex, 0, OverrideParameters, w.set(t.Precursor), ImageMatch, policyCondition, SetComponentIndex, 1}
	c = append(append(c, w.fetch(t)...), SetComponentIndex, 0)
	return append(c, copyIn(w.set(image))...)
}

// fetch fetches and checks the payload of t.
func (w *writer) fetch(t Try) commands {
	with := w.set(t.Payload)
	with[ParamURI] = t.URI
	return commands{OverrideParameters, with, Fetch, policyDirective, ImageMatch, policyCondition}
}

// copyIn copies from component 1, which decrypts or patches on the way, and checks the result.
func copyIn(with map[ParameterID]any) commands {
	with[ParamSourceComponent] = 1
	return commands{OverrideParameters, with, Copy, policyDirective, ImageMatch, policyCondition}
}

func (w *writer) set(c Content) map[ParameterID]any {
	return map[ParameterID]any{ParamDigest: w.wrap(c.Digest), ParamImageSize: c.Size}
}
