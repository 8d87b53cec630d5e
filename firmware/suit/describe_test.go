package suit_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"fleetbridge/firmware/suit"
	"fleetbridge/ident"
)

var update = flag.Bool("update", false, "write the golden files anew")

// namedVectors are the envelopes of the given files, by name.
func namedVectors(t testing.TB, files ...string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, name := range files {
		b, err := os.ReadFile(filepath.Join("..", "testdata", "vectors", name))
		if err != nil {
			t.Fatal(err)
		}
		var f struct {
			Vectors []struct{ Name, Envelope string }
		}
		if err := json.Unmarshal(b, &f); err != nil || len(f.Vectors) == 0 {
			t.Fatalf("%s: %d vectors, %v", name, len(f.Vectors), err)
		}
		for _, v := range f.Vectors {
			if all[v.Name], err = hex.DecodeString(v.Envelope); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

func describe(t testing.TB, envelope []byte) *suit.Item {
	t.Helper()
	i, err := suit.Describe(envelope)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestDescribeGolden holds what `manifest show` prints of each of the draft's examples against a file to read.
func TestDescribeGolden(t *testing.T) {
	examples := namedVectors(t, "draft.json")
	if len(examples) != 7 {
		t.Fatalf("%d examples", len(examples))
	}
	for name, b := range examples {
		i := describe(t, b)
		got := i.Outline() + "\n" + i.Diagnostic(0)
		file := filepath.Join("testdata", "describe", name+".golden")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s; go test ./firmware/suit -run Golden -update writes it\n%s", name, d)
		}
	}
}

// TestDiagnosticLosesNothing reads the notation back: it is every byte of every vector, good and bad, but for the
// outermost form that makes an envelope, and for encodings that the notation does not carry.
func TestDiagnosticLosesNothing(t *testing.T) {
	n := 0
	for name, want := range namedVectors(t, "draft.json", "profile.json", "negative.json") {
		if name == "n15-indefinite-sign1" || name == "n6-manifest-before-wrapper" {
			continue // a length and an order that are not deterministic
		}
		n++
		text := describe(t, want).Diagnostic(0)
		p := &notation{t: t, s: text}
		got := enc(t, p.value())
		if p.space(); p.s != "" {
			t.Errorf("%s: %q left over", name, p.s)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %x is read back as %x from\n%s", name, want, got, text)
		}
	}
	if n < 20 {
		t.Fatalf("%d vectors", n)
	}
}

// notation is a reader of the diagnostic notation as far as we write it. Maps are written raw, because their keys may be
// arrays.
type notation struct {
	t testing.TB
	s string
}

func (p *notation) space() {
	for {
		p.s = strings.TrimLeft(p.s, " \n")
		if !strings.HasPrefix(p.s, "/") {
			return
		}
		_, p.s, _ = strings.Cut(p.s[1:], "/")
	}
}

func (p *notation) take(s string) bool {
	p.space()
	if !strings.HasPrefix(p.s, s) {
		return false
	}
	p.s = p.s[len(s):]
	return true
}

func (p *notation) want(s string) {
	if !p.take(s) {
		p.t.Fatalf("want %q before %.40q", s, p.s)
	}
}

func (p *notation) value() any {
	switch {
	case p.take("<<"):
		b := enc(p.t, p.value())
		p.want(">>")
		return b
	case p.take("["):
		list := a{}
		for !p.take("]") {
			list = append(list, p.value())
			p.take(",")
		}
		return list
	case p.take("{"):
		return p.pairs()
	case p.take("h'"):
		digits, rest, _ := strings.Cut(p.s, "'")
		p.s = rest
		b, err := hex.DecodeString(digits)
		if err != nil {
			p.t.Fatal(err)
		}
		return b
	case p.take("null"):
		return nil
	case p.take("true"):
		return true
	case p.take("false"):
		return false
	}
	dec := json.NewDecoder(strings.NewReader(p.s)) // numbers and text are as in JSON
	dec.UseNumber()
	token, err := dec.Token()
	if err != nil {
		p.t.Fatalf("%v before %.40q", err, p.s)
	}
	p.s = p.s[dec.InputOffset():]
	number, ok := token.(json.Number)
	if !ok {
		return token
	}
	n, err := number.Int64()
	if err != nil {
		p.t.Fatal(err)
	}
	if !p.take("(") {
		return n
	}
	content := p.value()
	p.want(")")
	return cbor.Tag{Number: uint64(n), Content: content}
}

func (p *notation) pairs() cbor.RawMessage {
	var pairs []byte
	n := 0
	for ; !p.take("}"); n++ {
		pairs = append(pairs, enc(p.t, p.value())...)
		p.want(":")
		pairs = append(pairs, enc(p.t, p.value())...)
		p.take(",")
	}
	if n > 23 {
		p.t.Fatalf("%d pairs", n)
	}
	return append([]byte{0xa0 | byte(n)}, pairs...)
}

// TestDescribeUnknown shows what no server of ours takes: it has no name, and is there.
func TestDescribeUnknown(t *testing.T) {
	sha384 := bytes.Repeat([]byte{0x38}, 48)
	mac := enc(t, cbor.Tag{Number: 17, Content: a{enc(t, m{1: 5}), m{4: []byte("shared")}, nil, make([]byte, 32)}})
	pqc := enc(t, cbor.Tag{Number: 18, Content: a{enc(t, m{1: -49, 4: []byte{0xff}}), m{}, []byte("attached"), make([]byte, 3309)}})
	d := newDraft(t)
	d.install = a{-300, "private", 7, 15, 19, m{-299: true, 24: class[:]}, 99, nil}
	d.manifest = m{24: enc(t, a{33, 2}), 15: a{-43, sha384}, 77: []byte("member")}
	d.envelope = m{88: []byte{1}, "#fw": []byte("payload")}
	d.wrapper = enc(t, a{enc(t, a{-43, sha384}), mac, pqc})
	out := describe(t, d.bytes()).Outline()
	for _, want := range []string{
		"\n  authentication-wrapper (2)\n    digest: SHA-384 3838", "DOES NOT MATCH the manifest of this envelope, which has ",
		"signature block 0: COSE_Mac0 (tag 17)", "alg (1): HMAC 256-256 (5)", `kid (4): h'736861726564', "shared"`,
		"signature block 1: COSE_Sign1 (tag 18)", "alg (1): ML-DSA-65 (-49)", "kid (4): h'ff'\n", "payload: h'6174746163686564'",
		`(-300): "private"`, "condition-dependency-integrity (7): 15", "        (-299): true\n",
		"device-identifier (24): " + class.String(), "(99): null", "uninstall (24)\n      directive-unlink (33)",
		"dependency-resolution (15): SHA-384 3838", "severed, and not in this envelope", "(77): h'6d656d626572'", "(88): h'01'",
		`integrated-payload ("#fw"): 7 bytes, ` + payload.String(),
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	untagged := describe(t, d.bytes()[2:])
	if !strings.HasPrefix(untagged.Outline(), "SUIT_Envelope: tag 107 is missing\n") {
		t.Errorf("without its tag: %.80s", untagged.Outline())
	}
}

// TestDescribeNames: identifiers that are the UUIDv5 of a domain and a model in the text are shown with both.
func TestDescribeNames(t *testing.T) {
	text := enc(t, cbor.RawMessage("\xa1\x62en\xa1\x81\x41\x00"+string(enc(t, m{3: "acme.example", 4: "sensor-x1:rev-b"}))))
	d := newDraft(t)
	d.manifest, d.envelope = m{23: ident.SumDigest(enc(t, []byte(text)))}, m{23: []byte(text)}
	out := describe(t, d.bytes()).Outline()
	for _, want := range []string{vendor.String() + ` ("acme.example")`, class.String() + ` ("sensor-x1:rev-b" of "acme.example")`} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
}

// TestDescribeForgery: text, identifiers and names from a manifest can't forge a line, end a comment or move a cursor.
func TestDescribeForgery(t *testing.T) {
	evil := "new\n  manifest-sequence-number (2): 8\x1b[2J\u202e\n/ */ 107("
	domain := "acme/\x1b[2J\n"
	components := "\x81\x41\x00" + string(enc(t, m{3: domain, 4: evil}))
	text := enc(t, cbor.RawMessage("\xa1"+string(enc(t, "en\n"))+"\xa2\x02"+string(enc(t, evil))+components))
	d := newDraft(t)
	d.manifest, d.envelope = m{23: ident.SumDigest(enc(t, []byte(text))), 4: evil}, m{23: []byte(text), "#\x1b\n": []byte(evil)}
	i := describe(t, d.bytes())
	for _, view := range []string{i.Outline(), i.Diagnostic(0)} {
		for line := range strings.Lines(view) {
			if strings.HasPrefix(line, "  manifest-sequence-number") || strings.HasPrefix(line, "/ */") {
				t.Errorf("forged: %q", line)
			}
		}
		if strings.ContainsAny(view, "\x1b\r\u202e") {
			t.Errorf("control characters in %q", view)
		}
	}
	p := &notation{t: t, s: i.Diagnostic(0)}
	if got := enc(t, p.value()); !bytes.Equal(got, d.bytes()) {
		t.Errorf("read back as %x", got)
	}
}

func TestDescribeRefuses(t *testing.T) {
	good := newDraft(t).bytes()
	for name, b := range map[string][]byte{
		"nothing":        nil,
		"text":           []byte("firmware"),
		"left over":      append(bytes.Clone(good), 0),
		"cut short":      good[:len(good)-1],
		"no manifest":    enc(t, cbor.Tag{Number: 107, Content: m{2: []byte{}}}),
		"another tag":    append([]byte{0xd8, 0x6a}, good[2:]...),
		"more than fits": make([]byte, suit.MaxEnvelope+suit.MaxIntegrated+1),
	} {
		if i, err := suit.Describe(b); !errors.Is(err, suit.ErrMalformed) || i != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDescribe: no input panics or makes an endless tree, and what is shown is shown in both views.
func FuzzDescribe(f *testing.F) {
	for _, b := range namedVectors(f, "draft.json", "negative.json") {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := suit.Describe(b)
		if err != nil {
			return
		}
		if i.Outline() == "" || i.Diagnostic(16) == "" {
			t.Error("nothing to say")
		}
	})
}
