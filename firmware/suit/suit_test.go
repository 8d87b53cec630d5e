package suit_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

// m is a CBOR map, a an array.
type (
	m = map[any]any
	a = []any
)

func enc(t testing.TB, v any) []byte {
	t.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	b, err := mode.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	vendor  = uuid.MustParse("0637e301-e05d-505b-8267-486f5677de9b")
	class   = uuid.MustParse("80646209-e5d8-5c4a-b7d3-203a35b1d156")
	payload = ident.SumDigest([]byte("payload"))
)

// draft is a manifest in the making: a good one that a test then spoils.
type draft struct {
	t          testing.TB
	components any
	shared     a
	install    any // a sequence, or anything to be put in as it is
	manifest   m   // members over those that the fields above give; nil deletes one
	envelope   m   // members over those that are due
	wrapper    any // replaces the authentication wrapper
}

func newDraft(t testing.TB) *draft {
	return &draft{
		t:          t,
		components: a{a{[]byte{0}}},
		shared: a{20, m{1: vendor[:], 2: class[:], 3: enc(t, payload), 14: 7},
			1, 15, 2, 15},
		install: a{20, m{21: "https://fw.example/f"}, 21, 2, 3, 15},
	}
}

// bytes encodes the draft, with the right digests and no signature.
func (d *draft) bytes() []byte {
	install := d.install
	if s, ok := install.(a); ok {
		install = enc(d.t, s)
	}
	manifest := m{1: 1, 2: 9, 7: enc(d.t, a{3, 15}), 20: install,
		3: enc(d.t, m{2: d.components, 4: enc(d.t, d.shared)})}
	overlay(manifest, d.manifest)
	wrapped := enc(d.t, manifest)
	wrapper := d.wrapper
	if wrapper == nil {
		wrapper = enc(d.t, a{enc(d.t, ident.SumDigest(enc(d.t, wrapped)))})
	}
	envelope := m{2: wrapper, 3: wrapped}
	overlay(envelope, d.envelope)
	return enc(d.t, cbor.Tag{Number: 107, Content: envelope})
}

func overlay(to, from m) {
	for k, v := range from {
		if v == nil {
			delete(to, k)
			continue
		}
		to[k] = v
	}
}

// nest puts a sequence into n run-sequences.
func nest(t testing.TB, n int, s a) a {
	for range n {
		s = a{32, enc(t, s)}
	}
	return s
}

func TestDecodeAccepts(t *testing.T) {
	digestOf := func(v any) ident.Digest { return ident.SumDigest(enc(t, v)) }
	text := enc(t, map[string]map[int]string{"en": {1: "text"}})
	for name, spoil := range map[string]func(*draft){
		"plain":                  func(*draft) {},
		"reference and version":  func(d *draft) { d.manifest = m{4: "https://fw.example/m", 6: enc(t, a{1, 2, -1, 3})} },
		"load and invoke":        func(d *draft) { d.manifest = m{8: enc(t, a{22, 2}), 9: enc(t, a{23, 2})} },
		"four levels":            func(d *draft) { d.install = nest(t, 3, a{3, 15}) },
		"256 commands":           func(d *draft) { d.install = bytes2a(bytes.Repeat([]byte{3, 15}, 256-4)) },
		"payload inside":         func(d *draft) { d.envelope = m{"#fw": bytes.Repeat([]byte{1}, suit.MaxIntegrated)} },
		"text, not severed":      func(d *draft) { d.manifest = m{23: text} },
		"text, severed":          func(d *draft) { d.manifest = m{23: digestOf(text)}; d.envelope = m{23: text} },
		"text, severed and away": func(d *draft) { d.manifest = m{23: digestOf(text)} },
		"all components":         func(d *draft) { d.install = a{12, true, 3, 15} },
		"list of components":     func(d *draft) { d.install = a{12, a{0}, 3, 15} },
		"try-each with null":     func(d *draft) { d.install = a{15, a{enc(t, a{3, 15}), enc(t, a{3, 15}), nil}} },
		"soft failure, nested":   func(d *draft) { d.install = nest(t, 1, a{20, m{13: true}, 3, 15}) },
		"update management": func(d *draft) {
			d.install = a{20, m{4: 1, 26: 2, 27: -1, 28: enc(t, a{2, a{1, 2}})}, 4, 15, 26, 15, 28, 15}
		},
		"component of two strings": func(d *draft) { d.components = a{a{[]byte("fs"), []byte{}}} },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDraft(t)
			spoil(d)
			if _, err := suit.Decode(d.bytes()); err != nil {
				t.Error(err)
			}
		})
	}
}

