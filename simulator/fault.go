package simulator

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Kind names what goes wrong with a device.
type Kind string

// The kinds of fault. Each device has at most one.
const (
	None         Kind = "none"
	PowerLoss    Kind = "power"     // loses power once, in the middle of the download
	BadFlash     Kind = "flash"     // one cell of the update slot does not hold what was written
	BadSignature Kind = "signature" // trusts another author's key
	SlowLink     Kind = "slow"      // takes Timing.SlowRate bytes per second
	Duplicate    Kind = "duplicate" // sends each report twice
	Late         Kind = "late"      // sends reports late and out of order
	Mute         Kind = "mute"      // says hello once and then nothing
	Absent       Kind = "absent"    // never connects
	Rollback     Kind = "rollback"  // the new image fails its self-test; the device boots the old one
	Current      Kind = "current"   // holds the new image already
	FlakyLink    Kind = "flaky"     // loses all chunks from some point on, until it has given up once
)

// Kinds lists every kind but None, in the order in which Plan draws them.
var Kinds = []Kind{PowerLoss, BadFlash, BadSignature, SlowLink, Duplicate, Late, Mute, Absent, Rollback, Current, FlakyLink}

// Outcome is how a device's part in a campaign must end.
type Outcome string

// The outcomes, in the server's words.
const (
	Confirmed Outcome = "confirmed"
	Failed    Outcome = "failed"
	Rejected  Outcome = "rejected"
	Silent    Outcome = "silent"
	Skipped   Outcome = "skipped"
)

// Fault is a device's fate.
type Fault struct {
	Kind Kind
	// At says where in the payload a PowerLoss, a bad flash cell, or the end of a flaky link is: a fraction in [0, 1).
	At float64
}

// Expect is the outcome that a correct server reaches with a device of fault f, given one campaign with a newer image
// that does not stop early.
func (f Fault) Expect() Outcome {
	switch f.Kind {
	case BadFlash, Rollback, FlakyLink:
		return Failed
	case BadSignature:
		return Rejected
	case Mute, Absent:
		return Silent
	case Current:
		return Skipped
	case None, PowerLoss, SlowLink, Duplicate, Late:
	}
	return Confirmed
}

// ErrMix is wrapped by ParseMix.
var ErrMix = errors.New("invalid fault mix")

// Mix says how many percent of the devices have which fault; the rest have none.
type Mix map[Kind]float64

// DefaultMix returns the mix of the demo: something of everything, 90 % of the devices well enough to be updated.
func DefaultMix() Mix {
	return Mix{PowerLoss: 4, BadFlash: 1, BadSignature: 0.5, SlowLink: 2, Duplicate: 3, Late: 3, Mute: 1.5, Rollback: 1, Current: 2}
}

// ParseMix parses `power=5%,flash=1.5%`; the percent sign may be left out, "" and "none" mean no faults, and "default"
// is DefaultMix. The error wraps ErrMix.
func ParseMix(s string) (Mix, error) {
	switch strings.TrimSpace(s) {
	case "", string(None):
		return Mix{}, nil
	case "default":
		return DefaultMix(), nil
	}
	m := Mix{}
	for part := range strings.SplitSeq(s, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		k := Kind(name)
		if !ok || !slices.Contains(Kinds, k) {
			return nil, fmt.Errorf("parse fault mix %q: want fault=percent with one of %v: %w", part, Kinds, ErrMix)
		}
		if _, twice := m[k]; twice {
			return nil, fmt.Errorf("parse fault mix: %s twice: %w", k, ErrMix)
		}
		p, err := strconv.ParseFloat(strings.TrimSuffix(value, "%"), 64)
		if err != nil || !(p >= 0 && p <= 100) { // a NaN fails both comparisons
			return nil, fmt.Errorf("parse fault mix %q: want 0 to 100 percent: %w", part, ErrMix)
		}
		m[k] = p
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return m, nil
}

func (m Mix) check() error {
	sum := 0.0
	for k, p := range m {
		if !slices.Contains(Kinds, k) || !(p >= 0 && p <= 100) {
			return fmt.Errorf("fault mix %q=%v: %w", k, p, ErrMix)
		}
		sum += p
	}
	if sum > 100+1e-9 {
		return fmt.Errorf("fault mix: %g %% in all: %w", sum, ErrMix)
	}
	return nil
}

// String prints the mix as ParseMix reads it.
func (m Mix) String() string {
	var parts []string
	for _, k := range Kinds {
		if p := m[k]; p > 0 {
			parts = append(parts, fmt.Sprintf("%s=%g%%", k, p))
		}
	}
	if len(parts) == 0 {
		return string(None)
	}
	return strings.Join(parts, ",")
}

// Plan draws the fault of the device that is called id ("tenant/device"). It depends on its arguments only.
func Plan(seed uint64, id string, mix Mix) Fault {
	h := sha256.New()
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], seed)
	h.Write(b[:])
	h.Write([]byte(id))
	sum := h.Sum(nil)
	f := Fault{Kind: None, At: unit(sum[8:16])}
	draw := unit(sum[:8]) * 100
	for _, k := range Kinds {
		if draw < mix[k] {
			f.Kind = k
			break
		}
		draw -= mix[k]
	}
	return f
}

// unit maps 8 uniform bytes to [0, 1).
func unit(b []byte) float64 { return float64(binary.BigEndian.Uint64(b)>>11) / (1 << 53) }
