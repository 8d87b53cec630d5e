package topics_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fleetbridge/topics"
)

// seed adds the samples of type T in both formats, and everything malformed that is small.
func seed[T any](f *testing.F) {
	f.Helper()
	n := 0
	for _, s := range samples() {
		if _, ok := s.value.(T); !ok {
			continue
		}
		for _, format := range formats {
			b, err := topics.Encode(s.value, format)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
			n++
		}
	}
	if n == 0 {
		f.Fatalf("no sample of %T", *new(T))
	}
	seedMalformed(f)
}

func seedMalformed(f *testing.F) {
	f.Helper()
	for _, b := range malformed(f) {
		if len(b) < 1<<10 {
			f.Add(b)
		}
	}
}

// checkStable holds a body that was accepted to the contract: it encodes in both formats, to what decodes to the same.
func checkStable[T any](t *testing.T, v T) {
	t.Helper()
	for _, format := range formats {
		b, err := topics.Encode(v, format)
		if err != nil {
			t.Fatalf("accepted, and does not encode: %v", err)
		}
		got := new(T)
		if _, err := topics.Decode(b, got); err != nil {
			t.Fatalf("own encoding refused: %v\n%q", err, b)
		}
		again, err := topics.Encode(*got, format)
		if err != nil || !bytes.Equal(b, again) {
			t.Fatalf("%s is not stable (%v): %q and %q", format, err, b, again)
		}
	}
}

func fuzzDevice[T topics.Validator](f *testing.F, decode func([]byte) (T, topics.Format, error)) {
	seed[T](f)
	f.Fuzz(func(t *testing.T, b []byte) {
		v, _, err := decode(b)
		var fe topics.FieldErrors
		switch {
		case err == nil:
			if err := v.Validate(); err != nil {
				t.Fatalf("accepted, and not valid: %v", err)
			}
			checkStable(t, v)
		case errors.Is(err, topics.ErrMalformed):
			if !reflect.ValueOf(v).IsZero() {
				t.Fatalf("refused, with a value: %+v", v)
			}
		case !errors.As(err, &fe) || len(fe) == 0 || len(fe) > 16:
			t.Fatalf("neither malformed nor field errors: %v", err)
		}
	})
}

func FuzzHello(f *testing.F)   { fuzzDevice(f, topics.DecodeHello) }
func FuzzReport(f *testing.F)  { fuzzDevice(f, topics.DecodeReport) }
func FuzzFetch(f *testing.F)   { fuzzDevice(f, topics.DecodeFetch) }
func FuzzReceipt(f *testing.F) { fuzzDevice(f, topics.DecodeReceipt) }
func FuzzPermit(f *testing.F)  { fuzzDevice(f, topics.DecodePermit) }

// FuzzCommand decodes a body as each command's request, and its request_id.
func FuzzCommand(f *testing.F) {
	for _, s := range samples() {
		for _, format := range formats {
			b, err := topics.Encode(s.value, format)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
			if with, err := topics.AddRequestID(b, "17"); err == nil {
				f.Add(with)
			}
		}
	}
	seedMalformed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if id := topics.RequestID(b); len(id) > topics.MaxRequestID {
			t.Fatalf("request_id of %d bytes", len(id))
		}
		for _, c := range topics.Commands {
			v := reflect.New(reflect.TypeOf(c.Request))
			if _, err := topics.DecodeRequest(b, v.Interface().(topics.Validator)); err != nil {
				continue
			}
			for _, format := range formats {
				out, err := topics.Encode(v.Elem().Interface(), format)
				if err != nil {
					t.Fatalf("%s/%s: accepted, and does not encode: %v", c.Noun, c.Verb, err)
				}
				got := reflect.New(v.Elem().Type())
				if _, err := topics.Decode(out, got.Interface()); err != nil {
					t.Fatalf("%s/%s: own encoding refused: %v\n%q", c.Noun, c.Verb, err, out)
				}
				again, err := topics.Encode(got.Elem().Interface(), format)
				if err != nil || !bytes.Equal(out, again) {
					t.Fatalf("%s/%s %s is not stable (%v):\n%s", c.Noun, c.Verb, format, err, cmp.Diff(out, again))
				}
			}
		}
	})
}

// TestCorpusIsThere fails when a fuzzer has lost its committed corpus, which go test would not say.
func TestCorpusIsThere(t *testing.T) {
	for _, name := range []string{"FuzzParse", "FuzzMaySubscribe", "FuzzHello", "FuzzReport", "FuzzFetch", "FuzzReceipt", "FuzzCommand", "FuzzDevice"} {
		list, err := os.ReadDir(filepath.Join("testdata", "fuzz", name))
		if err != nil || len(list) < 7 {
			t.Errorf("%s has %d files: %v", name, len(list), err)
		}
	}
}
