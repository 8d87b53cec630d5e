package topics_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"fleetbridge/ident"
	"fleetbridge/topics"
)

// deep compares messages; identifiers hide their text, so they compare as values.
var deep = cmp.Options{
	cmp.Comparer(func(a, b ident.Tenant) bool { return a == b }), cmp.Comparer(func(a, b ident.Device) bool { return a == b }),
	cmp.Comparer(func(a, b ident.Campaign) bool { return a == b }), cmp.Comparer(func(a, b ident.Name) bool { return a == b }),
	cmp.Comparer(func(a, b ident.Key) bool { return a == b }), cmp.Comparer(func(a, b ident.Token) bool { return a == b }),
}

var formats = []topics.Format{topics.CBOR, topics.JSON}

// roundTrip encodes, decodes and encodes again; it returns the decoded value.
func roundTrip(t *testing.T, v any, f topics.Format) any {
	t.Helper()
	b, err := topics.Encode(v, f)
	if err != nil {
		t.Fatal(err)
	}
	got := reflect.New(reflect.TypeOf(v))
	if gf, err := topics.Decode(b, got.Interface()); err != nil || gf != f {
		t.Fatalf("decode %s: %v, %v", f, gf, err)
	}
	again, err := topics.Encode(got.Elem().Interface(), f)
	if err != nil || !bytes.Equal(b, again) {
		t.Fatalf("%s is not stable (%v):\n%x\n%x", f, err, b, again)
	}
	return got.Elem().Interface()
}

func TestEveryMemberSurvives(t *testing.T) {
	all := messages()
	if len(all) < 30 {
		t.Fatalf("%d messages", len(all))
	}
	for name, zero := range all {
		v := reflect.New(reflect.TypeOf(zero)).Elem()
		fill(v, "x")
		for _, f := range formats {
			t.Run(name+"/"+f.String(), func(t *testing.T) {
				if diff := cmp.Diff(v.Interface(), roundTrip(t, v.Interface(), f), deep); diff != "" {
					t.Errorf("(-sent +got):\n%s", diff)
				}
			})
		}
	}
}

func TestSamplesAreValid(t *testing.T) {
	for _, s := range samples() {
		if v, ok := s.value.(topics.Validator); ok {
			if err := v.Validate(); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		}
		for _, f := range formats {
			if diff := cmp.Diff(s.value, roundTrip(t, s.value, f), deep); diff != "" {
				t.Errorf("%s %s (-sent +got):\n%s", s.name, f, diff)
			}
		}
	}
}

// TestDeterministicCBOR checks RFC 8949 section 4.2.1 with another option set than the encoder's own.
func TestDeterministicCBOR(t *testing.T) {
	em, err := cbor.EncOptions{Sort: cbor.SortBytewiseLexical, ShortestFloat: cbor.ShortestFloat16}.EncMode()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples() {
		b, err := topics.Encode(s.value, topics.CBOR)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := cbor.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		again, err := em.Marshal(v)
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("%s: %x re-encodes to %x (%v)", s.name, b, again, err)
		}
	}
}

