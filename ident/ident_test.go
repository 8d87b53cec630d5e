package ident_test

import (
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"fleetbridge/ident"
)

// parsers are all kinds behind one shape; they share one grammar.
var parsers = map[string]func(string) (string, error){
	"tenant":   text(ident.ParseTenant),
	"device":   text(ident.ParseDevice),
	"campaign": text(ident.ParseCampaign),
	"name":     text(ident.ParseName),
	"key":      text(ident.ParseKey),
	"token":    text(ident.ParseToken),
}

func text[T interface{ String() string }](parse func(string) (T, error)) func(string) (string, error) {
	return func(s string) (string, error) {
		v, err := parse(s)
		return v.String(), err
	}
}

func TestParse(t *testing.T) {
	for kind, parse := range parsers {
		for _, s := range []string{"a", "0", "Z9", "a.b_c:d-e", "urn:uuid:0190", strings.Repeat("x", ident.MaxLen)} {
			if got, err := parse(s); err != nil || got != s {
				t.Errorf("%s %q: %q, %v", kind, s, got, err)
			}
		}
		for _, s := range []string{"", ".", "..", "-a", "_a", ":a", "a/b", "/", "+", "#", "a+", "a#", "$SYS", "a b", " a", "a\x00", "a\n",
			"é", "ａ", "a\xff", strings.Repeat("x", ident.MaxLen+1), strings.Repeat("x", 1<<20)} {
			if got, err := parse(s); !errors.Is(err, ident.ErrInvalid) || got != "" {
				t.Errorf("%s %.20q: %q, %v", kind, s, got, err)
			} else if len(err.Error()) > 300 {
				t.Errorf("%s: error of %d bytes", kind, len(err.Error()))
			}
		}
	}
}

func TestMustTenantPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic for a bad constant")
		}
	}()
	ident.MustTenant("a/b")
}

func TestZero(t *testing.T) {
	var d ident.Device
	if !d.IsZero() || d.String() != "" || ident.System.IsZero() {
		t.Error("zero is not none")
	}
	if err := d.UnmarshalText([]byte("d1")); err != nil || d.IsZero() {
		t.Fatal(err)
	}
	if err := d.UnmarshalText([]byte("a/b")); !errors.Is(err, ident.ErrInvalid) || d.String() != "d1" {
		t.Errorf("a bad text gives %q, %v", d, err)
	}
	if err := d.UnmarshalText(nil); err != nil || !d.IsZero() {
		t.Errorf("an empty text gives %q, %v", d, err)
	}
}

func TestJSON(t *testing.T) {
	type body struct {
		Device ident.Device                  `json:"device,omitzero"`
		Digest ident.Digest                  `json:"digest,omitzero"`
		By     map[ident.Tenant]ident.Device `json:"by,omitempty"`
	}
	const full = `{"device":"d1","digest":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","by":{"acme":"d1"}}`
	for _, in := range []string{`{}`, full} {
		var b body
		if err := json.Unmarshal([]byte(in), &b); err != nil {
			t.Fatal(err)
		}
		if out, err := json.Marshal(b); err != nil || string(out) != in {
			t.Errorf("%s became %s, %v", in, out, err)
		}
	}
	for _, in := range []string{`{"device":"a/b"}`, `{"device":1}`, `{"digest":"sha256:00"}`, `{"by":{"a/b":"d"}}`} {
		if err := json.Unmarshal([]byte(in), &body{}); err == nil {
			t.Errorf("%s is accepted", in)
		}
	}
}

func TestDigestText(t *testing.T) {
	d := ident.SumDigest([]byte("x"))
	const want = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
	if d.String() != "sha256:"+want || d.Hex() != want {
		t.Errorf("got %s", d)
	}
	for _, s := range []string{d.String(), d.Hex()} {
		if got, err := ident.ParseDigest(s); err != nil || got != d {
			t.Errorf("ParseDigest(%q) = %s, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "sha256:", "sha256:" + want[1:], "sha256:" + want + "0", strings.ToUpper(want), "SHA256:" + want,
		"sha512:" + want, "sha256:sha256:" + want[7:], "sha256:" + strings.Repeat("g", 64), " " + want} {
		if got, err := ident.ParseDigest(s); !errors.Is(err, ident.ErrInvalid) || !got.IsZero() {
			t.Errorf("ParseDigest(%q) = %s, %v", s, got, err)
		}
	}
	var zero ident.Digest
	if zero.String() != "" || !zero.IsZero() {
		t.Errorf("zero prints %q", zero)
	}
}

func TestDigestCBOR(t *testing.T) {
	d := ident.SumDigest([]byte("x"))
	want := "822f5820" + d.Hex() // [-16, bytes(32)]
	b, err := d.MarshalCBOR()
	if err != nil || hex.EncodeToString(b) != want {
		t.Fatalf("got %x, %v", b, err)
	}
	var got ident.Digest
	if err := got.UnmarshalCBOR(b); err != nil || got != d {
		t.Errorf("got %s, %v", got, err)
	}
	if b, err = (ident.Digest{}).MarshalCBOR(); err != nil || hex.EncodeToString(b) != "f6" {
		t.Errorf("zero encodes as %x, %v", b, err)
	}
	if err := got.UnmarshalCBOR([]byte{0xf6}); err != nil || !got.IsZero() {
		t.Errorf("null decodes as %s, %v", got, err)
	}
	for name, h := range map[string]string{
		"empty": "", "bare hash": "5820" + d.Hex(), "one more element": "832f5820" + d.Hex() + "00", "SHA-384's id": "82382a5820" + d.Hex(),
		"id 16": "82105820" + d.Hex(), "text": "822f7820" + d.Hex(), "short": "822f5820" + d.Hex()[2:], "long": "822f5820" + d.Hex() + "00",
		"longer head": "82380f5820" + d.Hex(), "indefinite": "9f2f5820" + d.Hex() + "ff", "undefined": "f7",
	} {
		in, err := hex.DecodeString(h)
		if err != nil {
			t.Fatal(err)
		}
		keep := d
		if err := keep.UnmarshalCBOR(in); !errors.Is(err, ident.ErrInvalid) || keep != d {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParse holds what is accepted to what a topic level and a store key can carry, and the digest to its inverse.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "acme", "a/b", "+", "#", "a.b_c:d-e", "..", "sha256:" + strings.Repeat("0a", 32), strings.Repeat("0a", 32)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for kind, parse := range parsers {
			got, err := parse(s)
			if err != nil {
				continue
			}
			if got != s || len(s) > ident.MaxLen || strings.ContainsAny(s, "/+#$ \x00") || s[0] == '.' {
				t.Fatalf("%s accepts %q as %q", kind, s, got)
			}
		}
		d, err := ident.ParseDigest(s)
		if err != nil {
			return
		}
		if d.Hex() != strings.TrimPrefix(s, "sha256:") {
			t.Fatalf("%q prints as %q", s, d)
		}
		b, err := d.MarshalText()
		var back ident.Digest
		if err != nil || (encoding.TextUnmarshaler)(&back).UnmarshalText(b) != nil || back != d {
			t.Fatalf("%q does not survive its text: %v", s, err)
		}
	})
}
