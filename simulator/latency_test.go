package simulator

import (
	"testing"
	"time"
)

func TestLatencyQuantiles(t *testing.T) {
	var l latencies
	empty := l.snapshot()
	if empty.Quantile(0.5) != 0 {
		t.Error("where nothing was counted there is a median")
	}
	for i := range 1000 {
		l.add(time.Duration(i+1) * time.Millisecond)
	}
	s := l.snapshot()
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := s.Quantile(q); got < want || got > want*5/4 {
			t.Errorf("quantile %v is %v, want %v or up to 25 %% more", q, got, want)
		}
	}
	l.add(0)
	l.add(time.Hour)
	if s = l.snapshot(); s.Quantile(1) < 100*time.Second || s[0] != 1 || s[len(s)-1] != 1 {
		t.Errorf("an hour is counted as %v, nothing as %d", s.Quantile(1), s[0])
	}
}