// bytes2a makes a sequence of small numbers.
func bytes2a(b []byte) a {
	s := make(a, len(b))
	for i, v := range b {
		s[i] = int(v)
	}
	return s
}

// refusal is one thing wrong with a good manifest, and the class of error that it must be.
type refusal struct {
	name  string
	class error
	spoil func(*draft)
}

func refusals(t testing.TB) []refusal {
	malformed, unsupported := suit.ErrMalformed, suit.ErrUnsupported
	seq := func(v ...any) []byte { return enc(t, v) }
	two := a{a{[]byte{0}}, a{[]byte{1}}}
	return []refusal{
		{"no version", malformed, func(d *draft) { d.manifest = m{1: nil} }},
		{"no sequence number", malformed, func(d *draft) { d.manifest = m{2: nil} }},
		{"no common", malformed, func(d *draft) { d.manifest = m{3: nil} }},
		{"version 2", unsupported, func(d *draft) { d.manifest = m{1: 2} }},
		{"null sequence number", malformed, func(d *draft) { d.manifest = m{2: cbor.RawMessage{0xf6}} }},
		{"negative sequence number", malformed, func(d *draft) { d.manifest = m{2: -1} }},
		{"float sequence number", malformed, func(d *draft) { d.manifest = m{2: cbor.RawMessage{0xf9, 0x3c, 0}} }},
		{"long form of 8 bits", malformed, func(d *draft) { d.manifest = m{2: cbor.RawMessage{0x18, 23}} }},
		{"long form of 16 bits", malformed, func(d *draft) { d.manifest = m{2: cbor.RawMessage{0x19, 0, 255}} }},
		{"long form of 32 bits", malformed, func(d *draft) { d.manifest = m{2: cbor.RawMessage{0x1a, 0, 0, 255, 255}} }},
		{"long form of 64 bits", malformed, func(d *draft) { d.manifest = m{2: cbor.RawMessage{0x1b, 0, 0, 0, 0, 255, 255, 255, 255}} }},
		{"bignum sequence number", malformed, func(d *draft) { d.manifest = m{2: cbor.RawMessage{0xc2, 0x41, 9}} }},
		{"array for a byte string", malformed, func(d *draft) { d.manifest = m{7: a{3, 15}} }},
		{"indefinite array", malformed, func(d *draft) { d.manifest = m{7: []byte{0x9f, 3, 15, 0xff}} }},
		{"bytes left over in a sequence", malformed, func(d *draft) { d.manifest = m{7: append(seq(3, 15), 0)} }},
		{"draft 26's install", unsupported, func(d *draft) { d.manifest = m{17: seq(3, 15)} }},
		{"dependencies", unsupported, func(d *draft) { d.manifest = m{15: seq(3, 15)} }},
		{"private member", malformed, func(d *draft) { d.manifest = m{-300: 1} }},
		{"unknown envelope member", unsupported, func(d *draft) { d.envelope = m{15: []byte{1}} }},
		{"private envelope member", malformed, func(d *draft) { d.envelope = m{-1: []byte{1}} }},
		{"payload that isn't bytes", malformed, func(d *draft) { d.envelope = m{"#fw": 1} }},
		{"payload too large", malformed, func(d *draft) { d.envelope = m{"#fw": make([]byte, suit.MaxIntegrated+1)} }},
		{"payloads too large together", malformed, func(d *draft) { d.envelope = m{"#a": make([]byte, suit.MaxIntegrated), "#b": []byte{1}} }},
		{"envelope too large", malformed, func(d *draft) { d.manifest = m{23: make([]byte, suit.MaxEnvelope)} }},
		{"empty wrapper", malformed, func(d *draft) { d.wrapper = enc(t, a{}) }},
		{"wrapper not wrapped", malformed, func(d *draft) { d.wrapper = a{enc(t, payload)} }},
		{"nine blocks", malformed, func(d *draft) {
			d.wrapper = enc(t, a{enc(t, payload), []byte{1}, []byte{1}, []byte{1}, []byte{1}, []byte{1}, []byte{1}, []byte{1}, []byte{1}, []byte{1}})
		}},
		{"SHA-512", unsupported, func(d *draft) { d.wrapper = enc(t, a{enc(t, a{-44, make([]byte, 64)})}) }},
		{"zero digest", malformed, func(d *draft) { d.wrapper = enc(t, a{enc(t, a{-16, make([]byte, 32)})}) }},
		{"short digest", malformed, func(d *draft) { d.wrapper = enc(t, a{enc(t, a{-16, make([]byte, 31)})}) }},
		{"other manifest's digest", suit.ErrDigest, func(d *draft) { d.wrapper = enc(t, a{enc(t, payload)}) }},
		{"no components", malformed, func(d *draft) { d.components = a{} }},
		{"17 components", malformed, func(d *draft) {
			c := a{}
			for i := range 17 {
				c = append(c, a{[]byte{byte(i)}})
			}
			d.components = c
		}},
		{"component twice", malformed, func(d *draft) { d.components = a{a{[]byte{0}}, a{[]byte{0}}} }},
		{"component of text", malformed, func(d *draft) { d.components = a{a{"0"}} }},
		{"component of six strings", malformed, func(d *draft) { b := []byte{0}; d.components = a{a{b, b, b, b, b, b}} }},
		{"component of 33 bytes", malformed, func(d *draft) { d.components = a{a{make([]byte, 33)}} }},
		{"two components, none set", malformed, func(d *draft) { d.components = two }},
		{"component index too high", malformed, func(d *draft) { d.install = a{12, 1, 3, 15} }},
		{"component index false", malformed, func(d *draft) { d.install = a{12, false, 3, 15} }},
		{"component index list empty", malformed, func(d *draft) { d.install = a{12, a{}, 3, 15} }},
		{"source component too high", malformed, func(d *draft) { d.install = a{20, m{22: 1}, 22, 2} }},
		{"empty sequence", malformed, func(d *draft) { d.install = a{} }},
		{"sequence without its argument", malformed, func(d *draft) { d.install = a{3, 15, 3} }},
		{"unknown command", unsupported, func(d *draft) { d.install = a{100, 1} }},
		{"custom command", unsupported, func(d *draft) { d.install = a{-257, nil} }},
		{"trust-domains command", unsupported, func(d *draft) { d.install = a{11, 15} }},
		{"command as text", malformed, func(d *draft) { d.install = a{"fetch", 15} }},
		{"reserved policy", unsupported, func(d *draft) { d.install = a{3, 16} }},
		{"null policy", malformed, func(d *draft) { d.install = a{3, nil} }},
		{"fetch in shared", malformed, func(d *draft) { d.shared = append(d.shared, 21, 2) }},
		{"fetch nested in shared", malformed, func(d *draft) { d.shared = append(d.shared, nest(t, 2, a{21, 2})...) }},
		{"five levels", malformed, func(d *draft) { d.install = nest(t, 4, a{3, 15}) }},
		{"257 commands", malformed, func(d *draft) { d.install = bytes2a(bytes.Repeat([]byte{3, 15}, 256-3)) }},
		{"one case", malformed, func(d *draft) { d.install = a{15, a{seq(3, 15)}} }},
		{"one case and null", malformed, func(d *draft) { d.install = a{15, a{seq(3, 15), nil}} }},
		{"null between cases", malformed, func(d *draft) { d.install = a{15, a{seq(3, 15), seq(3, 15), nil, seq(3, 15)}} }},
		{"no parameters", malformed, func(d *draft) { d.install = a{20, m{}} }},
		{"unknown parameter", unsupported, func(d *draft) { d.install = a{20, m{99: 1}} }},
		{"custom parameter", unsupported, func(d *draft) { d.install = a{20, m{-257: 1}} }},
		{"short vendor", malformed, func(d *draft) { d.install = a{20, m{1: make([]byte, 15)}} }},
		{"vendor as a number", unsupported, func(d *draft) { d.install = a{20, m{1: cbor.Tag{Number: 112, Content: []byte{1}}}} }},
		{"digest not wrapped", malformed, func(d *draft) { d.install = a{20, m{3: payload}} }},
		{"size as bytes", malformed, func(d *draft) { d.install = a{20, m{14: []byte{1}}} }},
		{"flag as a number", malformed, func(d *draft) { d.install = a{20, m{12: 1}} }},
		{"URI of 256 bytes", malformed, func(d *draft) { d.install = a{20, m{21: strings.Repeat("u", 256)}} }},
		{"URI as bytes", malformed, func(d *draft) { d.install = a{20, m{21: []byte("u")}} }},
		{"URI not UTF-8", malformed, func(d *draft) { d.install = a{20, m{21: cbor.RawMessage{0x61, 0xff}}} }},
		{"soft failure outermost", malformed, func(d *draft) { d.install = a{20, m{13: true}, 3, 15} }},
		{"version compares by 6", malformed, func(d *draft) { d.install = a{20, m{28: seq(6, a{1})}} }},
		{"keys out of order", malformed, func(d *draft) {
			d.install = a{20, cbor.RawMessage{0xa2, 14, 1, 12, 0xf5}}
		}},
		{"key twice", malformed, func(d *draft) { d.install = a{20, cbor.RawMessage{0xa2, 14, 1, 14, 2}} }},
		{"severed, not as the digest says", suit.ErrDigest, func(d *draft) { d.manifest = m{23: payload}; d.envelope = m{23: enc(t, m{"en": m{1: "x"}})} }},
		{"severed, digest without head", suit.ErrDigest, func(d *draft) {
			text := enc(t, m{"en": m{1: "x"}})
			d.manifest, d.envelope = m{23: ident.SumDigest(text)}, m{23: text}
		}},
		{"severed and in the manifest", malformed, func(d *draft) { d.envelope = m{20: seq(3, 15)} }},
		{"severed without a trace", malformed, func(d *draft) { d.envelope = m{16: seq(3, 15)} }},
		{"text on another component", malformed, func(d *draft) {
			d.manifest = m{23: enc(t, m{"en": cbor.RawMessage{0xa1, 0x81, 0x41, 9, 0xa1, 1, 0x61, 'x'}})}
		}},
		{"text key 0", unsupported, func(d *draft) { d.manifest = m{23: enc(t, m{"en": m{0: "x"}})} }},
		{"text key 5", unsupported, func(d *draft) { d.manifest = m{23: enc(t, m{"en": m{5: "x"}})} }},
		{"text as bytes", malformed, func(d *draft) { d.manifest = m{23: enc(t, m{"en": m{1: []byte("x")}})} }},
	}
}

