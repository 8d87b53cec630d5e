package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Rate is bytes in a second, in text with a unit, KiB, MiB or GiB, or without: 100MiB.
type Rate int64

// MinRate is the lowest rate that is of use: a chunk of 256 KiB then takes four seconds.
const MinRate Rate = 64 << 10

var rateUnits = []struct {
	name  string
	bytes Rate
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

// UnmarshalText parses a whole number and its unit, if there is one.
func (r *Rate) UnmarshalText(b []byte) error {
	s := string(b)
	for _, u := range rateUnits {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || n > math.MaxInt64/uint64(u.bytes) {
			break
		}
		*r = Rate(n) * u.bytes
		return nil
	}
	return fmt.Errorf("%q is not a number of bytes such as 100MiB: %w", s, ErrInvalid)
}

// MarshalText writes what UnmarshalText reads.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String has the largest unit that leaves a whole number.
func (r Rate) String() string {
	if r <= 0 {
		return "0"
	}
	for _, u := range rateUnits {
		if r%u.bytes == 0 {
			return strconv.FormatInt(int64(r/u.bytes), 10) + u.name
		}
	}
	return ""
}
