package bench

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Histogram counts durations in buckets of 6 % or 1 µs, whichever is more. The zero value is empty; any goroutine may add.
type Histogram struct{ n [64 << fine]atomic.Uint64 }

const fine = 4 // bits of a value that its bucket keeps

// Quantiles of latencies, in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// Add counts d.
func (h *Histogram) Add(d time.Duration) { h.n[bucket(uint64(max(0, d.Microseconds())))].Add(1) }

func bucket(us uint64) int {
	if us < 1<<fine {
		return int(us)
	}
	shift := bits.Len64(us) - fine - 1
	return (shift+1)<<fine | int(us>>shift&(1<<fine-1))
}

// floor is the smallest value of a bucket, in µs.
func floor(bucket int) uint64 {
	if bucket < 1<<fine {
		return uint64(bucket)
	}
	shift := bucket>>fine - 1
	return (1<<fine | uint64(bucket&(1<<fine-1))) << shift
}

// Take returns the quantiles of what was counted, and empties h.
func (h *Histogram) Take() Quantiles {
	var counts [len(h.n)]uint64
	var total uint64
	for i := range h.n {
		counts[i] = h.n[i].Swap(0)
		total += counts[i]
	}
	at := func(share uint64) float64 { // of 1000
		var seen uint64
		for i, n := range counts {
			if seen += n; n > 0 && seen*1000 >= total*share {
				return float64(floor(i)) / 1000
			}
		}
		return 0
	}
	return Quantiles{P50: at(500), P99: at(990), Max: at(1000)}
}
