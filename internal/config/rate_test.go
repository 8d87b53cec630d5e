package config

import (
	"errors"
	"testing"
)

func TestRate(t *testing.T) {
	for text, want := range map[string]Rate{"0": 0, "1": 1, "64KiB": 64 << 10, "100MiB": 100 << 20, "3GiB": 3 << 30, "1000": 1000, "0MiB": 0} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("%s: %d, %v", text, r, err)
		}
		var again Rate
		if err := again.UnmarshalText([]byte(r.String())); err != nil || again != want {
			t.Errorf("%s is written %s, which reads %d, %v", text, r, again, err)
		}
	}
	for _, text := range []string{"", "1B", "-1", "1.5MiB", "MiB", "100 MiB", "100MB", "100mib", "+1", "99999999999GiB", "9223372036854775808", "1MiB/s"} {
		r := Rate(7)
		if err := r.UnmarshalText([]byte(text)); !errors.Is(err, ErrInvalid) || r != 7 {
			t.Errorf("%q: %d, %v", text, r, err)
		}
	}
	c := Defaults()
	for r, ok := range map[Rate]bool{0: true, 1: false, MinRate - 1: false, MinRate: true} {
		if c.Egress = r; (c.Check() == nil) != ok {
			t.Errorf("a rate of %s: %v", r, c.Check())
		}
	}
}
