package topics

import (
	"fmt"
	"time"
)

// Duration is a span of time on the wire, in text as Go writes it: "90s", "72h".
type Duration time.Duration

// MarshalText writes the duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText parses the duration; a negative one is refused.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("parse duration %q: want such as 90s, 15m, 72h", text)
	}
	if v < 0 {
		return fmt.Errorf("parse duration %q: negative", text)
	}
	*d = Duration(v)
	return nil
}