// The attacks on decoders. Each must be refused as malformed, whatever message is expected.
func malformed(t testing.TB) map[string][]byte {
	t.Helper()
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	nest := func(open string, n int, end string) []byte {
		return []byte(strings.Repeat(open, n) + "1" + strings.Repeat(end, n))
	}
	return map[string][]byte{
		"empty":                          {},
		"null":                           unhex("f6"),
		"integer":                        unhex("01"),
		"list":                           unhex("80"),
		"byte string":                    unhex("43010203"),
		"truncated map":                  unhex("a2 01 01"),
		"trailing byte":                  unhex("a1 01 01 00"),
		"second map":                     unhex("a1 01 01 a1 01 02"),
		"duplicate key":                  unhex("a2 01 01 01 02"),
		"duplicate key, other length":    unhex("a2 01 01 18 01 02"),
		"duplicate unknown key":          unhex("a2 18 2a 01 18 2a 02"),
		"indefinite map":                 unhex("bf 01 01 ff"),
		"indefinite list":                unhex("a1 04 9f ff"),
		"indefinite text":                unhex("a1 03 7f 61 61 ff"),
		"indefinite in unknown member":   unhex("a1 18 2a 9f ff"),
		"tag":                            unhex("a1 01 c1 01"),
		"tagged map":                     unhex("d9d9f7 a1 01 01"),
		"bignum":                         unhex("a1 01 c2 49 01 00 00 00 00 00 00 00 00"),
		"not a number":                   unhex("a1 01 f9 7e 00"),
		"infinity":                       unhex("a1 01 f9 7c 00"),
		"reserved head":                  unhex("a1 01 1c"),
		"text that is not UTF-8":         unhex("a1 03 61 ff"),
		"map of 2^63 pairs":              unhex("bb 7f ff ff ff ff ff ff ff"),
		"map of 65 pairs":                manyPairs(65),
		"list of 2^32":                   unhex("a1 04 9b 00 00 00 01 00 00 00 00"),
		"bytes of 2^40":                  unhex("a1 06 5b 00 00 01 00 00 00 00 00"),
		"CBOR nested, 9 deep":            append(append(unhex("a1 18 2a"), bytes.Repeat([]byte{0x81}, 9)...), 0),
		"CBOR nested, 1 MiB":             append(append(unhex("a1 18 2a"), bytes.Repeat([]byte{0x81}, 1<<20)...), 0),
		"CBOR nested, within size":       append(append(unhex("a1 18 2a"), bytes.Repeat([]byte{0x81}, 8000)...), 0),
		"CBOR maps nested, within size":  append(append(unhex("a1 18 2a"), bytes.Repeat([]byte{0xa1, 0x01}, 4000)...), 0),
		"list of 10001":                  append(unhex("a1 18 2a 99 27 11"), bytes.Repeat([]byte{1}, 10_001)...),
		"one byte too many":              padded(topics.MaxBody + 1),
		"JSON list":                      []byte(`[]`),
		"JSON cut":                       []byte(`{"seq":1`),
		"JSON cut in string":             []byte(`{"seq`),
		"JSON cut in escape":             []byte(`{"seq\`),
		"JSON trailing":                  []byte(`{"seq":1}{}`),
		"JSON trailing comma":            []byte(`{"seq":1},`),
		"JSON comment":                   []byte(`{"seq":1}//`),
		"JSON brackets":                  []byte(`{"seq":1}}`),
		"JSON duplicate":                 []byte(`{"seq":1,"seq":2}`),
		"JSON duplicate, escaped":        []byte(`{"seq":1,"s\u0065q":2}`),
		"JSON duplicate, other case":     []byte(`{"seq":1,"SEQ":2}`),
		"JSON duplicate, folded rune":    []byte(`{"seq":1,"ſeq":2}`),
		"JSON duplicate, unknown member": []byte(`{"x":{"y":1,"y":2}}`),
		"JSON not UTF-8":                 []byte("{\"x\":\"\xff\"}"),
		"JSON NUL":                       []byte("{\"x\":\x00}"),
		"JSON nested objects":            nest(`{"a":`, 9, `}`),
		"JSON nested lists":              append(append([]byte(`{"a":`), nest("[", 100_000, "]")...), '}'),
		"JSON 65 members":                []byte(`{"a":[` + strings.Repeat(`{},`, 3) + `{` + manyMembers(65) + `}]}`),
		"JSON 10001 elements":            []byte(`{"a":[` + strings.Repeat("1,", 10_000) + `1]}`),
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"m` + strings.Repeat("x", i) + `":1`)
	}
	return b.String()
}

// manyPairs is a CBOR map of n different keys from 128, n at most 128.
func manyPairs(n int) []byte {
	b := []byte{0xb8, byte(n)}
	for i := range n {
		b = append(b, 0x18, byte(128+i), 0x01)
	}
	return b
}

// padded is a JSON object of n bytes with one unknown member.
func padded(n int) []byte {
	return []byte(`{"x":"` + strings.Repeat("a", n-8) + `"}`)
}

func TestMalformedIsRefused(t *testing.T) {
	for name, b := range malformed(t) {
		t.Run(name, func(t *testing.T) {
			for _, v := range []any{&topics.Hello{}, &topics.Report{}, &topics.Fetch{}, &topics.CampaignCreate{}} {
				if _, err := topics.Decode(b, v); !errors.Is(err, topics.ErrMalformed) {
					t.Errorf("%T: got %v, want ErrMalformed", v, err)
				}
			}
			if h, _, err := topics.DecodeHello(b); !errors.Is(err, topics.ErrMalformed) || !reflect.DeepEqual(h, topics.Hello{}) {
				t.Errorf("DecodeHello = %+v, %v", h, err)
			}
			if id := topics.RequestID(b); id != "" {
				t.Errorf("RequestID = %q", id)
			}
		})
	}
}

// TestBoundsAreExact holds the bounds from their other side, and each channel to its own size.
func TestBoundsAreExact(t *testing.T) {
	for name, b := range map[string][]byte{
		"size":                       padded(topics.MaxBody),
		"64 pairs":                   manyPairs(64),
		"64 members":                 []byte(`{` + manyMembers(64) + `}`),
		"10000 elements":             []byte(`{"a":[` + strings.Repeat("1,", 9_999) + `1]}`),
		"8 levels":                   []byte(strings.Repeat(`{"a":`, 8) + `1` + strings.Repeat(`}`, 8)),
		"same names, other objects":  []byte(`{"a":{"b":1},"b":[{"a":1},{"a":1}],"c":"a"}`),
		"brackets and commas inside": []byte(`{"a":"}],{\"\\","b":"[[[[[[[[[[[["}`),
	} {
		if _, err := topics.Decode(b, &topics.None{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, decode := range map[int]func([]byte) error{
		topics.MaxHelloBody:  func(b []byte) error { _, _, err := topics.DecodeHello(b); return err },
		topics.MaxReportBody: func(b []byte) error { _, _, err := topics.DecodeReport(b); return err },
		topics.MaxFetchBody:  func(b []byte) error { _, _, err := topics.DecodeFetch(b); return err },
	} {
		if err := decode(padded(name)); errors.Is(err, topics.ErrMalformed) || err == nil {
			t.Errorf("%d bytes: got %v, want FieldErrors", name, err)
		}
		if err := decode(padded(name + 1)); !errors.Is(err, topics.ErrMalformed) {
			t.Errorf("%d bytes: got %v, want ErrMalformed", name+1, err)
		}
	}
	for name, body := range map[string]string{"NaN": "\xa1\x05\xa1\x03\xf9\x7e\x00", "infinity": "\xa1\x05\xa1\x03\xf9\x7c\x00"} {
		if _, err := topics.Decode([]byte(body), &topics.CampaignCreate{}); !errors.Is(err, topics.ErrMalformed) {
			t.Errorf("a percentage of %s: %v", name, err)
		}
	}
}

// TestHostileSizesAllocateLittle bounds what a body can make a decoder allocate by the body's own size.
func TestHostileSizesAllocateLittle(t *testing.T) {
	list := append([]byte{0xa1, 0x04, 0x99}, binary.BigEndian.AppendUint16(nil, 10_000)...)
	cases := map[string][]byte{
		"10k empty maps as installed": append(list, bytes.Repeat([]byte{0xa0}, 10_000)...),
		"1 MiB nested":                bytes.Repeat([]byte{0xa1, 0x04, 0x81}, 1<<20/3),
		"list of 2^31":                {0xa1, 0x04, 0x9a, 0x7f, 0xff, 0xff, 0xff},
		"bytes of 2^31":               {0xa1, 0x06, 0x5a, 0x7f, 0xff, 0xff, 0xff},
		"JSON of commas":              append([]byte(`{"installed":[`), bytes.Repeat([]byte(`{},`), 60_000)...),
	}
	for name, b := range cases {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var h topics.Hello
		_, err := topics.Decode(b, &h)
		if err == nil {
			err = h.Validate()
		}
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
			t.Errorf("%s: %d bytes allocated for a body of %d", name, n, len(b))
		}
	}
}

func TestWrongTypesNameTheMember(t *testing.T) {
	for body, want := range map[string]string{
		`{"seq":"x"}`:                     `"seq"`,
		`{"seq":-1}`:                      `"seq"`,
		`{"seq":1.5}`:                     `"seq"`,
		`{"installed":[{"component":7}]}`: "component",
		"\xa1\x01\x61x":                   "member 1",
		"\xa1\x01\x20":                    "member 1",
	} {
		_, err := topics.Decode([]byte(body), &topics.Hello{})
		if !errors.Is(err, topics.ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v does not name %s", body, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "Go ") {
			t.Errorf("%q: %v talks of Go", body, err)
		}
	}
}

func TestUnknownMembersAreIgnored(t *testing.T) {
	for _, body := range []string{
		`{"seq":5,"verdict":"recorded","future":{"a":[1,null,"x"]},"100":1}`,
		"\xa4\x01\x05\x02\x68recorded\x18\x2a\xa1\x01\x02\x61x\xf6",
	} {
		r, _, err := topics.DecodeReceipt([]byte(body))
		if err != nil || r != (topics.Receipt{Seq: 5, Verdict: topics.VerdictRecorded}) {
			t.Errorf("%q: %+v, %v", body, r, err)
		}
	}
}

func TestDetailCannotSteerATerminal(t *testing.T) {
	b, err := topics.Encode(topics.Report{Seq: 1, Manifest: sampleSUIT, State: "failed", Detail: "a\x1b[2Jb\nc"}, topics.CBOR)
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := topics.DecodeReport(b)
	if err != nil || r.Detail != "a [2Jb c" {
		t.Errorf("got %q, %v", r.Detail, err)
	}
}

func TestRequestIDIsAddedAndRead(t *testing.T) {
	for _, s := range samples() {
		if _, isProblem := s.value.(topics.Problem); isProblem {
			continue // has the member itself
		}
		for _, f := range formats {
			b, err := topics.Encode(s.value, f)
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range []string{"17", `a"b\`, "ü", strings.Repeat("x", topics.MaxRequestID)} {
				with, err := topics.AddRequestID(b, id)
				if err != nil {
					t.Fatalf("%s: %v", s.name, err)
				}
				if got := topics.RequestID(with); got != id {
					t.Errorf("%s %s: got %q, want %q in %q", s.name, f, got, id, with)
				}
				v := reflect.New(reflect.TypeOf(s.value))
				if _, err := topics.Decode(with, v.Interface()); err != nil {
					t.Errorf("%s %s: %v", s.name, f, err)
				} else if diff := cmp.Diff(s.value, v.Elem().Interface(), deep); diff != "" {
					t.Errorf("%s %s changes with a request_id:\n%s", s.name, f, diff)
				}
			}
			if same, err := topics.AddRequestID(b, ""); err != nil || !bytes.Equal(same, b) {
				t.Errorf("no id: %q, %v", same, err)
			}
		}
	}
	if _, err := topics.AddRequestID([]byte{0xa0}, strings.Repeat("x", topics.MaxRequestID+1)); err == nil {
		t.Error("an id of 65 bytes was added")
	}
	if _, err := topics.AddRequestID([]byte{0x80}, "1"); err == nil {
		t.Error("an id was added to a list")
	}
	for _, bad := range []string{`7`, `null`, `"` + strings.Repeat("x", topics.MaxRequestID+1) + `"`} {
		if id := topics.RequestID([]byte(`{"request_id":` + bad + `}`)); id != "" {
			t.Errorf("%s is an id: %q", bad, id)
		}
	}
}

func TestFormats(t *testing.T) {
	for in, want := range map[string]topics.Format{"application/json": topics.JSON, "application/problem+json": topics.JSON,
		"Application/JSON; charset=utf-8": topics.JSON, "application/cbor": topics.CBOR} {
		if f, ok := topics.ParseContentType(in); !ok || f != want {
			t.Errorf("%q: %v, %v", in, f, ok)
		}
	}
	if b, err := topics.Encode(topics.Problem{Detail: "a<b&c"}, topics.JSON); err != nil || !strings.Contains(string(b), "a<b&c") {
		t.Errorf("JSON is written for a browser: %s, %v", b, err)
	}
	for _, in := range []string{"", "text/plain", ";", "json"} {
		if _, ok := topics.ParseContentType(in); ok {
			t.Errorf("%q is a format", in)
		}
	}
	for _, f := range formats {
		for _, ct := range []string{f.ContentType(), f.ProblemContentType()} {
			if got, ok := topics.ParseContentType(ct); !ok || got != f {
				t.Errorf("%s names %v", ct, got)
			}
		}
	}
}

func TestEmptyListIsAList(t *testing.T) {
	for _, c := range topics.Commands {
		if !strings.HasPrefix(ruleName(reflect.TypeOf(c.Reply)), "list-") {
			continue
		}
		b, err := topics.Encode(c.Reply, topics.JSON)
		if err != nil || !json.Valid(b) || string(b) != `{"items":[]}` {
			t.Errorf("%s/%s: %s, %v", c.Noun, c.Verb, b, err)
		}
		if b, err = topics.Encode(c.Reply, topics.CBOR); err != nil || !bytes.Equal(b, []byte{0xa1, 1, 0x80}) {
			t.Errorf("%s/%s: %x, %v", c.Noun, c.Verb, b, err)
		}
	}
}

func TestProblems(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range topics.Problems {
		if seen[s.Type] || s.Status < 400 || s.Status > 599 || s.Title == "" || s.Fix == "" {
			t.Errorf("row %+v", s)
		}
		seen[s.Type] = true
		for _, f := range formats {
			b, err := topics.Encode(topics.NewProblem(s.Type, "why"), f)
			if err != nil {
				t.Fatal(err)
			}
			if p := topics.DecodeProblem(b); p == nil || p.Type != s.Type || p.Status != s.Status || p.Detail != "why" {
				t.Errorf("%s in %s: got %+v", s.Type, f, p)
			}
		}
	}
	if p := topics.NewProblem("no-such", "a secret"); p.Type != topics.ProblemInternal || p.Status != 500 || p.Detail != "" {
		t.Errorf("unknown type gives %+v", p)
	}
	// No success may look like a problem.
	for name, zero := range messages() {
		v := reflect.New(reflect.TypeOf(zero)).Elem()
		fill(v, "x")
		for _, f := range formats {
			b, err := topics.Encode(v.Interface(), f)
			if err != nil {
				t.Fatal(err)
			}
			if p := topics.DecodeProblem(b); p != nil && name != "problem" {
				t.Errorf("%s in %s looks like %+v", name, f, p)
			}
		}
	}
}

func BenchmarkDecodeReport(b *testing.B) {
	for _, f := range formats {
		body, err := topics.Encode(topics.Report{Seq: 3, Manifest: sampleSUIT, State: topics.WordDownloading, Progress: 65536}, f)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(f.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := topics.DecodeReport(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Names without values between them cost no more than the members that an object may have.
func TestNamesWithoutValuesAreCheap(t *testing.T) {
	for _, sep := range []string{"", " ", ":", ":1 "} {
		var b strings.Builder
		b.WriteString("{")
		for i := range 20_000 {
			fmt.Fprintf(&b, "%q%s", strconv.Itoa(i), sep)
		}
		b.WriteString("}")
		body := []byte(b.String())
		var v topics.None
		if allocs := testing.AllocsPerRun(1, func() {
			if _, err := topics.Decode(body, &v); !errors.Is(err, topics.ErrMalformed) {
				t.Errorf("separator %q: %v", sep, err)
			}
		}); allocs > 200 {
			t.Errorf("separator %q: %v allocations", sep, allocs)
		}
	}
}

// A report keeps its state when what comes with it is out of bounds: a device that has its PUBACK sends it no more.
func TestReportSurvivesItsTrimmings(t *testing.T) {
	d := ident.SumDigest(nil)
	long := strings.Repeat("é", 300)
	for name, r := range map[string]topics.Report{
		"detail":    {Detail: long},
		"turned":    {Detail: "a\u202eb"},
		"reason":    {Reason: topics.Reason(long)},
		"spaces":    {Reason: "no space left"},
		"installed": {Installed: []topics.Installed{{Component: strings.Repeat("0", 500), Digest: d}}},
	} {
		r.Seq, r.Manifest, r.State = 1, d, topics.WordFailed
		for _, f := range []topics.Format{topics.CBOR, topics.JSON} {
			b, err := topics.Encode(r, f)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := topics.DecodeReport(b)
			if err != nil || got.State != topics.WordFailed || got.Seq != 1 {
				t.Errorf("%s in %v: %+v, %v", name, f, got, err)
			}
			if len(got.Detail) > topics.MaxDetail || !utf8.ValidString(got.Detail) || strings.ContainsRune(got.Detail, '\u202e') ||
				len(got.Reason) > topics.MaxReason || strings.ContainsRune(string(got.Reason), ' ') || len(got.Installed) != 0 {
				t.Errorf("%s in %v was kept: %+v", name, f, got)
			}
		}
	}
}

// TestProblemNamesItsTypeInItsFirstLine keeps what follows a filter's caret away from it.
func TestProblemNamesItsTypeInItsFirstLine(t *testing.T) {
	for detail, want := range map[string]string{
		"":                     topics.ProblemInvalidRequest,
		"no":                   "no (invalid-request)",
		"no\n | a = b\n | ..^": "no (invalid-request)\n | a = b\n | ..^",
	} {
		if got := topics.NewProblem(topics.ProblemInvalidRequest, detail).Error(); got != want {
			t.Errorf("%q: %q, want %q", detail, got, want)
		}
	}
}

// TestDecodeNamesMembersOfTheWire names what is wrong in an embedded part of a command by its path in the body.
func TestDecodeNamesMembersOfTheWire(t *testing.T) {
	var req topics.CampaignStart
	_, err := topics.Decode([]byte(`{"campaign":"a","if_revision":-1}`), &req)
	if err == nil || !strings.Contains(err.Error(), `member "if_revision"`) {
		t.Errorf("got %v", err)
	}
}

// TestDecodeSaysTextsInWordsOfTheContract reads a duration that is none: no name of a Go type is told.
func TestDecodeSaysTextsInWordsOfTheContract(t *testing.T) {
	body, err := topics.Encode(topics.CampaignCreate{Policy: topics.Policy{Soak: -1}}, topics.CBOR)
	if err != nil {
		t.Fatal(err)
	}
	var req topics.CampaignCreate
	_, err = topics.Decode(body, &req)
	if err == nil || !strings.Contains(err.Error(), `parse duration "-1ns": negative`) || strings.Contains(err.Error(), "topics.") {
		t.Errorf("got %v", err)
	}
}
