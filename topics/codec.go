package topics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/fxamacker/cbor/v2"
)

// Format is how a body is written. The zero value is CBOR.
type Format byte

// The formats. A body tells its own by its first byte: `{` or `[` is JSON, all else is CBOR.
const (
	CBOR Format = iota
	JSON
)

// ErrMalformed is wrapped where bytes are not a body of the contract, or pass one of its bounds.
var ErrMalformed = errors.New("malformed body")

// Bounds of a body beyond its size: nesting, members of one map, elements of one list.
const (
	MaxDepth    = 8
	MaxMembers  = 64
	MaxElements = 10_000
)

// ContentType is the media type of a body in f.
func (f Format) ContentType() string {
	if f == JSON {
		return "application/json"
	}
	return "application/cbor"
}

// ProblemContentType is the media type of a problem in f. The CBOR form has members that RFC 9290 has no place for, so
// it does not claim that type: the `status` property, or member 101, tells it from a success.
func (f Format) ProblemContentType() string {
	if f == JSON {
		return "application/problem+json"
	}
	return "application/cbor"
}

// String is "json" or "cbor".
func (f Format) String() string {
	if f == JSON {
		return "json"
	}
	return "cbor"
}

// ParseContentType returns the format that a media type names; parameters are ignored, the suffixes +json and +cbor
// count.
func ParseContentType(s string) (Format, bool) {
	t, _, _ := strings.Cut(s, ";")
	t = strings.ToLower(strings.TrimSpace(t))
	switch {
	case t == "application/json", strings.HasSuffix(t, "+json"):
		return JSON, true
	case t == "application/cbor", strings.HasSuffix(t, "+cbor"):
		return CBOR, true
	}
	return CBOR, false
}

// FormatOf tells a body's format by its first byte.
func FormatOf(b []byte) Format {
	if len(b) > 0 && (b[0] == '{' || b[0] == '[') {
		return JSON
	}
	return CBOR
}

// Modes are built once; their options are constants, so a failure is a programmer's error that every test meets.
var (
	encMode = mustMode(encOptions().EncMode())
	decMode = mustMode(decOptions().DecMode())
)

func mustMode[T any](m T, err error) T {
	if err != nil {
		panic(err)
	}
	return m
}

func encOptions() cbor.EncOptions {
	o := cbor.CoreDetEncOptions() // RFC 8949 section 4.2.1
	o.Time = cbor.TimeRFC3339Nano
	o.TextMarshaler = cbor.TextMarshalerTextString
	o.NilContainers = cbor.NilContainerAsEmpty
	return o
}

func decOptions() cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		BignumTag:         cbor.BignumTagForbidden,
		MaxNestedLevels:   MaxDepth,
		MaxArrayElements:  MaxElements,
		MaxMapPairs:       MaxMembers,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		NaN:               cbor.NaNDecodeForbidden,
		Inf:               cbor.InfDecodeForbidden,
		TextUnmarshaler:   cbor.TextUnmarshalerTextString,
	}
}

// Encode writes v, a message of this package: deterministic CBOR, or JSON without a trailing newline.
func Encode(v any, f Format) ([]byte, error) {
	if f == CBOR {
		b, err := encMode.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("encode body: %w", err)
		}
		return b, nil
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode body: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// Decode reads a body into v, a pointer to a message of this package that holds its zero value. Unknown members are
// ignored; duplicate members, trailing bytes, indefinite lengths, tags and whatever passes a bound are refused. It
// checks form only: Validate, or DecodeRequest, checks meaning. The error wraps ErrMalformed; v is then unspecified.
func Decode(b []byte, v any) (Format, error) {
	f := FormatOf(b)
	if err := decode(b, f, MaxBody, v); err != nil {
		return f, fmt.Errorf("decode body: %w: %w", ErrMalformed, err)
	}
	return f, nil
}

func decode(b []byte, f Format, limit int, v any) error {
	switch {
	case len(b) == 0:
		return errors.New("empty")
	case len(b) > limit:
		return fmt.Errorf("%d bytes, at most %d", len(b), limit)
	case f == JSON:
		if err := checkJSON(b); err != nil {
			return err
		}
		return plain(json.Unmarshal(b, v))
	case b[0]>>5 != 5: // a null or an integer would leave v as it is, without an error
		return errors.New("neither a JSON object nor a CBOR map")
	}
	return plain(decMode.Unmarshal(b, v))
}

// plain puts a codec's error into the words of the contract, since it may travel to a device's or backend's engineer.
func plain(err error) error {
	var (
		j *json.UnmarshalTypeError
		c *cbor.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &j):
		return fmt.Errorf("member %q: %s is not what belongs here", wireMember(j.Field), j.Value)
	case errors.As(err, &c):
		member := c.StructFieldName[strings.LastIndexByte(c.StructFieldName, '.')+1:]
		return fmt.Errorf("member %s: CBOR %s is not what belongs here", member, c.CBORType)
	}
	if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "cbor: cannot unmarshal text for ") {
		return inner // without the name of our type
	}
	return err
}