func TestDecodeRefuses(t *testing.T) {
	classes := []error{suit.ErrMalformed, suit.ErrUnsupported, suit.ErrDigest}
	for _, c := range refusals(t) {
		t.Run(c.name, func(t *testing.T) {
			d := newDraft(t)
			c.spoil(d)
			e, err := suit.Decode(d.bytes())
			if e != nil {
				t.Fatal("decoded")
			}
			for _, class := range classes {
				if errors.Is(err, class) != (class == c.class) {
					t.Errorf("%v: want class %v", err, c.class)
				}
			}
		})
	}
}

// Every prefix of an envelope is malformed, and so is one with a byte too many.
func TestDecodeTruncated(t *testing.T) {
	b := newDraft(t).bytes()
	for n := range len(b) {
		if _, err := suit.Decode(b[:n]); !errors.Is(err, suit.ErrMalformed) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	if _, err := suit.Decode(append(b, 0)); !errors.Is(err, suit.ErrMalformed) {
		t.Errorf("a byte too many: %v", err)
	}
}

func vectors(t testing.TB) [][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "testdata", "vectors", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var f struct{ Vectors []struct{ Envelope string } }
		if err := json.Unmarshal(b, &f); err != nil {
			t.Fatal(err)
		}
		for _, v := range f.Vectors {
			e, err := hex.DecodeString(v.Envelope)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d vectors", len(all))
	}
	return all
}

// single is a plan of one component.
func single() suit.Plan {
	image := suit.Content{Digest: payload, Size: 7}
	return suit.Plan{Vendor: vendor, Class: class, Component: suit.ComponentID{{0}}, Image: image,
		Tries: []suit.Try{{Payload: image, URI: "https://fw.example/f"}}}
}

func TestBuildReadsBack(t *testing.T) {
	p := single()
	p.Component = suit.ComponentID{{0}, []byte("x")}
	for _, text := range []suit.Text{{}, {Version: "1.2.3"}, {Description: "what is new"}, {Version: "1", Description: "\u00fc"}} {
		b, err := suit.Build(77, p, nil, text)
		if err != nil {
			t.Fatal(err)
		}
		e, err := suit.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Plan()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p, got); d != "" {
			t.Error(d)
		}
		if e.Manifest.Sequence != 77 || e.Manifest.Version(p.Component) != text.Version || e.Manifest.Description() != text.Description {
			t.Errorf("%d, %q, %q, want %+v", e.Manifest.Sequence, e.Manifest.Version(p.Component), e.Manifest.Description(), text)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*suit.Plan, *suit.Text){
		"no component":    func(p *suit.Plan, _ *suit.Text) { p.Component = nil },
		"long URI":        func(p *suit.Plan, _ *suit.Text) { p.Tries[0].URI = strings.Repeat("u", 256) },
		"no digest":       func(p *suit.Plan, _ *suit.Text) { p.Image.Digest = ident.Digest{} },
		"bad UTF-8":       func(_ *suit.Plan, t *suit.Text) { t.Version = "\xff" },
		"no try":          func(p *suit.Plan, _ *suit.Text) { p.Tries = nil },
		"two wholes":      func(p *suit.Plan, _ *suit.Text) { p.Tries = append(p.Tries, p.Tries[0]) },
		"another image":   func(p *suit.Plan, _ *suit.Text) { p.Tries[0].Payload.Size++ },
		"staging unused":  func(p *suit.Plan, _ *suit.Text) { p.Staging = suit.ComponentID{{1}} },
		"not in envelope": func(p *suit.Plan, _ *suit.Text) { p.Tries[0].URI = "#elsewhere" },
		"encrypted, one":  func(p *suit.Plan, _ *suit.Text) { p.Tries[0].Encryption = []byte{1} },
		"delta, one":      func(p *suit.Plan, _ *suit.Text) { p.Tries = append([]suit.Try{delta(p.Image)}, p.Tries...) },
		"only a delta": func(p *suit.Plan, _ *suit.Text) {
			p.Staging, p.Tries = suit.ComponentID{{1}}, []suit.Try{delta(p.Image)}
		},
		"staging is image": func(p *suit.Plan, _ *suit.Text) { *p = deltas(); p.Staging = p.Component },
	} {
		p, text := single(), suit.Text{Version: "1"}
		spoil(&p, &text)
		if b, err := suit.Build(1, p, []byte("bytes"), text); err == nil || b != nil {
			t.Errorf("%s: built %x, error %v", name, b, err)
		}
	}
}

func TestPlanRefusesSingle(t *testing.T) {
	text := enc(t, m{"en": m{1: "x"}})
	shared := func(p m, rest ...any) a { return append(a{20, p}, rest...) }
	all := m{1: vendor[:], 2: class[:], 3: enc(t, payload), 14: 7}
	for name, spoil := range map[string]func(*draft){
		"no vendor condition":    func(d *draft) { d.shared = shared(all, 2, 15) },
		"no class condition":     func(d *draft) { d.shared = shared(all, 1, 15) },
		"condition before ids":   func(d *draft) { d.shared = append(a{1, 15}, append(d.shared[:2:2], 2, 15)...) },
		"condition in try-each":  func(d *draft) { d.shared = shared(all, 15, a{enc(t, a{1, 15}), enc(t, a{2, 15})}) },
		"no digest":              func(d *draft) { d.shared = shared(m{1: vendor[:], 2: class[:], 14: 7}, 1, 15, 2, 15) },
		"no size":                func(d *draft) { d.shared = shared(m{1: vendor[:], 2: class[:], 3: enc(t, payload)}, 1, 15, 2, 15) },
		"digest set again":       func(d *draft) { d.install = a{20, m{3: enc(t, payload), 21: "u"}, 21, 2, 3, 15} },
		"vendor set again":       func(d *draft) { d.install = a{20, m{1: class[:], 21: "u"}, 21, 2, 3, 15} },
		"no URI":                 func(d *draft) { d.install = a{21, 2, 3, 15} },
		"no fetch":               func(d *draft) { d.install = a{20, m{21: "u"}, 3, 15} },
		"no match after fetch":   func(d *draft) { d.install = a{20, m{21: "u"}, 21, 2} },
		"match before fetch":     func(d *draft) { d.install = a{20, m{21: "u"}, 3, 15, 21, 2} },
		"two fetches":            func(d *draft) { d.install = a{20, m{21: "u"}, 21, 2, 21, 2, 3, 15} },
		"second URI after fetch": func(d *draft) { d.install = a{20, m{21: "u"}, 21, 2, 20, m{21: "v"}, 3, 15} },
		"fetch in run-sequence":  func(d *draft) { d.install = nest(t, 1, a{20, m{21: "u"}, 21, 2, 3, 15}) },
		"write":                  func(d *draft) { d.install = a{20, m{21: "u"}, 21, 2, 3, 15, 18, 2} },
		"no install":             func(d *draft) { d.manifest = m{20: nil} },
		"install and fetch":      func(d *draft) { d.manifest = m{16: enc(t, a{3, 15})} },
		"no validate":            func(d *draft) { d.manifest = m{7: nil} },
		"validate aborts":        func(d *draft) { d.manifest = m{7: enc(t, a{14, 15})} },
		"load":                   func(d *draft) { d.manifest = m{8: enc(t, a{22, 2})} },
		"invoke":                 func(d *draft) { d.manifest = m{9: enc(t, a{23, 2})} },
		"severed install":        func(d *draft) { d.install = ident.SumDigest(text) },
		"all components":         func(d *draft) { d.install = a{12, true, 20, m{21: "u"}, 21, 2, 3, 15} },
		"two components": func(d *draft) {
			d.components = a{a{[]byte{0}}, a{[]byte{1}}}
			d.shared = append(a{12, 0}, d.shared...)
			d.install = append(a{12, 0}, d.install.(a)...)
			d.manifest = m{7: enc(t, a{12, 0, 3, 15})}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDraft(t)
			spoil(d)
			e, err := suit.Decode(d.bytes())
			if err != nil {
				t.Fatalf("must decode, and be refused only as an image: %v", err)
			}
			if p, err := e.Plan(); !errors.Is(err, suit.ErrUnsupported) || !cmp.Equal(p, suit.Plan{}) {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

func TestPlanAcceptsSingle(t *testing.T) {
	for name, spoil := range map[string]func(*draft){
		"plain":         func(*draft) {},
		"payload-fetch": func(d *draft) { d.manifest = m{16: enc(t, d.install), 20: nil} },
		"index of 0":    func(d *draft) { d.install = append(a{12, 0}, d.install.(a)...) },
		"parameters two": func(d *draft) {
			d.shared = a{20, m{1: vendor[:], 2: class[:]}, 20, m{3: enc(t, payload), 14: 7}, 1, 15, 2, 15}
		},
	} {
		d := newDraft(t)
		spoil(d)
		e, err := suit.Decode(d.bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := e.Plan(); err != nil || !cmp.Equal(got, single()) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
