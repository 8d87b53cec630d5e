package topics

import "fmt"

// Bounds of retries.
const (
	MaxRetries      = 10
	MaxRetryReasons = 16
	MaxPoison       = 1000
)

func (f *faults) retry(p Policy) {
	f.check(p.Retry.Max >= 0 && p.Retry.Max <= MaxRetries, "/policy/retry/max", "from 0 to 10")
	f.check(len(p.Retry.Reasons) <= MaxRetryReasons, "/policy/retry/reasons", "at most 16")
	for i, r := range p.Retry.Reasons {
		at := fmt.Sprintf("/policy/retry/reasons/%d", i)
		f.check(r != "", at, "a reason")
		f.word(string(r), MaxReason, at)
	}
	f.span(p.Retry.After, "/policy/retry/after")
	f.check(p.Poison >= 0 && p.Poison <= MaxPoison, "/policy/poison", "from 1 to 1000; absent: 3")
	f.span(p.StopWithin, "/policy/stop_within")
}

// Validate returns nil or FieldErrors.
func (r DeviceClear) Validate() error {
	var f faults
	f.check(!r.Device.IsZero(), "/device", "required")
	return f.err()
}