// Validator is a message that can say whether its values are within the contract.
type Validator interface {
	// Validate returns nil or FieldErrors.
	Validate() error
}

// DecodeRequest reads and validates a command's body into v; an empty body is an empty object. The error wraps
// ErrMalformed, or is FieldErrors.
func DecodeRequest(b []byte, v Validator) (Format, error) {
	if len(b) == 0 {
		return JSON, v.Validate()
	}
	f, err := Decode(b, v)
	if err != nil {
		return f, err
	}
	return f, v.Validate()
}

// DecodeHello reads and validates a hello. The error wraps ErrMalformed, or is FieldErrors.
func DecodeHello(b []byte) (Hello, Format, error) {
	var h Hello
	if len(b) <= MaxHelloBody && h.readCBOR(b) {
		return h, CBOR, h.Validate()
	}
	return decodeValid[Hello](b, MaxHelloBody)
}

// DecodeReport reads and validates a report. What is only for people, or only evidence, does not cost us the rest: a detail
// or reason beyond its bounds is cut to them, and an installed list that is wrong counts as none. The error wraps
// ErrMalformed, or is FieldErrors.
func DecodeReport(b []byte) (Report, Format, error) {
	r, f, err := readReport(b)
	if err != nil {
		return Report{}, f, fmt.Errorf("decode body: %w: %w", ErrMalformed, err)
	}
	r.Detail = cutText(strings.Map(plainRune, r.Detail), MaxDetail)
	r.Reason = Reason(cutText(strings.Map(wordRune, string(r.Reason)), MaxReason))
	var bad faults
	if bad.installed(r.Installed); bad.err() != nil {
		r.Installed = nil
	}
	return r, f, r.Validate()
}

func readReport(b []byte) (Report, Format, error) {
	var r Report
	if len(b) <= MaxReportBody && r.readCBOR(b) {
		return r, CBOR, nil
	}
	var slow Report
	f := FormatOf(b)
	err := decode(b, f, MaxReportBody, &slow)
	return slow, f, err
}

// DecodeFetch reads and validates a fetch. The error wraps ErrMalformed, or is FieldErrors; with FieldErrors the fetch
// is returned as far as it goes, so that the problem can be sent to its token.
func DecodeFetch(b []byte) (Fetch, Format, error) {
	var r Fetch
	if len(b) <= MaxFetchBody && r.readCBOR(b) {
		return r, CBOR, r.Validate()
	}
	return decodeValid[Fetch](b, MaxFetchBody)
}

// DecodeReceipt reads and validates a receipt, for devices. The error wraps ErrMalformed, or is FieldErrors.
func DecodeReceipt(b []byte) (Receipt, Format, error) { return decodeValid[Receipt](b, MaxReceiptBody) }

func decodeValid[T Validator](b []byte, limit int) (T, Format, error) {
	var v, zero T
	f := FormatOf(b)
	if err := decode(b, f, limit, &v); err != nil {
		return zero, f, fmt.Errorf("decode body: %w: %w", ErrMalformed, err)
	}
	return v, f, v.Validate()
}

// wireMember is the path of a member as it is on the wire: encoding/json names embedded structs too, which have no
// place there. Members are lower case.
func wireMember(path string) string {
	parts := slices.DeleteFunc(strings.Split(path, "."), func(s string) bool { return s != "" && unicode.IsUpper(rune(s[0])) })
	return strings.Join(parts, ".")
}
