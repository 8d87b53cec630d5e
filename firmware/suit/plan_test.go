package suit_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

func contentOf(s string) suit.Content {
	return suit.Content{Digest: ident.SumDigest([]byte(s)), Size: uint64(len(s))}
}

// delta is a try that makes an image out of an older one.
func delta(image suit.Content) suit.Try {
	return suit.Try{Precursor: contentOf("old"), Payload: contentOf("delta for " + image.Digest.Hex()), URI: "payload/delta"}
}

// deltas is a plan with two precursors.
func deltas() suit.Plan {
	p := single()
	p.Staging = suit.ComponentID{{1}}
	second := delta(p.Image)
	second.Precursor, second.URI = contentOf("older"), "payload/older"
	p.Tries = []suit.Try{delta(p.Image), second, p.Tries[0]}
	return p
}

// encrypted is a plan with a ciphertext.
func encrypted() suit.Plan {
	p := single()
	p.Staging = suit.ComponentID{{1}}
	p.Tries = []suit.Try{{Payload: contentOf("ciphertext"), URI: "payload/c", Encryption: []byte{0xd8, 0x60}}}
	return p
}

func integrated(p suit.Plan) suit.Plan {
	p.Tries[0].Payload, p.Tries[0].URI = contentOf("inside"), "#payload"
	if p.Staging == nil {
		p.Image = p.Tries[0].Payload
	}
	return p
}

