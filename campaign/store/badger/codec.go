package badger

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/uuid"

	"fleetbridge/ident"
)

// recordVersion is the first byte of every value. Members may be added to a record without a new version: what an older
// writer left out is the zero value.
const recordVersion = 1

// errRecord means that a value is not what this program wrote.
var errRecord = errors.New("damaged record")

var encMode, decMode = mustModes()

func mustModes() (cbor.UserBufferEncMode, cbor.DecMode) {
	// Deterministic, so that a function that runs twice writes the same bytes.
	enc, err := cbor.CoreDetEncOptions().UserBufferEncMode()
	if err != nil {
		panic(err)
	}
	dec, err := cbor.DecOptions{MaxArrayElements: 1 << 24, MaxMapPairs: 1 << 24}.DecMode()
	if err != nil {
		panic(err)
	}
	return enc, dec
}

// encode returns the value of a record.
func encode(record any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte(recordVersion)
	if err := encMode.MarshalToBuffer(record, &b); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return b.Bytes(), nil
}

// decode reads a value into record, which shares nothing with val afterwards.
func decode(val []byte, record any) error {
	if len(val) == 0 || val[0] != recordVersion {
		return fmt.Errorf("decode record: version is not %d: %w", recordVersion, errRecord)
	}
	if err := decMode.Unmarshal(val[1:], record); err != nil {
		return fmt.Errorf("decode record: %w: %w", errRecord, err)
	}
	return nil
}

// stamp is a time in a record: nanoseconds since 1970 in UTC, moved down by one at and before that instant so that 0 is
// free to mean the zero time.
type stamp int64

func stampOf(t time.Time) stamp {
	if t.IsZero() {
		return 0
	}
	n := nanos(t)
	if n <= 0 {
		n = max(n, math.MinInt64+1) - 1
	}
	return stamp(n)
}

func (s stamp) time() time.Time {
	switch {
	case s == 0:
		return time.Time{}
	case s < 0:
		s++
	}
	return time.Unix(0, int64(s)).UTC()
}

// parser turns stored text into typed values and keeps the first error: a record that holds an identifier which can't
// be parsed is damaged.
type parser struct{ err error }

func (p *parser) note(err error) {
	if p.err == nil && err != nil {
		p.err = fmt.Errorf("%w: %w", errRecord, err)
	}
}

// parsed is parse(s); an absent text is the zero value.
func parsed[T any](p *parser, parse func(string) (T, error), s string) T {
	var zero T
	if s == "" {
		return zero
	}
	v, err := parse(s)
	p.note(err)
	return v
}

func (p *parser) digest(b []byte) (d ident.Digest) {
	p.fixed(d[:], b)
	return d
}

func (p *parser) uuid(b []byte) (u uuid.UUID) {
	p.fixed(u[:], b)
	return u
}

// fixed copies b, which is absent or as long as dst.
func (p *parser) fixed(dst, b []byte) {
	if len(b) != 0 && len(b) != len(dst) {
		p.note(fmt.Errorf("%d bytes in the place of %d", len(b), len(dst)))
		return
	}
	copy(dst, b)
}

// digestBytes is d for a record: nil for the zero value.
func digestBytes(d ident.Digest) []byte {
	if d.IsZero() {
		return nil
	}
	return d[:]
}

// uuidBytes is u for a record: nil for the zero value.
func uuidBytes(u uuid.UUID) []byte {
	if u == uuid.Nil {
		return nil
	}
	return u[:]
}
