package topics

import (
	"reflect"
	"testing"

	"github.com/google/uuid"

	"fleetbridge/ident"
)

// quick is how a device's body is read without reflection.
type quick[T any] interface {
	*T
	readCBOR(b []byte) bool
}

func deviceBodies(tb testing.TB) (hello Hello, report Report, fetch Fetch) {
	tb.Helper()
	token, err := ident.ParseToken("tk-1")
	if err != nil {
		tb.Fatal(err)
	}
	installed := []Installed{{"00", ident.SumDigest([]byte("a")), 3, "1.0"}, {"00/01", ident.SumDigest([]byte("b")), 1 << 40, ""}}
	return Hello{1, uuid.UUID{1}, uuid.UUID{2}, installed, 7, 4096, map[string]string{"region": "eu", "é": ""}, []int64{-9, -19, 1 << 40}},
		Report{300, ident.SumDigest([]byte("m")), WordFailed, "of-its-own", "dé", 70000, installed, 8, true, true},
		Fetch{token, ident.SumDigest([]byte("p")), 16384, 1 << 20, 8, []byte{0x81}}
}

// agree fails unless the quick reader of T, where it accepts b, gives what the strict decoder gives.
func agree[T any, Q quick[T]](t *testing.T, b []byte) (accepted bool) {
	t.Helper()
	var got, want T
	if !Q(&got).readCBOR(b) {
		return false
	}
	if err := decode(b, FormatOf(b), MaxBody, &want); err != nil {
		t.Fatalf("quick %T accepts what the strict decoder refuses: %v\n%x", got, err, b)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("quick %+v, strict %+v\n%x", got, want, b)
	}
	return true
}

// FuzzDevice holds the readers without reflection to the strict decoder on the same bytes.
func FuzzDevice(f *testing.F) {
	hello, report, fetch := deviceBodies(f)
	for _, v := range []any{hello, report, fetch, Report{}, Hello{}, Fetch{}} {
		b, err := Encode(v, CBOR)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		agree[Hello](t, b)
		agree[Report](t, b)
		agree[Fetch](t, b)
	})
}

// TestDeviceQuick finds that what a device of ours writes needs no reflection, and that each byte of it that is cut, or
// is another, is read as the strict decoder reads it.
func TestDeviceQuick(t *testing.T) {
	hello, report, fetch := deviceBodies(t)
	t.Run("hello", func(t *testing.T) { testQuick(t, hello) })
	t.Run("report", func(t *testing.T) { testQuick(t, report) })
	t.Run("fetch", func(t *testing.T) { testQuick(t, fetch) })
	t.Run("least report", func(t *testing.T) { testQuick(t, Report{Seq: 1, Manifest: report.Manifest, State: WordReceived}) })
}

func testQuick[T any, Q quick[T]](t *testing.T, v T) {
	b, err := Encode(v, CBOR)
	if err != nil {
		t.Fatal(err)
	}
	if !agree[T, Q](t, b) {
		t.Fatalf("own encoding needs the strict decoder: %x", b)
	}
	for i := range b {
		if agree[T, Q](t, b[:i]) {
			t.Errorf("accepted a body cut after %d bytes", i)
		}
		for x := range 256 {
			other := append([]byte(nil), b...)
			other[i] = byte(x)
			agree[T, Q](t, other)
		}
	}
	if agree[T, Q](t, append(b, 0)) {
		t.Error("accepted a byte behind the body")
	}
}

// TestDeviceStrange lists bodies that the quick readers leave to the strict decoder.
func TestDeviceStrange(t *testing.T) {
	for name, b := range map[string]string{
		"nothing":                "",
		"no map":                 "\x01",
		"unknown member":         "\xa1\x17\x01",
		"key of text":            "\xa1\x61a\x01",
		"member twice":           "\xa2\x01\x01\x01\x01",
		"null":                   "\xa1\x01\xf6",
		"indefinite length":      "\xbf\x01\x01\xff",
		"argument of 2^64 bytes": "\xa1\x05\x7b\xff\xff\xff\xff\xff\xff\xff\xff",
		"reserved argument":      "\xa1\x01\x1c",
		"more members than one":  "\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
		"more images than fit":   "\xa1\x07\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
		"text that is no UTF-8":  "\xa1\x05\x61\xff",
		"a tag":                  "\xa1\x01\xc1\x01",
	} {
		if new(Report).readCBOR([]byte(b)) {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestDeviceAllocs bounds what reading a body allocates: its token, its bitmap, a text that is none of the words.
func TestDeviceAllocs(t *testing.T) {
	_, report, fetch := deviceBodies(t)
	report.Installed, report.Detail, report.Reason = nil, "", ReasonNoSpace
	for name, c := range map[string]struct {
		body   any
		decode func([]byte) error
		most   float64
	}{
		"fetch":  {fetch, func(b []byte) error { _, _, err := DecodeFetch(b); return err }, 2},
		"report": {report, func(b []byte) error { _, _, err := DecodeReport(b); return err }, 0},
	} {
		b, err := Encode(c.body, CBOR)
		if err != nil {
			t.Fatal(err)
		}
		n := testing.AllocsPerRun(100, func() {
			if err := c.decode(b); err != nil {
				t.Fatal(err)
			}
		})
		if n > c.most {
			t.Errorf("%s: %v allocations, at most %v", name, n, c.most)
		}
	}
}

// BenchmarkDecode compares the readers without reflection with the strict decoder.
func BenchmarkDecode(b *testing.B) {
	hello, report, fetch := deviceBodies(b)
	report.Installed = nil
	bench := func(name string, v any, decode func([]byte) error) {
		body, err := Encode(v, CBOR)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := decode(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	bench("hello", hello, func(p []byte) error { _, _, err := DecodeHello(p); return err })
	bench("hello/strict", hello, func(p []byte) error { _, _, err := decodeValid[Hello](p, MaxHelloBody); return err })
	bench("report", report, func(p []byte) error { _, _, err := DecodeReport(p); return err })
	bench("report/strict", report, func(p []byte) error { _, _, err := decodeValid[Report](p, MaxReportBody); return err })
	bench("fetch", fetch, func(p []byte) error { _, _, err := DecodeFetch(p); return err })
	bench("fetch/strict", fetch, func(p []byte) error { _, _, err := decodeValid[Fetch](p, MaxFetchBody); return err })
}