func TestPlans(t *testing.T) {
	for name, p := range map[string]suit.Plan{
		"single": single(), "deltas": deltas(), "encrypted": encrypted(),
		"integrated": integrated(single()), "integrated and encrypted": integrated(encrypted()),
	} {
		b, err := suit.Build(3, p, []byte("inside"), suit.Text{Version: "1"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		e, err := suit.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := e.Plan(); err != nil || !cmp.Equal(got, p) {
			t.Errorf("%s: %v %s", name, err, cmp.Diff(p, got))
		}
		if inside, ok := e.Payload("#payload"); ok != p.Tries[0].Integrated() || ok && string(inside) != "inside" {
			t.Errorf("%s: payload %q, %t", name, inside, ok)
		}
	}
}

func TestIntegratedPayloadsAreExactlyThoseFetched(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*draft)
		want  error
	}{
		"as signed":    {func(*draft) {}, nil},
		"missing":      {func(d *draft) { d.envelope = nil }, suit.ErrMalformed},
		"other bytes":  {func(d *draft) { d.envelope = m{"#fw": []byte("PAYLOAD")} }, suit.ErrDigest},
		"shorter":      {func(d *draft) { d.envelope = m{"#fw": []byte("payloa")} }, suit.ErrDigest},
		"one too many": {func(d *draft) { d.envelope["#x"] = []byte{1} }, suit.ErrMalformed},
		"not fetched":  {func(d *draft) { d.install = a{20, m{21: "payload/x"}, 21, 2, 3, 15} }, suit.ErrMalformed},
	} {
		d := newDraft(t)
		d.install, d.envelope = a{20, m{21: "#fw"}, 21, 2, 3, 15}, m{"#fw": []byte("payload")}
		c.spoil(d)
		e, err := suit.Decode(d.bytes())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Plan(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// staged is a draft of two components with a delta, which a test then spoils: match, fetch, apply and whole are the parts
// of its install sequence.
type staged struct {
	*draft
	match, fetch, apply, whole a
}

func newStaged(t testing.TB) *staged {
	s := &staged{draft: newDraft(t)}
	set := func(c suit.Content, more m) m {
		p := m{3: enc(t, c.Digest), 14: c.Size}
		overlay(p, more)
		return p
	}
	image := suit.Content{Digest: payload, Size: 7}
	s.components = a{a{[]byte{0}}, a{[]byte{1}}}
	s.shared = append(a{12, 0}, s.shared...)
	s.manifest = m{7: enc(t, a{12, 0, 3, 15})}
	s.match = a{12, 0, 20, set(contentOf("old"), nil), 3, 15}
	s.fetch = a{12, 1, 20, set(contentOf("delta"), m{21: "payload/d"}), 21, 2, 3, 15}
	s.apply = a{12, 0, 20, set(image, m{22: 1}), 22, 2, 3, 15}
	s.whole = a{12, 0, 20, set(image, m{21: "payload/f"}), 21, 2, 3, 15}
	return s
}

func join(parts ...a) a {
	var all a
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// bytes puts the parts together unless the test has written an install sequence itself.
func (s *staged) bytes(own bool) []byte {
	if !own {
		s.install = a{12, 0, 15, a{enc(s.t, join(s.match, s.fetch, s.apply)), enc(s.t, s.whole)}}
	}
	return s.draft.bytes()
}

func TestPlanAcceptsAForeignDelta(t *testing.T) {
	s := newStaged(t)
	s.match = append(a{12, 1}, s.match...) // selected for nothing
	e, err := suit.Decode(s.bytes(false))
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Plan()
	if err != nil || len(p.Tries) != 2 || p.Tries[0].Precursor != contentOf("old") || p.Tries[1].Delta() {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestPlanRefusesStaged: each is a manifest that decodes, and that some device would run.
func TestPlanRefusesStaged(t *testing.T) {
	evil := contentOf("evil")
	for name, spoil := range map[string]func(*staged){
		"no precursor check":       func(s *staged) { s.match = nil },
		"precursor without size":   func(s *staged) { s.match = a{12, 0, 20, m{3: enc(s.t, evil.Digest)}, 3, 15} },
		"precursor not set":        func(s *staged) { s.match = a{12, 0, 3, 15} },
		"precursor is the image":   func(s *staged) { s.match = a{12, 0, 20, m{3: enc(s.t, payload), 14: 7}, 3, 15} },
		"precursor of component 1": func(s *staged) { s.match[1] = 1 },
		"delta into component 0":   func(s *staged) { s.fetch[1] = 0 },
		"delta not checked":        func(s *staged) { s.fetch = s.fetch[:6] },
		"delta without size":       func(s *staged) { delete(s.fetch[3].(m), 14) },
		"delta checked as another": func(s *staged) { s.fetch = join(s.fetch[:6], a{20, m{3: enc(s.t, evil.Digest)}, 3, 15}) },
		"delta fetched twice":      func(s *staged) { s.fetch = join(s.fetch, a{21, 2}) },
		"image not checked":        func(s *staged) { s.apply = s.apply[:6] },
		"image is another":         func(s *staged) { s.apply[3].(m)[3] = enc(s.t, evil.Digest) },
		"image of another size":    func(s *staged) { s.apply[3].(m)[14] = 8 },
		"copy of itself":           func(s *staged) { s.apply[3].(m)[22] = 0 },
		"copy from nowhere":        func(s *staged) { delete(s.apply[3].(m), 22) },
		"copy decrypts":            func(s *staged) { s.apply[3].(m)[19] = []byte{1} },
		"copy before its check":    func(s *staged) { s.fetch, s.apply = s.apply, s.fetch },
		"whole is another":         func(s *staged) { s.whole[3].(m)[3] = enc(s.t, evil.Digest) },
		"whole sets no digest":     func(s *staged) { delete(s.whole[3].(m), 3) },
		"whole not checked":        func(s *staged) { s.whole = s.whole[:6] },
		"whole into component 1":   func(s *staged) { s.whole[1] = 1 },
		"parameter for nothing":    func(s *staged) { s.whole[3].(m)[23] = []byte("args") },
		"soft failure off":         func(s *staged) { s.match[3].(m)[13] = false },
		"slot":                     func(s *staged) { s.match = join(a{12, 0, 20, m{5: 0}, 5, 15}, s.match) },
		"deltas and payload-fetch": func(s *staged) { s.manifest[16] = enc(s.t, a{12, 0, 3, 15}) },
		"shared is of component 1": func(s *staged) { s.shared[1] = 1 },
		"shared sets component 1":  func(s *staged) { s.shared = join(s.shared, a{12, 1, 20, m{14: 1}}) },
		"validate of component 1":  func(s *staged) { s.manifest[7] = enc(s.t, a{12, 1, 3, 15}) },
		"validate sets its digest": func(s *staged) { s.manifest[7] = enc(s.t, a{12, 0, 20, m{3: enc(s.t, evil.Digest)}, 3, 15}) },
		"three components":         func(s *staged) { s.components = append(s.components.(a), a{[]byte{2}}) },
	} {
		t.Run(name, func(t *testing.T) { refused(t, newStaged(t), spoil, false) })
	}
	for name, spoil := range map[string]func(*staged){
		"or nothing":            func(s *staged) { s.install = a{12, 0, 15, a{s.delta(), s.all(), nil}} },
		"whole first":           func(s *staged) { s.install = a{12, 0, 15, a{s.all(), s.delta()}} },
		"after the tries":       func(s *staged) { s.install = a{12, 0, 15, a{s.delta(), s.all()}, 3, 15} },
		"before the tries":      func(s *staged) { s.install = a{12, 0, 20, m{21: "u"}, 15, a{s.delta(), s.all()}} },
		"two try-each":          func(s *staged) { s.install = a{12, 0, 15, a{s.delta(), s.all()}, 15, a{s.delta(), s.all()}} },
		"tries of several":      func(s *staged) { s.install = a{12, true, 15, a{s.delta(), s.all()}} },
		"try-each in a try":     func(s *staged) { s.install = a{12, 0, 15, a{s.delta(), enc(s.t, a{12, 0, 15, a{s.delta(), s.all()}})}} },
		"run-sequence in a try": func(s *staged) { s.install = a{12, 0, 15, a{s.delta(), enc(s.t, a{12, 0, 32, s.all()})}} },
		"all of a component":    func(s *staged) { s.install = a{12, 0, 15, a{s.delta(), enc(s.t, join(a{12, true}, s.whole))}} },
		"no try":                func(s *staged) { s.install = a{12, 0} },
	} {
		t.Run(name, func(t *testing.T) { refused(t, newStaged(t), spoil, true) })
	}
}

func (s *staged) delta() []byte { return enc(s.t, join(s.match, s.fetch, s.apply)) }
func (s *staged) all() []byte   { return enc(s.t, s.whole) }

func TestPlanRefusesEncrypted(t *testing.T) {
	for name, spoil := range map[string]func(*staged){
		"not checked":         func(s *staged) { s.fetch = s.fetch[:6] },
		"checked as another":  func(s *staged) { s.fetch = join(s.fetch[:6], a{20, m{14: 1}, 3, 15}) },
		"into component 0":    func(s *staged) { s.fetch[1] = 0; s.fetch[3] = m{21: "u"} },
		"no encryption-info":  func(s *staged) { delete(s.apply[3].(m), 19) },
		"from itself":         func(s *staged) { s.apply[3].(m)[22] = 0 },
		"plaintext unchecked": func(s *staged) { s.apply = s.apply[:6] },
		"plaintext set again": func(s *staged) { s.apply[3].(m)[3] = enc(s.t, payload) },
		"plaintext another":   func(s *staged) { s.apply = join(s.apply[:6], a{20, m{3: enc(s.t, contentOf("evil").Digest)}, 3, 15}) },
		"no install":          func(s *staged) { s.apply = nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStaged(t)
			s.apply[3] = m{19: []byte{1}, 22: 1}
			refused(t, s, func(s *staged) {
				spoil(s)
				s.manifest[16] = enc(s.t, s.fetch)
				if s.install = s.apply; s.apply == nil {
					s.manifest[20] = nil
				}
			}, true)
		})
	}
}

// refused wants a spoiled manifest to decode, and to be refused only as a plan.
func refused(t *testing.T, s *staged, spoil func(*staged), own bool) {
	t.Helper()
	good, err := suit.Decode(newStaged(t).bytes(false))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := good.Plan(); err != nil {
		t.Fatalf("unspoiled: %v", err)
	}
	spoil(s)
	e, err := suit.Decode(s.bytes(own))
	if err != nil {
		t.Fatalf("must decode: %v", err)
	}
	if p, err := e.Plan(); !errors.Is(err, suit.ErrUnsupported) || !cmp.Equal(p, suit.Plan{}) {
		t.Errorf("%+v, %v", p, err)
	}
}
