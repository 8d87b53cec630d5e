package bench

import (
	"testing"
	"time"
)

// SetStopWithin shortens the wait for processes that don't end by themselves.
func SetStopWithin(t *testing.T, d time.Duration) {
	old := stopWithin
	stopWithin = d
	t.Cleanup(func() { stopWithin = old })
}
